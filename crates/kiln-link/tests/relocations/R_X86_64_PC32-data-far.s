# a variable of a library out of reach: no stub can help
# data outside = 0x7f0000000000
# error OutOfRange
.text
	leaq outside(%rip), %rax
