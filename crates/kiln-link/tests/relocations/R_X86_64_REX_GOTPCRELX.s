# mov becomes lea
# lld
# bytes main = 48 8d 05
# bytes main + 7 = 4c 8d 3d
.text
.globl main, target
main:
	movq target@GOTPCREL(%rip), %rax
	movq target@GOTPCREL(%rip), %r15
target:
	ret
