# S + A: int8 or uint8
# define number = 0xf0
# check u8(here) == 0xf5
.data
.globl here
here:
	.byte number + 5
