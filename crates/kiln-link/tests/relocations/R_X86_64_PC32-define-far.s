# an address given to the link, out of reach: it may be a variable, so its address is no stub's
# define outside = 0x7f0000000000
# error OutOfRange
.text
	leaq outside(%rip), %rax
