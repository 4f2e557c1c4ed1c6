// SPDX-License-Identifier: MIT
//
// String instructions of 64-bit code without leaving the unit: one routine for each instruction, element size and
// repetition. If all of it goes upwards within one page at each end, and both are in the software TLB, the host's own
// instruction runs on the host's addresses. Everything else is C's: bt_string_slow. The guest's RSI, RDI, RCX and RAX
// are in the host's registers of the same name, its flags are saved, r10 says which TLB (the offset of struct tlb from
// the first). Behind the call stands a NOP that holds the number of the site.
#include "bt/slots.h"

	.macro gs_check reg, table, out // the host address of reg, whose page must hold all from there to the limit r11
	rorx	$8, \reg, %rdx
	and	$((1 << BT_TLB_BITS) - 1) << 4, %edx
	add	%r10, %rdx
	mov	\reg, \out
	xor	%gs:\table(%rdx), \out
	cmp	%r11, \out
	ja	9f
	add	%gs:\table+8(%rdx), \out
	.endm

	.macro move_to reg, host, delta // reg: the host's address; delta: what the guest's is more
	mov	\reg, \delta
	sub	\host, \delta
	mov	\host, \reg
	.endm

	.macro limit repeat, size, compares
	.ifb \repeat
	mov	$4096 - \size, %r11d
	.else
	pushfq
	pop	%rbx
	test	$1 << 10, %ebx		// DF
	jnz	9f
	.if \compares
	test	%rcx, %rcx		// the flags stay as they are
	jz	9f
	.endif
	cmp	$4096 / \size, %rcx
	ja	9f
	imul	$-\size, %rcx, %r11
	add	$4096, %r11
	.endif
	.endm

// Instruction, does it have a source, a destination, does it write, does it compare.
	.macro string name, insn, repeat, size, src, dst, table, compares
	.p2align 4
\name:
	push	%rdx
	push	%rbx
	.ifnb \repeat
	.ifeq \compares
	test	%rcx, %rcx
	jz	8f
	.endif
	.endif
	limit	"\repeat", \size, \compares
	.if \dst
	gs_check %rdi, \table, %rbx
	.endif
	.if \src
	gs_check %rsi, BT_TLB_R, %r10
	move_to	%rsi, %r10, %rdx
	.endif
	.if \dst
	move_to	%rdi, %rbx, %r11
	.endif
	\repeat \insn
	.if \dst
	lea	(%rdi, %r11), %rdi
	.endif
	.if \src
	lea	(%rsi, %rdx), %rsi
	.endif
8:	pop	%rbx
	pop	%rdx
	ret
9:	pop	%rbx
	pop	%rdx
	jmp	bt_stub_string
	.endm

	.macro sizes name, insn, repeat, src, dst, table, compares
	string	\name\()b, \insn\()b, "\repeat", 1, \src, \dst, \table, \compares
	string	\name\()w, \insn\()w, "\repeat", 2, \src, \dst, \table, \compares
	string	\name\()l, \insn\()l, "\repeat", 4, \src, \dst, \table, \compares
	string	\name\()q, \insn\()q, "\repeat", 8, \src, \dst, \table, \compares
	.endm

	.text
	sizes	movs, movs, "", 1, 1, BT_TLB_W, 0
	sizes	rep_movs, movs, rep, 1, 1, BT_TLB_W, 0
	sizes	stos, stos, "", 0, 1, BT_TLB_W, 0
	sizes	rep_stos, stos, rep, 0, 1, BT_TLB_W, 0
	sizes	lods, lods, "", 1, 0, BT_TLB_R, 0
	sizes	cmps, cmps, "", 1, 1, BT_TLB_R, 1
	sizes	rep_cmps, cmps, repe, 1, 1, BT_TLB_R, 1
	sizes	repne_cmps, cmps, repne, 1, 1, BT_TLB_R, 1
	sizes	scas, scas, "", 0, 1, BT_TLB_R, 1
	sizes	rep_scas, scas, repe, 0, 1, BT_TLB_R, 1
	sizes	repne_scas, scas, repne, 0, 1, BT_TLB_R, 1

	.macro row name
	.quad	\name\()b, \name\()w, \name\()l, \name\()q
	.endm

// By (opcode >> 1 & 7: MOVS 2, CMPS 3, STOS 5, LODS 6, SCAS 7), repetition (none, REP, REPNE), size; 0: C does it.
	.section .rodata
	.p2align 3
	.globl	bt_string_routines
	.hidden	bt_string_routines
bt_string_routines:
	.fill	2 * 12, 8, 0
	row	movs
	row	rep_movs
	row	rep_movs
	row	cmps
	row	rep_cmps
	row	repne_cmps
	.fill	12, 8, 0
	row	stos
	row	rep_stos
	row	rep_stos
	row	lods
	.fill	8, 8, 0
	row	scas
	row	rep_scas
	row	repne_scas

	.section .note.GNU-stack,"",@progbits
