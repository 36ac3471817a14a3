# EVEX instruction: keeps its slot
# check u64(main + 10 + i32(main + 6)) == 0 - 8
.text
.globl main
main:
	addq var@GOTTPOFF(%rip), %r16, %r17
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
