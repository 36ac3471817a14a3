# S + A: int16 or uint16
# define number = 0xfff0
# check u16(here) == 0xfff5
.data
.globl here
here:
	.short number + 5
