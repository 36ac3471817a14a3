# an absolute symbol keeps its slot
# define number = 0x1234
# check u64(main + 7 + i32(main + 3)) == 0x1234
.text
.globl main
main:
	movq number@GOTPCREL(%rip), %rax
