# call and jmp become direct, the field of the jump moves one byte back; a load of 32 bits becomes lea
# lld
# bytes main = 67 e8
# bytes main + 6 = e9
# bytes main + 11 = 90
# check main + 11 + i32(main + 7) == target
.text
.globl main, target
main:
	call *target@GOTPCREL(%rip)
	jmp *target@GOTPCREL(%rip)
target:
	ret
