# offset in the block
# tls dynamic 7
# check u64(here) == var + 3
.data
.globl here
here:
	.quad var@DTPOFF + 3
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
