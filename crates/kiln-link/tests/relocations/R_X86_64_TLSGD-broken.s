# the call does not follow: no sequence to relax
# error UnexpectedInstruction
.text
.globl main
main:
	data16
	leaq var@TLSGD(%rip), %rdi
	nop
	call __tls_get_addr@PLT
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
