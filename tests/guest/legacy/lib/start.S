/* SPDX-License-Identifier: MIT */
/* From the PVH entry (32-bit protected mode, no paging) to legacy_start(), the trap stubs, and CPL 3 and back. */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18			/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start32

	.section .text.start, "ax"
	.globl start32
start32:
	cli
	cld
	mov	%ebx, boot_info
	mov	$boot_stack_end, %esp
	call	legacy_start
1:	hlt
	jmp	1b

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17) && (vector != 21)
	pushl	$0
	.endif
	pushl	$vector
	jmp	trap_common
	.set vector, vector + 1
	.endr

trap_common:
	pusha
	push	%ds
	push	%es
	push	%fs
	push	%gs
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%esp, %eax
	cld
	push	%eax
	call	trap_enter
	add	$4, %esp
	.globl trap_leave
trap_leave:
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret

	.globl trap_stub		/* behind a TRY */
trap_stub:
	push	%ss
	pop	%ds
	push	%ss
	pop	%es
	mov	trap_esp, %esp
	jmp	*trap_target

	/* void user_enter(u32 eip, u32 esp, u32 eflags): comes back by user_leave */
	.globl user_enter
user_enter:
	pusha
	mov	%esp, user_saved_esp
	mov	36(%esp), %eax
	mov	40(%esp), %ecx
	mov	44(%esp), %edx
	mov	$0x23, %ebx
	mov	%ebx, %ds
	mov	%ebx, %es
	push	%ebx
	push	%ecx
	push	%edx
	push	$0x1b
	push	%eax
	iret

	.globl user_leave
user_leave:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	user_saved_esp, %esp
	popa
	ret

	.section .note.GNU-stack, "", @progbits
