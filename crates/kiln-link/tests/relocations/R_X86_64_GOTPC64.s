# GOT + A - P
# check main + u64(main + 2) == u64(here)
.text
.globl main
main:
	movabsq $_GLOBAL_OFFSET_TABLE_ - main, %rax
.data
.globl here
here:
	.quad _GLOBAL_OFFSET_TABLE_
