# initial-exec code cannot reach a block that is found at run time
# tls dynamic 7
# error TlsModel
.text
.globl main
main:
	movq var@GOTTPOFF(%rip), %rax
.section .tdata, "awT", @progbits
	.quad 1
.globl var
.type var, @object
var:
	.quad 2
.size var, 8
