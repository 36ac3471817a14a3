# an address of the process above 4 GiB
# data outside = 0x7f0000000000
# error OutOfRange
.data
	.long outside
