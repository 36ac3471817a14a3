# local-dynamic becomes local-exec together with the offsets
# lld
# bytes main = 66 66 66 64 48 8b 04 25 00 00 00 00 48 8d 80 f8 ff ff ff
.text
.globl main
main:
	leaq var@TLSLD(%rip), %rdi
	call __tls_get_addr@PLT
	leaq var@DTPOFF(%rax), %rax
	leaq var@TLSLD(%rip), %rdi
	call *__tls_get_addr@GOTPCREL(%rip)
	movl var@DTPOFF(%rax), %eax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
