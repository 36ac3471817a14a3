# the block is a module of its own: a pair of slots, and the runtime is called
# tls dynamic 7
# bytes main = 66 48 8d 3d
# check u64(main + 8 + i32(main + 4)) == 7
# check u64(main + 16 + i32(main + 4)) == var
# bytes main + 8 = 66 66 48 e8
# check main + 16 + i32(main + 12) == 0x480000
.text
.globl main
main:
	data16
	leaq var@TLSGD(%rip), %rdi
	data16
	data16
	rex64
	call __tls_get_addr@PLT
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
