# Z + A
# lld
# check u32(main + 1) == 27
.text
.globl main, target
main:
	movl $target@SIZE + 3, %eax
.data
target:
	.zero 24
.size target, 24
.type target, @object
