# the block is a module of its own: the descriptor's resolver is called
# tls dynamic 7
# bytes main + 7 = ff 10
# check u64(main + 7 + i32(main + 3)) == 0x480100
# check u64(u64(main + 15 + i32(main + 3))) == 7
# check u64(u64(main + 15 + i32(main + 3)) + 8) == var
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
