// SPDX-License-Identifier: MIT
//
// The doors between C and translated code. In translated code: guest registers in the host's registers of the same
// name, but guest RSP in r9, guest r9-r11 in vcpu.gpr[], r10 and r11 work registers, host RSP on a
// stack of calls (see flow.c); arithmetic flags and DF in the host's RFLAGS. Vector state is never touched here.
#include "bt/slots.h"
#include "mem/zone.h"

	.macro gsmov_out reg, off
	mov	\reg, %gs:\off
	.endm

	.text
	.macro	enter_from_c
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	mov	%rsp, %gs:SLOT_HOST_RSP
	mov	%rdi, %gs:SLOT_ENTRY
	mov	%gs:SLOT_CALLS, %rsp
	.endm

	.macro	load_guest
	mov	%gs:0x00, %rax
	mov	%gs:0x08, %rcx
	mov	%gs:0x10, %rdx
	mov	%gs:0x18, %rbx
	mov	%gs:0x20, %r9
	mov	%gs:0x28, %rbp
	mov	%gs:0x30, %rsi
	mov	%gs:0x38, %rdi
	mov	%gs:0x40, %r8
	mov	%gs:0x60, %r12
	mov	%gs:0x68, %r13
	mov	%gs:0x70, %r14
	mov	%gs:0x78, %r15
	.endm

// uint64_t bt_enter(const void *entry, uint64_t host_flags): run translated code; returns LEAVE_x | number << 8.
	.globl	bt_enter
	.hidden	bt_enter
	.type	bt_enter, @function
bt_enter:
	enter_from_c
	push	%rsi
	load_guest
	popfq
	jmp	*%gs:SLOT_ENTRY

// uint64_t bt_enter_table(const void *entry, uint64_t pc): the same by an entry of the indirect table. The arithmetic
// flags are in their slot, DF is clear.
	.globl	bt_enter_table
	.hidden	bt_enter_table
	.type	bt_enter_table, @function
bt_enter_table:
	enter_from_c
	mov	%rsi, %r10
	load_guest
	jmp	*%gs:SLOT_ENTRY

// Save the guest's registers from their homes, and the flags. Clobbers rax, rcx afterwards.
	.macro	save_guest
	mov	%rax, %gs:0x00
	mov	%rcx, %gs:0x08
	mov	%rdx, %gs:0x10
	mov	%rbx, %gs:0x18
	mov	%r9, %gs:0x20
	mov	%rbp, %gs:0x28
	mov	%rsi, %gs:0x30
	mov	%rdi, %gs:0x38
	mov	%r8, %gs:0x40
	mov	%r12, %gs:0x60
	mov	%r13, %gs:0x68
	mov	%r14, %gs:0x70
	mov	%r15, %gs:0x78
	pushfq
	pop	%rcx
	mov	%rcx, %gs:SLOT_HOST_FLAGS
	cld
	.endm

	.macro	leave_to_c
	mov	%gs:SLOT_HOST_RSP, %rsp
	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.endm

// Called from an exit; the 32-bit exit id follows the call.
	.globl	bt_stub_exit
	.hidden	bt_stub_exit
bt_stub_exit:
	save_guest
	pop	%rcx
	mov	%rsp, %gs:SLOT_CALLS
	mov	(%rcx), %eax
	shl	$8, %rax		// LEAVE_EXIT is 0
	leave_to_c

// Jumped to with the target of an indirect branch in r10 and the arithmetic flags noted.
	.globl	bt_stub_ind
	.hidden	bt_stub_ind
bt_stub_ind:
	save_guest
	mov	%rsp, %gs:SLOT_CALLS
	mov	%r10, %gs:VCPU_RIP
	mov	$LEAVE_IND, %eax
	leave_to_c

// Jumped to from base code with the place in r11.
	.globl	bt_stub_at
	.hidden	bt_stub_at
bt_stub_at:
	save_guest
	mov	%rsp, %gs:SLOT_CALLS
	mov	%r11, %gs:SLOT_TMP
	mov	$LEAVE_AT, %eax
	leave_to_c

// _Noreturn void bt_leave(uint64_t why): leave from C code that was called out of translated code.
	.globl	bt_leave
	.hidden	bt_leave
bt_leave:
	mov	%gs:SLOT_CALLS_FLOOR, %rax
	mov	%rax, %gs:SLOT_CALLS	// what lies on it is not known
	mov	%rdi, %rax
	leave_to_c

// A guest return met a host return address that is not its own: by the table, to the address in r10. The guest's flags
// are in SLOT_FLAGS. The first entry stands at the bottom of the stack of calls, and stays there.
	.globl	bt_stub_ret_empty
	.hidden	bt_stub_ret_empty
	.globl	bt_stub_ret
	.hidden	bt_stub_ret
bt_stub_ret_empty:
	lea	-8(%rsp), %rsp
bt_stub_ret:
	rorx	$16, %r10d, %r11d
	lea	(%r10d, %r11d), %r11d
	movzwl	%r11w, %r11d
	shl	$3, %r11d
	add	%gs:SLOT_TABLE, %r11
	jmp	*(%r11)

// The arithmetic flags and DF as they were, without the price of POPF. Clobbers rax, rcx.
	.macro	flags_back
	mov	%gs:SLOT_HOST_FLAGS, %ecx
	mov	%ecx, %eax
	shl	$8, %eax		// for sahf
	test	$0x400, %ecx
	jz	9f
	std
9:	shr	$11, %ecx
	and	$1, %ecx
	mov	%cl, %al
	add	$0x7f, %al		// OF
	sahf
	.endm

// Save host registers as they are (the unit's own register map applies) around a C function
//   void f(struct vcpu *v, const uint8_t *return_address)
// that may change SLOT_HOST_REGS and the return address (by returning another).
// With `calls` it may empty the stack of calls too.
	.macro	callout fn, calls
	mov	%rax, %gs:SLOT_HOST_REGS+0x00
	mov	%rcx, %gs:SLOT_HOST_REGS+0x08
	mov	%rdx, %gs:SLOT_HOST_REGS+0x10
	mov	%rbx, %gs:SLOT_HOST_REGS+0x18
	mov	%rbp, %gs:SLOT_HOST_REGS+0x28
	mov	%rsi, %gs:SLOT_HOST_REGS+0x30
	mov	%rdi, %gs:SLOT_HOST_REGS+0x38
	mov	%r8, %gs:SLOT_HOST_REGS+0x40
	mov	%r9, %gs:SLOT_HOST_REGS+0x48
	mov	%r10, %gs:SLOT_HOST_REGS+0x50
	mov	%r11, %gs:SLOT_HOST_REGS+0x58
	mov	%r12, %gs:SLOT_HOST_REGS+0x60
	mov	%r13, %gs:SLOT_HOST_REGS+0x68
	mov	%r14, %gs:SLOT_HOST_REGS+0x70
	mov	%r15, %gs:SLOT_HOST_REGS+0x78
	mov	%rsp, %gs:SLOT_HOST_REGS+0x20
	pop	%rsi			// return address: what follows the call
	pushfq
	pop	%rcx
	mov	%rcx, %gs:SLOT_HOST_FLAGS
	cld
	mov	%gs:SLOT_SELF, %rdi
	mov	%rsp, %rbp
	.ifnb \calls
	mov	%rsp, %gs:SLOT_CALLS
	.endif
	mov	%gs:SLOT_HOST_RSP, %rsp
	and	$-16, %rsp
	call	\fn
	mov	%rbp, %rsp
	.ifnb \calls
	mov	%gs:SLOT_CALLS, %rsp
	.endif
	push	%rax
	flags_back
	mov	%gs:SLOT_HOST_REGS+0x00, %rax
	mov	%gs:SLOT_HOST_REGS+0x08, %rcx
	mov	%gs:SLOT_HOST_REGS+0x10, %rdx
	mov	%gs:SLOT_HOST_REGS+0x18, %rbx
	mov	%gs:SLOT_HOST_REGS+0x28, %rbp
	mov	%gs:SLOT_HOST_REGS+0x30, %rsi
	mov	%gs:SLOT_HOST_REGS+0x38, %rdi
	mov	%gs:SLOT_HOST_REGS+0x40, %r8
	mov	%gs:SLOT_HOST_REGS+0x48, %r9
	mov	%gs:SLOT_HOST_REGS+0x50, %r10
	mov	%gs:SLOT_HOST_REGS+0x58, %r11
	mov	%gs:SLOT_HOST_REGS+0x60, %r12
	mov	%gs:SLOT_HOST_REGS+0x68, %r13
	mov	%gs:SLOT_HOST_REGS+0x70, %r14
	mov	%gs:SLOT_HOST_REGS+0x78, %r15
	ret
	.endm

	.globl	bt_stub_miss
	.hidden	bt_stub_miss
bt_stub_miss:
	callout	bt_tlb_miss

// A site's own entry does not hold its address: T0 is the address xor the entry's tag; behind the call is the entry's
// place. If the TLB has the page, the entry is filled and hung on the ring of its page here; all else is C's.
	.globl	bt_stub_site
	.hidden	bt_stub_site
bt_stub_site:
	mov	%rax, %gs:SLOT_HOST_REGS+0x00
	mov	%rcx, %gs:SLOT_HOST_REGS+0x08
	mov	%rdx, %gs:SLOT_HOST_REGS+0x10
	mov	(%rsp), %r11
	mov	(%r11), %r11d
	xor	%gs:SITE_ENTRY_AT(%r11), %r10
	rorx	$8, %r10, %rax
	and	$(SITE_TLB_SIZE - 1) << 4, %eax
	mov	%eax, %edx
	shr	$4, %edx
	mov	%gs:SITE_INFO_AT+SITE_INFO_TABLE(%r11), %ecx
	add	%rcx, %rax
	movzbl	%gs:SITE_TLB_KIND(%rcx, %rdx), %ecx
	mov	%gs:(%rax), %rdx
	xor	%r10, %rdx
	test	$2, %cl			// TLB_LARGE
	jnz	1f
	cmp	%dx, %gs:SITE_INFO_AT+SITE_INFO_LIMIT(%r11)
	jbe	3f
	shr	$16, %rdx
	jnz	4f
	cmpq	$0, %gs:SITE_ENTRY_AT+8(%r11)
	je	2f			// it had been flushed
	addw	$1, %gs:SITE_INFO_AT+SITE_INFO_REFILLS(%r11)
	jc	1f
2:	and	$1, %ecx		// TLB_GLOBAL
	shl	$SITE_HALF_SHIFT + 5, %ecx
	mov	%gs:(%rax), %rdx
	mov	%gs:8(%rax), %rax
	mov	%rdx, %gs:SITE_ENTRY_AT(%r11)
	mov	%rax, %gs:SITE_ENTRY_AT+16(%r11)
	sub	%rdx, %rax
	mov	%rax, %gs:SITE_ENTRY_AT+24(%r11)
	movzwl	%gs:SITE_INFO_AT+SITE_INFO_LIMIT(%r11), %eax
	mov	%rax, %gs:SITE_ENTRY_AT+8(%r11)
	shr	$7, %edx
	and	$(SITE_HASH - 1) << 5, %edx
	add	%rdx, %rcx		// the ring's head
	mov	%gs:SITE_INFO_AT(%r11), %eax
	mov	%gs:SITE_INFO_AT+SITE_INFO_PREV(%r11), %edx
	mov	%eax, %gs:SITE_INFO_AT(%rdx)
	mov	%edx, %gs:SITE_INFO_AT+SITE_INFO_PREV(%rax)
	mov	%gs:SITE_INFO_AT(%rcx), %eax
	mov	%eax, %gs:SITE_INFO_AT(%r11)
	mov	%ecx, %gs:SITE_INFO_AT+SITE_INFO_PREV(%r11)
	mov	%r11d, %gs:SITE_INFO_AT+SITE_INFO_PREV(%rax)
	mov	%r11d, %gs:SITE_INFO_AT(%rcx)
	incq	%gs:SITE_REFILLS_AT
	mov	%gs:SITE_INFO_AT+SITE_INFO_RETRY(%r11), %r11d
	add	%gs:SLOT_SELF, %r11
	add	$ZONE_VCPU_TC, %r11
	mov	%gs:SLOT_HOST_REGS+0x00, %rax
	mov	%gs:SLOT_HOST_REGS+0x08, %rcx
	mov	%gs:SLOT_HOST_REGS+0x10, %rdx
	add	$8, %rsp
	jmp	*%r11
3:	mov	%r10d, %eax		// of a small page; does a merged check reach beyond it?
	and	$0xfff, %eax
	cmp	%ax, %gs:SITE_INFO_AT+SITE_INFO_LIMIT(%r11)
	ja	4f
	cmpb	$0, %gs:SITE_INFO_AT+SITE_INFO_APART(%r11)
	jne	5f
4:	cmpb	$2, %gs:SITE_INFO_AT+SITE_INFO_APART(%r11) // SITE_APART_ALWAYS
	jne	1f
5:	incq	%gs:SITE_APART_AT
	addq	$4, (%rsp)
	mov	%gs:SLOT_HOST_REGS+0x00, %rax
	mov	%gs:SLOT_HOST_REGS+0x08, %rcx
	mov	%gs:SLOT_HOST_REGS+0x10, %rdx
	ret
1:	mov	%gs:SLOT_HOST_REGS+0x00, %rax
	mov	%gs:SLOT_HOST_REGS+0x08, %rcx
	mov	%gs:SLOT_HOST_REGS+0x10, %rdx
	callout	bt_site_miss

	.globl	bt_stub_base_miss
	.hidden	bt_stub_base_miss
bt_stub_base_miss:
	callout	bt_base_miss

	.globl	bt_stub_careful
	.hidden	bt_stub_careful
bt_stub_careful:
	callout	bt_careful_access

	.globl	bt_stub_commit
	.hidden	bt_stub_commit
bt_stub_commit:
	callout	bt_careful_commit

	.globl	bt_stub_string
	.hidden	bt_stub_string
bt_stub_string:
	callout bt_string_slow

	.globl	bt_stub_sys
	.hidden	bt_stub_sys
bt_stub_sys:
	callout bt_sys_callout, calls

	.globl	bt_stub_make_flags
	.hidden	bt_stub_make_flags
bt_stub_make_flags:
	callout	bt_make_flags

	.section .note.GNU-stack,"",@progbits
