# offset from the thread pointer: the block of 16 bytes ends there
# check u64(main + 2) == 0 - 8
.text
.globl main
main:
	movabsq $var@TPOFF, %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
