# REX2 instruction: keeps its slot
# check u64(main + 8 + i32(main + 4)) == target
.text
.globl main, target
main:
	movq target@GOTPCREL(%rip), %r16
target:
	ret
