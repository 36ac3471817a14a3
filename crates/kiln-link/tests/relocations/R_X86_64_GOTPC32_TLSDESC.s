# a descriptor becomes local-exec
# lld
# bytes main = 48 c7 c0 f8 ff ff ff 66 90
.text
.globl main
main:
	leaq var@TLSDESC(%rip), %rax
	call *var@TLSCALL(%rax)
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
