/* SPDX-License-Identifier: MIT */
/*
 * void real_call(u16 cs, u16 ip, struct real_regs *r): into real mode by way of a 16-bit code segment, a far call with
 * the registers of *r, and back. What runs in real mode is copied to LOW first. Segments with other limits than 64 KiB
 * stay so (unreal mode) if real_keep_limits is set.
 */
	.set LOW, 0x8000
	.set REGS, 0x8f00		/* struct real_regs */
	.set TARGET, 0x8f80		/* far pointer; saved ESP at +4; GDTR, IDTR of protected mode at +8, +16; real IDTR +24 */
	.set STACK, 0x7000

	.text
	.globl real_call
real_call:
	pushal
	pushfl
	cli
	mov	$real_code, %esi
	mov	$LOW, %edi
	mov	$real_code_end - real_code, %ecx
	rep movsb
	mov	40(%esp), %eax
	mov	%ax, TARGET + 2
	mov	44(%esp), %eax
	mov	%ax, TARGET
	mov	48(%esp), %esi
	mov	$REGS, %edi
	mov	$36, %ecx
	rep movsb
	sgdt	TARGET + 8
	sidt	TARGET + 16
	movw	$0x3ff, TARGET + 24
	movl	$0, TARGET + 26
	mov	%esp, TARGET + 4
	cmpl	$0, real_keep_limits
	jne	1f
	mov	$0x48, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
1:	mov	$0x48, %eax
	mov	%eax, %ss
	ljmp	$0x40, $LOW
back32:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	mov	TARGET + 4, %esp
	lidt	TARGET + 16
	mov	48(%esp), %edi
	mov	$REGS, %esi
	mov	$36, %ecx
	rep movsb
	popfl
	popal
	ret

	.code16
real_code:
	mov	%cr0, %eax
	and	$0xfe, %al
	mov	%eax, %cr0
	ljmp	$0, $(in_real - real_code + LOW)
in_real:
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$STACK, %esp
	lidtl	TARGET + 24
	pushl	REGS + 28
	popfl
	mov	REGS + 4, %ebx
	mov	REGS + 8, %ecx
	mov	REGS + 12, %edx
	mov	REGS + 16, %esi
	mov	REGS + 20, %edi
	mov	REGS + 24, %ebp
	mov	REGS + 34, %es
	mov	REGS, %eax
	push	%ds
	mov	REGS + 32, %ds
	lcall	*%cs:TARGET
	pushfl
	push	%ds
	push	%ax
	xor	%ax, %ax
	mov	%ax, %ds
	pop	%ax
	popw	REGS + 32
	popl	REGS + 28
	mov	%eax, REGS
	mov	%ebx, REGS + 4
	mov	%ecx, REGS + 8
	mov	%edx, REGS + 12
	mov	%esi, REGS + 16
	mov	%edi, REGS + 20
	mov	%ebp, REGS + 24
	mov	%es, REGS + 34
	cli
	cld
	lgdtl	TARGET + 8
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$0x08, $back32
real_code_end:

	.data
	.globl real_keep_limits
real_keep_limits:
	.long 0
	.section .note.GNU-stack, "", @progbits
