# G + A, an old spelling
# check u64(u64(here) + u64(main)) == target
.text
.globl main, target
main:
	.quad 0
	.reloc main, R_X86_64_GOTPLT64, target
target:
	ret
.data
.globl here
here:
	.quad _GLOBAL_OFFSET_TABLE_
