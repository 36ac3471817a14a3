# offset from the thread pointer
# lld
# check i32(main + 4) == 0 - 8
.text
.globl main
main:
	movl %fs:var@TPOFF, %eax
	leaq var@TPOFF(%rax), %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
