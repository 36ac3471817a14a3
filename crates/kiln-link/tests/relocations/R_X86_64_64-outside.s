# the field does not lie in its section
# error FieldOutside
.data
here:
	.long 0
	.reloc here, R_X86_64_64, here
