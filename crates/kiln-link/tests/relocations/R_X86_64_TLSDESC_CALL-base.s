# the base of local-dynamic offsets becomes the thread pointer together with the offsets
# lld
# bytes main = 48 c7 c0 00 00 00 00 66 90 48 8d 80 f8 ff ff ff
.text
.globl main
main:
	leaq _TLS_MODULE_BASE_@TLSDESC(%rip), %rax
	call *_TLS_MODULE_BASE_@TLSCALL(%rax)
	leaq var@DTPOFF(%rax), %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
