# G + GOT + A - P
# check u64(main + u64(main)) == target
.text
.globl main, target
main:
	.quad 0
	.reloc main, R_X86_64_GOTPCREL64, target
target:
	ret
