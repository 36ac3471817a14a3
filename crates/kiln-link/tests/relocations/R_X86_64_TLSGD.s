# general-dynamic becomes local-exec, with both forms of the call
# lld
# bytes main = 64 48 8b 04 25 00 00 00 00 48 8d 80 f8 ff ff ff
.text
.globl main
main:
	data16
	leaq var@TLSGD(%rip), %rdi
	data16
	data16
	rex64
	call __tls_get_addr@PLT
	data16
	leaq var@TLSGD(%rip), %rdi
	data16
	rex64
	call *__tls_get_addr@GOTPCREL(%rip)
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
