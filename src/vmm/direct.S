/* SPDX-License-Identifier: MIT
 *
 * All the code that a world has of its own: see direct.h. One page, mapped where it is in the monitor.
 */
#include "vmm/direct.h"

#define SYS_MMAP 9
#define SYS_MUNMAP 11
#define SYS_RT_SIGRETURN 15
#define SYS_CLONE 56
#define SYS_PRCTL 157
#define SYS_ARCH_PRCTL 158
#define SYS_FUTEX 202
#define FUTEX_WAKE 1
#define SIGSEGV 11
#define PF_FETCH 0x10
#define RFLAGS_TF 0x100
#define UC_WORD_RIP 21		/* UC_RIP, UC_EFLAGS, UC_ERR of bt/host_signal.h */
#define UC_WORD_EFLAGS 22
#define UC_WORD_ERR 24
#define ARCH_SET_CPUID 0x1012
#define PR_SET_TSC 26
#define RAM_FILE 4		/* MONITOR_FD_RAM */
#define THREAD 0x50900		/* CLONE_VM, _SIGHAND, _THREAD, _SYSVSEM: files of its own */

	.section .text.direct, "ax", @progbits
	.balign 4096
	.globl	direct_text, direct_text_end, direct_handler, direct_start_mapper
	.globl	direct_called_futex, direct_called_futex2, direct_called_arch_prctl, direct_called_prctl
	.globl	direct_called_sigreturn
	.hidden	direct_text, direct_text_end, direct_handler, direct_start_mapper
	.hidden	direct_called_futex, direct_called_futex2, direct_called_arch_prctl, direct_called_prctl
	.hidden	direct_called_sigreturn
direct_text:

/* The runner's signal handler: rdi the signal, rsi siginfo, rdx ucontext. What is left in registers is the frame's. */
	.type	direct_handler, @function
direct_handler:
	cmp	$SIGSEGV, %edi
	je	lead
stop:	movabs	$DIRECT_STATE, %rbx
	mov	%rdx, DS_FRAME(%rbx)
	mov	%edi, DS_SIGNAL(%rbx)
	mov	28(%rsi), %eax
	mov	%eax, DS_ARCH(%rbx)
	mov	16(%rsi), %rax
	mov	%rax, DS_CALL(%rbx)
	rdfsbase %rax
	mov	%rax, DS_FS_BASE(%rbx)
	rdgsbase %rax
	mov	%rax, DS_GS_BASE(%rbx)
	mov	%ds, DS_SELECTORS(%rbx)
	mov	%es, DS_SELECTORS + 2(%rbx)
	mov	%fs, DS_SELECTORS + 4(%rbx)
	mov	%gs, DS_SELECTORS + 6(%rbx)
	xor	%r10d, %r10d		/* no time limit; WAKE does not look at it, the jail does */
	movl	$0, DS_RUN(%rbx)
	movl	$DIRECT_LEFT, DS_LEFT(%rbx)
	lea	DS_LEFT(%rbx), %rdi
	mov	$FUTEX_WAKE, %esi
	mov	$1, %edx
	mov	$SYS_FUTEX, %eax
	syscall
direct_called_futex:
	jmp	2f
1:	lea	DS_RUN(%rbx), %rdi
	xor	%esi, %esi		/* FUTEX_WAIT while it is 0 */
	xor	%edx, %edx
	xor	%r10d, %r10d
	mov	$SYS_FUTEX, %eax
	syscall
direct_called_futex2:
2:	movabs	$DIRECT_STATE, %rbx	/* guest code may have jumped into the above: nothing of it is believed */
	cmpl	$0, DS_RUN(%rbx)
	je	1b
	movabs	$DIRECT_COMMANDS, %r12
	mov	DC_CPUID(%r12), %esi
	sub	$1, %esi		/* 0 to fault, 1 not to */
	jc	3f
	mov	$ARCH_SET_CPUID, %edi
	mov	$SYS_ARCH_PRCTL, %eax
	syscall
direct_called_arch_prctl:
	movabs	$DIRECT_COMMANDS, %r12
3:	mov	DC_TSC(%r12), %esi
	test	%esi, %esi
	jz	4f
	mov	$PR_SET_TSC, %edi
	mov	$SYS_PRCTL, %eax
	syscall
direct_called_prctl:
4:	movabs	$DIRECT_STATE, %rbx
	xor	%eax, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	DS_FS_BASE(%rbx), %rax
	wrfsbase %rax
	mov	DS_GS_BASE(%rbx), %rax
	wrgsbase %rax
	mov	DS_FRAME(%rbx), %rsp
	pushq	$2			/* sigreturn leaves ID and NT as they are */
	popfq
5:	mov	$SYS_RT_SIGRETURN, %eax
	syscall
direct_called_sigreturn:
	hlt

/* A fetch that has faulted: from a page whose code has been displaced? TF would trap within an instruction's. */
lead:	testb	$PF_FETCH, UC_WORD_ERR * 8(%rdx)
	jz	stop
	testb	$RFLAGS_TF >> 8, UC_WORD_EFLAGS * 8 + 1(%rdx)
	jnz	stop
	mov	UC_WORD_RIP * 8(%rdx), %rax
	movabs	$DIRECT_DISPLACED, %rbx
	mov	%rax, %rcx
	shr	$12, %rcx
	movzwl	%cx, %ecx		/* DISPLACED_INDEX_BITS */
	shl	$4, %ecx
	add	%rcx, %rbx
	add	(%rbx), %rax		/* the offset, if it is of this page */
	cmp	$0xfff, %rax
	ja	stop
	mov	8(%rbx), %rbx
	movzwl	(%rbx,%rax,2), %eax
	test	%eax, %eax
	jz	stop
	add	%rbx, %rax
	mov	%rax, UC_WORD_RIP * 8(%rdx)
	movabs	$DIRECT_STATE, %rbx
	incl	DS_LED(%rbx)
	mov	%rdx, %rsp
	jmp	5b
	.size	direct_handler, . - direct_handler

/* long direct_start_mapper(void): in the runner, the thread's number or an error. The thread has no stack. */
	.type	direct_start_mapper, @function
direct_start_mapper:
	mov	$SYS_CLONE, %eax
	mov	$THREAD, %edi
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	syscall
	test	%rax, %rax
	jz	mapper
	ret
	.size	direct_start_mapper, . - direct_start_mapper

/* rbx the commands, ebp the sequence number of the last, r12d how many are left, r13 the next, r14 the state */
	.type	mapper, @function
mapper:
	movabs	$DIRECT_COMMANDS, %rbx
	movabs	$DIRECT_STATE, %r14
	xor	%ebp, %ebp
1:	cmp	%ebp, DC_SEQUENCE(%rbx)
	jne	2f
	lea	DC_SEQUENCE(%rbx), %rdi
	xor	%esi, %esi
	mov	%ebp, %edx
	xor	%r10d, %r10d
	mov	$SYS_FUTEX, %eax
	syscall
	jmp	1b
2:	mov	DC_SEQUENCE(%rbx), %ebp
	mov	DC_COUNT(%rbx), %r12d
	lea	DC_COMMAND(%rbx), %r13
3:	sub	$1, %r12d
	jc	6f
	mov	0(%r13), %rdi
	mov	8(%r13), %rsi
	mov	16(%r13), %rdx
	cmp	$DC_UNMAP, %rdx
	je	4f
	mov	$DIRECT_MAP_FLAGS, %r10d
	mov	$RAM_FILE, %r8d
	mov	24(%r13), %r9
	mov	$SYS_MMAP, %eax
	syscall
	cmp	%rdi, %rax
	jne	7f
	jmp	5f
4:	mov	$SYS_MUNMAP, %eax
	syscall
	test	%rax, %rax
	jnz	7f
5:	add	$DC_COMMAND_SIZE, %r13
	jmp	3b
6:	cmpl	$0, DC_THEN_RUN(%rbx)
	je	8f
	movl	$1, DS_RUN(%r14)
	lea	DC_GATE(%rbx), %rdi
	mov	$FUTEX_WAKE, %esi
	mov	$1, %edx
	mov	$SYS_FUTEX, %eax
	syscall
	test	%eax, %eax
	jnz	1b
	lea	DS_RUN(%r14), %rdi	/* as in wake_runner */
	jmp	9f
7:	movl	$DIRECT_FAILED, DS_LEFT(%r14)
	lea	DS_LEFT(%r14), %rdi
	jmp	9f
8:	movl	$DIRECT_MAPPED, DS_LEFT(%r14)
	lea	DS_LEFT(%r14), %rdi
9:	mov	$FUTEX_WAKE, %esi
	mov	$1, %edx
	mov	$SYS_FUTEX, %eax
	syscall
	jmp	1b
	.size	mapper, . - mapper

	.balign 4096
direct_text_end:
	.section .note.GNU-stack, "", @progbits
