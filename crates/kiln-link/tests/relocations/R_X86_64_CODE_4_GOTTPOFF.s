# REX2 instruction: keeps its slot
# check u64(main + 8 + i32(main + 4)) == 0 - 8
.text
.globl main
main:
	movq var@GOTTPOFF(%rip), %r16
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
