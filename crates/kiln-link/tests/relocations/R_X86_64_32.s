# S + A: uint32
# lld
# check u32(main + 1) == target + 5
.text
.globl main, target
main:
	movl $target + 5, %eax
target:
	ret
.data
	.long target
