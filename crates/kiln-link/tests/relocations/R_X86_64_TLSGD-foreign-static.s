# a variable of a shared library that lies in the static block
# static-tls var = -0x100
# bytes main = 64 48 8b 04 25 00 00 00 00 48 8d 80 00 ff ff ff
.text
.globl main
main:
	data16
	leaq var@TLSGD(%rip), %rdi
	data16
	data16
	rex64
	call __tls_get_addr@PLT
