# G + A: what lies that far behind the start of the table is the address
.text
.globl main, target
main:
	movl $target@GOT, %eax
	leaq _GLOBAL_OFFSET_TABLE_(%rip), %rcx
target:
	ret
.data
.globl here
here:
	.quad _GLOBAL_OFFSET_TABLE_
# check u64(u64(here) + i32(main + 1)) == target
