# the block is a module of its own
# tls dynamic 7
# check u64(main + 7 + i32(main + 3)) == 7
# check u64(main + 15 + i32(main + 3)) == 0
# check main + 12 + i32(main + 8) == 0x480000
# check i32(main + 15) == var
.text
.globl main
main:
	leaq var@TLSLD(%rip), %rdi
	call __tls_get_addr@PLT
	leaq var@DTPOFF(%rax), %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
