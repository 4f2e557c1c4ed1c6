// SPDX-License-Identifier: MIT
//
// Noted flags to the host's (flags.c): called with the number of a unit in a NOP behind the call, or 0 if the guest's
// registers are in their homes. Keeps all registers. A recipe that has a piece of code here (quick in struct recipe),
// and whose operands need no look at where registers are, is carried out on the spot, others by bt_make_flags.
#include "bt/slots.h"

#define RECIPE_FIRST_OTHER 16 // RECIPE_IMM
#define RECIPE_A 2
#define RECIPE_B 3
#define RECIPE_QUICK 5
#define RECIPE_MOVED 8
#define RECIPE_IMM 12

	.text
	.globl	bt_stub_flags
	.hidden	bt_stub_flags
bt_stub_flags:
	mov	%rax, %gs:SLOT_RAX
	mov	%gs:SLOT_RECIPE, %eax
	test	%eax, %eax
	jz	in_slot
	mov	%rcx, %gs:SLOT_RCX
	mov	%r10, %gs:SLOT_T0
	mov	(%rsp), %rcx
	shl	$4, %eax
	add	%gs:SLOT_RECIPES, %rax
	cmpb	$0, RECIPE_QUICK(%rax)
	je	slow
	cmpl	$0, 3(%rcx)
	jne	elsewhere
quick:
	mov	%rdx, %gs:SLOT_RDX
	movzbl	RECIPE_B(%rax), %ecx
	call	load
	mov	%rcx, %rdx
	movzbl	RECIPE_A(%rax), %ecx
	call	load
	movzbl	RECIPE_QUICK(%rax), %eax
	shl	$4, %eax
	lea	operations-16(%rip), %r10
	add	%rax, %r10
	jmp	*%r10
done:
	mov	%gs:SLOT_RAX, %rax
	mov	%gs:SLOT_RCX, %rcx
	mov	%gs:SLOT_RDX, %rdx
	mov	%gs:SLOT_T0, %r10
	ret

elsewhere:				// do the operands lie in the guest's registers?
	cmpb	$RECIPE_FIRST_OTHER, RECIPE_A(%rax)
	jb	slow
	cmpb	$RECIPE_FIRST_OTHER, RECIPE_B(%rax)
	jae	quick
slow:
	mov	%gs:SLOT_RAX, %rax
	mov	%gs:SLOT_RCX, %rcx
	jmp	bt_stub_make_flags

in_slot:
	movzwl	%gs:SLOT_FLAGS, %eax
	add	$0x7f, %al
	sahf
	mov	%gs:SLOT_RAX, %rax
	ret

// The operand of that number into RCX.
load:
	shl	$4, %ecx
	lea	operands(%rip), %r10
	add	%rcx, %r10
	jmp	*%r10

	.macro	operand source
	.p2align 4
	mov	\source, %rcx
	ret
	.endm

	.p2align 4
operands:	// ORDER GPR, then as in recipe.h
	operand	%gs:SLOT_RAX
	operand	%gs:SLOT_RCX
	operand	%gs:SLOT_RDX
	operand	%rbx
	.p2align 4
	movslq	RECIPE_MOVED(%rax), %rcx
	neg	%rcx
	add	%r9, %rcx
	ret
	operand	%rbp
	operand	%rsi
	operand	%rdi
	operand	%r8
	operand	%gs:VCPU_GPR+0x48
	operand	%gs:VCPU_GPR+0x50
	operand	%gs:VCPU_GPR+0x58
	operand	%r12
	operand	%r13
	operand	%r14
	operand	%r15
	.p2align 4
	movslq	RECIPE_IMM(%rax), %rcx
	ret
	operand	%gs:SLOT_NOTES
	operand	%gs:SLOT_NOTES+8

	.macro	piece first, second=
	.p2align 4
	\first
	.ifnb	\second
	\second
	.endif
	jmp	done
	.endm

	.macro	shift op
	piece	"xchg %rcx, %rdx", "\op %cl, %dl"
	piece	"xchg %rcx, %rdx", "\op %cl, %dx"
	piece	"xchg %rcx, %rdx", "\op %cl, %edx"
	piece	"xchg %rcx, %rdx", "\op %cl, %rdx"
	.endm

	.macro	arithmetic op, back // back: for those whose first operand is the result
	piece	"\op %dl, %cl"
	piece	"\op %dx, %cx"
	piece	"\op %edx, %ecx"
	piece	"\op %rdx, %rcx"
	piece	"\back %dl, %cl", "\op %dl, %cl"
	piece	"\back %dx, %cx", "\op %dx, %cx"
	piece	"\back %edx, %ecx", "\op %edx, %ecx"
	piece	"\back %rdx, %rcx", "\op %rdx, %rcx"
	.endm

	.p2align 4
operations:	// ORDER QUICK: recipe_quick
	arithmetic add, sub
	arithmetic sub, add
	piece	"and %dl, %cl"
	piece	"and %dx, %cx"
	piece	"and %edx, %ecx"
	piece	"and %rdx, %rcx"
	piece	"neg %cl", "neg %cl"
	piece	"neg %cx", "neg %cx"
	piece	"neg %ecx", "neg %ecx"
	piece	"neg %rcx", "neg %rcx"
	shift	shl
	shift	shr
	shift	sar

	.section .note.GNU-stack,"",@progbits
