# REX2 instruction: keeps its descriptor
# tls dynamic 7
# check u64(main + 8 + i32(main + 4)) == 0x480100
.text
.globl main
main:
	leaq var@TLSDESC(%rip), %r16
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
