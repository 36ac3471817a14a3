# S + A - GOT
# check u64(here) + u64(main + 2) == target
.text
.globl main, target
main:
	movabsq $target@GOTOFF, %rax
target:
	ret
.data
.globl here
here:
	.quad _GLOBAL_OFFSET_TABLE_
