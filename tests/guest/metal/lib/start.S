/* SPDX-License-Identifier: MIT */
/*
 * The way from the PVH entry (32-bit protected mode, no paging) to main() in 64-bit mode: identity page tables for the
 * first 4 GiB in 2 MiB pages, all user-accessible, then the 256 trap stubs and the way into and out of CPL 3. The GDT,
 * IDT and TSS are in trap.c. Nothing here depends on what the loader left in any register.
 */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18			/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad start32

	.section .text.start, "ax"
	.code32
	.globl start32
start32:
	cli
	cld
	mov	$boot_stack_end, %esp
	mov	$boot_pdpt + 7, %eax
	mov	%eax, boot_pml4
	mov	$boot_pd + 7, %eax
	xor	%edi, %edi
1:	mov	%eax, boot_pdpt(, %edi, 8)
	add	$0x1000, %eax
	inc	%edi
	cmp	$4, %edi
	jne	1b
	mov	$0x87, %eax		/* P W U PS */
	xor	%edi, %edi
2:	mov	%eax, boot_pd(, %edi, 8)
	add	$0x200000, %eax
	inc	%edi
	cmp	$2048, %edi
	jne	2b
	mov	$0x20, %eax		/* PAE */
	mov	%eax, %cr4
	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	mov	$0x901, %eax		/* NXE LME SCE */
	xor	%edx, %edx
	wrmsr
	mov	$0x80000033, %eax	/* PG NE ET MP PE: no WP, no AM */
	mov	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$8, $start64

	.balign 8
boot_gdt:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdtr:
	.word 23
	.long boot_gdt

	.code64
start64:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	mov	$boot_stack_end, %rsp
	xor	%ebp, %ebp
	call	metal_start
3:	hlt
	jmp	3b

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17) && (vector != 21)
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	.set vector, vector + 1
	.endr

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	cld
	call	trap_enter
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	.globl trap_iret
trap_iret:
	iretq

	/* u64 user_enter(rip, arg, rsp, rflags, cs, ss): ends by a trap in CPL 3, whose handler goes to user_leave. */
	.globl user_enter
user_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, user_saved_rsp
	push	%r9
	push	%rdx
	push	%rcx
	push	%r8
	push	%rdi
	mov	%rsi, %rdi
	iretq

	.globl user_leave
user_leave:
	mov	user_saved_rsp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.section .note.GNU-stack, "", @progbits
