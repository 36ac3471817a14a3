# S + A
# lld
# check u64(here) == target + 7
.text
.globl main, target, here
main:
	movabs $main, %rax
target:
	ret
.data
here:
	.quad target + 7
	.quad .data + 3
