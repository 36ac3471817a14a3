	.text
	.globl	assembled
	.type	assembled,@function
assembled:
	.cfi_startproc
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	in_module@PLT
	addl	object_data+8(%rip), %eax
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	assembled, .-assembled
	.section	.note.GNU-stack,"",@progbits
