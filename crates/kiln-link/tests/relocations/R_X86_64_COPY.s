# a dynamic relocation has no place in an object
# error UnknownRelocation
.data
here:
	.quad 0
	.reloc here, R_X86_64_COPY, here
