# initial-exec becomes local-exec: mov and add, with the registers whose lea is longer
# lld
# bytes main = 48 c7 c0 f8 ff ff ff 48 8d 80 f8 ff ff ff 48 81 c4 f8 ff ff ff
.text
.globl main
main:
	movq var@GOTTPOFF(%rip), %rax
	addq var@GOTTPOFF(%rip), %rax
	addq var@GOTTPOFF(%rip), %rsp
	movq var@GOTTPOFF(%rip), %r15
	addq var@GOTTPOFF(%rip), %r15
	addq var@GOTTPOFF(%rip), %r12
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
