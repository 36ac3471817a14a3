# S + A - P
# lld
# check u64(here) == target - here
.text
.globl target
target:
	ret
.data
.globl here
here:
	.quad target - .
