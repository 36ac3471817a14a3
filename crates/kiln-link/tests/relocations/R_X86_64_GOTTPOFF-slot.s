# another instruction keeps its slot
# check u64(main + 7 + i32(main + 3)) == 0 - 8
.text
.globl main
main:
	cmpq var@GOTTPOFF(%rip), %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
