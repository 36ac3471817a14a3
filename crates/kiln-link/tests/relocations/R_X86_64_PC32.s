# S + A - P
# lld
# check i32(main + 3) == target - main - 7 + 8
.text
.globl main, target
main:
	leaq target+8(%rip), %rax
	leaq .data+4(%rip), %rax
	jmp target
.globl target
.type target, @function
target:
	ret
.data
	.long target - .
