# test and binary operations keep their slot
# check u64(main + 6 + i32(main + 2)) == target
# check u64(main + 13 + i32(main + 9)) == target
.text
.globl main, target
main:
	testl %eax, target@GOTPCREL(%rip)
	addq target@GOTPCREL(%rip), %rax
target:
	ret
