# SPDX-License-Identifier: MIT
#
# Into a case with all registers of exchange.in, and out of it into exchange.out. Nothing here touches a flag before
# it is saved. The offsets are those of struct cpu_state and struct exchange.

#define GPR(n) (8 * (n))
#define RFLAGS 128
#define XSAVE 192
#define STATE (192 + 4096)
#define IN 0
#define OUT STATE
#define HOST_RSP (2 * STATE)
#define XSAVE_MASK (2 * STATE + 8)
#define ENTRY (2 * STATE + 16)
#define EXIT_ID (2 * STATE + 24)
#define HOST_MXCSR (2 * STATE + 32)
#define HOST_FCW (2 * STATE + 36)
#define FAR_OFFSET (2 * STATE + 40)
#define X(off) exchange + (off)(%rip)

	.text
	.globl	stub_enter
	.type	stub_enter, @function
stub_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushfq
	stmxcsr	X(HOST_MXCSR)
	fnstcw	X(HOST_FCW)
	mov	%rsp, X(HOST_RSP)
	mov	X(XSAVE_MASK), %rax
	xor	%edx, %edx
	xrstor64 X(IN + XSAVE)
	push	X(IN + RFLAGS)
	popfq
	mov	X(IN + GPR(0)), %rax
	mov	X(IN + GPR(1)), %rcx
	mov	X(IN + GPR(2)), %rdx
	mov	X(IN + GPR(3)), %rbx
	mov	X(IN + GPR(4)), %rsp
	mov	X(IN + GPR(5)), %rbp
	mov	X(IN + GPR(6)), %rsi
	mov	X(IN + GPR(7)), %rdi
	mov	X(IN + GPR(8)), %r8
	mov	X(IN + GPR(9)), %r9
	mov	X(IN + GPR(10)), %r10
	mov	X(IN + GPR(11)), %r11
	mov	X(IN + GPR(12)), %r12
	mov	X(IN + GPR(13)), %r13
	mov	X(IN + GPR(14)), %r14
	mov	X(IN + GPR(15)), %r15
	jmp	*X(ENTRY)

# The entry of 32-bit code.
	.globl	stub_hop32
stub_hop32:
	ljmpl	*X(FAR_OFFSET)

	.globl	stub_exit_back, stub_exit_forward, stub_exit_signal, stub_exit_fall_through
stub_exit_fall_through:
	movl	$0, X(EXIT_ID)
	jmp	capture
stub_exit_back:
	movl	$1, X(EXIT_ID)
	jmp	capture
stub_exit_forward:
	movl	$2, X(EXIT_ID)
	jmp	capture
stub_exit_signal:
	movl	$3, X(EXIT_ID)
capture:
	mov	%rax, X(OUT + GPR(0))
	mov	%rcx, X(OUT + GPR(1))
	mov	%rdx, X(OUT + GPR(2))
	mov	%rbx, X(OUT + GPR(3))
	mov	%rsp, X(OUT + GPR(4))
	mov	%rbp, X(OUT + GPR(5))
	mov	%rsi, X(OUT + GPR(6))
	mov	%rdi, X(OUT + GPR(7))
	mov	%r8, X(OUT + GPR(8))
	mov	%r9, X(OUT + GPR(9))
	mov	%r10, X(OUT + GPR(10))
	mov	%r11, X(OUT + GPR(11))
	mov	%r12, X(OUT + GPR(12))
	mov	%r13, X(OUT + GPR(13))
	mov	%r14, X(OUT + GPR(14))
	mov	%r15, X(OUT + GPR(15))
	mov	X(HOST_RSP), %rsp
	pushfq
	pop	X(OUT + RFLAGS)
	mov	X(XSAVE_MASK), %rax
	xor	%edx, %edx
	xsave64	X(OUT + XSAVE)
	fninit
	fldcw	X(HOST_FCW)
	ldmxcsr	X(HOST_MXCSR)
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size	stub_enter, . - stub_enter

	.section .note.GNU-stack, "", @progbits
