# a thread-local variable has no address to keep in a slot
# error TlsMismatch
.text
	movq var@GOTPCREL(%rip), %rax
	cmpq $0, var@GOTPCREL(%rip)
.section .tbss, "awT", @nobits
.globl var
.type var, @object
var:
	.quad 0
