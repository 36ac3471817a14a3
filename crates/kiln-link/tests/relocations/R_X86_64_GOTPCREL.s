# G + GOT + A - P; addend -5 occurs, because an immediate follows the field
# check u64(main + 7 + i32(main + 3)) == target
# check u64(main + 15 + i32(main + 10)) == target
.text
.globl main, target
main:
	.byte 0x48, 0x8b, 0x05	# movq target@GOTPCREL(%rip), %rax without relaxation
	.long 0
	.reloc main + 3, R_X86_64_GOTPCREL, target - 4
	cmpq $0, target@GOTPCREL(%rip)
target:
	ret
