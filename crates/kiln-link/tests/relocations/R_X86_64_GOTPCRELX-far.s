# a function out of reach: the call stays indirect
# function outside = 0x7f0000000000
# bytes main = ff 15
# check u64(main + 6 + i32(main + 2)) == 0x7f0000000000
.text
.globl main
main:
	call *outside@GOTPCREL(%rip)
