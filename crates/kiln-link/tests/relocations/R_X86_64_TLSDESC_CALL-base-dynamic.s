# the block is a module of its own: a descriptor of its first byte
# tls dynamic 7
# check u64(main + 7 + i32(main + 3) + 16) == 7
# check u64(main + 7 + i32(main + 3) + 24) == 0
# check i32(main + 12) == var
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
