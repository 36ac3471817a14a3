# S + A - P: int8
# check i8(main + 1) == target - main - 2
.text
.globl main, target
main:
	.byte 0xeb, 0
	.reloc main + 1, R_X86_64_PC8, target - 1
target:
	ret
