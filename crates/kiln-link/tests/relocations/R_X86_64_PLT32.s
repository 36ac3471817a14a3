# L + A - P: call, jump, conditional jump, data
# lld
# check i32(main + 1) == target - main - 5
.text
.globl main, target
main:
	call target@PLT
	jmp target@PLT
	jne target@PLT
	.long target@PLT - .
target:
	ret
