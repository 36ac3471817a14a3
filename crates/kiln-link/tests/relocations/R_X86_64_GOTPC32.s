# GOT + A - P
# check main + 7 + i32(main + 3) == u64(here)
.text
.globl main
main:
	leaq _GLOBAL_OFFSET_TABLE_(%rip), %rax
.data
.globl here
here:
	.quad _GLOBAL_OFFSET_TABLE_
