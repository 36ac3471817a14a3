# a branch by PC32 to a function out of reach: through the stub
# function outside = 0x7f0000000000
# bytes main + 5 + i32(main + 1) = ff 25
.text
.globl main
main:
	.byte 0xe8
	.long outside - . - 4
