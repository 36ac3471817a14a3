# S + A: int32
# lld
# check i32(main + 3) == target + 5
.text
.globl main, target
main:
	movq $target + 5, %rax
	movl target(,%rdi,4), %eax
target:
	ret
