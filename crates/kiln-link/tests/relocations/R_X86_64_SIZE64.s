# Z + A
# lld
# check u64(main + 2) == 24
.text
.globl main, target
main:
	movabsq $target@SIZE, %rax
.data
target:
	.zero 24
.size target, 24
.type target, @object
