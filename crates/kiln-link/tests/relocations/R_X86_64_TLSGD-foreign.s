# a variable of a shared library: its own module
# dynamic-tls var = 3, 0x40
# check u64(main + 8 + i32(main + 4)) == 3
# check u64(main + 16 + i32(main + 4)) == 0x40
.text
.globl main
main:
	data16
	leaq var@TLSGD(%rip), %rdi
	data16
	data16
	rex64
	call __tls_get_addr@PLT
