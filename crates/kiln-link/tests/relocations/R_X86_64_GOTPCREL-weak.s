# an undefined weak symbol: the slot holds 0, a load of its address is not relaxed, a call ends in a trap
# bytes main = 48 8b 05
# check u64(main + 7 + i32(main + 3)) == 0
# bytes main + 12 + i32(main + 8) = 0f 0b
.text
.globl main
.weak nobody
main:
	movq nobody@GOTPCREL(%rip), %rax
	call nobody@PLT
