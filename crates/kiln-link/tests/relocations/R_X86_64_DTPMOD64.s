# module of S: known where the block is a module of its own
# tls dynamic 7
# check u64(here) == 7
.data
.globl here
here:
	.quad 0
	.reloc here, R_X86_64_DTPMOD64, var
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
