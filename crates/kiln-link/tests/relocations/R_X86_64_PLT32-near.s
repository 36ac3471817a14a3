# a function in reach: direct
# function outside = 0x60000000
# check main + 5 + i32(main + 1) == 0x60000000
.text
.globl main
main:
	call outside@PLT
