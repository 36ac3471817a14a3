# an address given to the link, out of reach: a call goes through a stub
# define outside = 0x7f0000000000
# bytes main + 5 + i32(main + 1) = ff 25
# check u64(main + 11 + i32(main + 1) + i32(main + 7 + i32(main + 1))) == 0x7f0000000000
.text
.globl main
main:
	call outside@PLT
