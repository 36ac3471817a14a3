# offset in the block
# tls dynamic 7
# check i32(main + 3) == var
.text
.globl main
main:
	leaq var@DTPOFF(%rax), %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
