/* SPDX-License-Identifier: MIT
 *
 * jump_set and jump_to: see base/jump.h. ORDER struct jump.
 */
	.text
	.globl	jump_set, jump_to
	.hidden	jump_set, jump_to
	.type	jump_set, @function
jump_set:
	mov	%rbx, 0(%rdi)
	mov	%rbp, 8(%rdi)
	mov	%r12, 16(%rdi)
	mov	%r13, 24(%rdi)
	mov	%r14, 32(%rdi)
	mov	%r15, 40(%rdi)
	lea	8(%rsp), %rdx
	mov	%rdx, 48(%rdi)
	mov	(%rsp), %rdx
	mov	%rdx, 56(%rdi)
	xor	%eax, %eax
	ret
	.size	jump_set, . - jump_set

	.type	jump_to, @function
jump_to:
	mov	%esi, %eax
	mov	0(%rdi), %rbx
	mov	8(%rdi), %rbp
	mov	16(%rdi), %r12
	mov	24(%rdi), %r13
	mov	32(%rdi), %r14
	mov	40(%rdi), %r15
	mov	48(%rdi), %rsp
	jmp	*56(%rdi)
	.size	jump_to, . - jump_to
	.section .note.GNU-stack, "", @progbits
