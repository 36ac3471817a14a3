# lld
.text
.globl main, target
main:
	nop
.reloc main, R_X86_64_NONE, target
target:
	ret
