# S + A - P: int16
# lld
# check i16(main) == target - main
.text
.globl main, target
main:
	.short target - .
.section .text.x, "ax"
target:
	ret
