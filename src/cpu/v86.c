// SPDX-License-Identifier: MIT
//
// Virtual-8086 mode: the ways into it and what its instructions do there, by the SDM's "8086 Emulation"; and the
// virtual interrupt flag of CR4.VME and CR4.PVI ("Interrupt and Exception Handling in Virtual-8086 Mode",
// "Protected-Mode Virtual Interrupts"). With an IOPL of 3 the mode behaves like real mode; else PUSHF, POPF, INT n and
// IRET are #GP(0), or with VME act on VIF where they have 16-bit operands.
#include "cpu/transfer.h"

enum { V86_IP, V86_CS, V86_FLAGS, V86_SP, V86_SS, V86_ES, V86_DS, V86_FS, V86_GS, V86_FRAME, TSS_IO_BASE = 0x66,
	IOPL_3 = RFLAGS_IOPL };

static bool trusted(const struct vcpu *v)
{
	return (v->rflags & RFLAGS_IOPL) == IOPL_3;
}

static _Noreturn void refuse(struct vcpu *v)
{
	vcpu_raise(v, VEC_GP, 0);
}

static void put_vif(struct vcpu *v, bool set)
{
	v->rflags = set ? v->rflags | RFLAGS_VIF : v->rflags & ~(uint64_t)RFLAGS_VIF;
}

bool v86_set_vif(struct vcpu *v, bool set)
{
	if (!(v->cr4 & (vcpu_v86(v) ? CR4_VME : CR4_PVI)) || v->cpl != 3)
		return false;
	if (set && v->rflags & RFLAGS_VIP)
		refuse(v);
	put_vif(v, set);
	return true;
}

// VIF in the place of IF, and an IOPL of 3.
static uint64_t virtual_flags(const struct vcpu *v)
{
	uint64_t flags = v->rflags & ~(uint64_t)(RFLAGS_IF | RFLAGS_VM | RFLAGS_RF);

	return flags | IOPL_3 | (v->rflags & RFLAGS_VIF ? RFLAGS_IF : 0);
}

uint64_t v86_pushed_flags(const struct vcpu *v, unsigned size)
{
	if (!vcpu_v86(v) || trusted(v))
		return v->rflags & ~(uint64_t)(RFLAGS_VM | RFLAGS_RF);
	if (!(v->cr4 & CR4_VME) || size != 2)
		refuse((struct vcpu *)(uintptr_t)v);
	return virtual_flags(v);
}

// 16 bits of flags into a processor with VME whose IOPL is below 3.
static void check_virtual_flags(struct vcpu *v, uint64_t value, unsigned size)
{
	if (!(v->cr4 & CR4_VME) || size != 2)
		refuse(v);
	if (value & RFLAGS_TF || (value & RFLAGS_IF && v->rflags & RFLAGS_VIP))
		refuse(v);
}

static void take_virtual_flags(struct vcpu *v, uint64_t value)
{
	const uint64_t may = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;

	v->rflags = (v->rflags & ~(may | RFLAGS_RF)) | (value & may) | RFLAGS_FIXED1;
	put_vif(v, value & RFLAGS_IF);
}

bool v86_popf(struct vcpu *v, uint64_t value, unsigned size)
{
	if (trusted(v))
		return false;
	check_virtual_flags(v, value, size);
	take_virtual_flags(v, value);
	return true;
}

void v86_iret(struct vcpu *v, unsigned opsize)
{
	uint64_t it[3], may = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_NT;
	struct stack st = stack_current(v);

	if (!trusted(v) && (!(v->cr4 & CR4_VME) || opsize != 2))
		refuse(v);
	stack_pop_items(v, &st, it, 3, opsize);
	if (it[V86_IP] > v->seg[X86_CS].limit)
		refuse(v);
	if (!trusted(v))
		check_virtual_flags(v, it[V86_FLAGS], opsize);
	segment_load_real(v, X86_CS, (uint16_t)it[V86_CS]);
	v->rip = it[V86_IP];
	stack_commit(v, &st);
	if (!trusted(v)) {
		take_virtual_flags(v, it[V86_FLAGS]);
		return;
	}
	if (opsize != 2)
		may |= RFLAGS_RF | RFLAGS_AC | RFLAGS_ID;
	v->rflags = (v->rflags & ~may) | (it[V86_FLAGS] & may) | RFLAGS_FIXED1;
}

void v86_enter(struct vcpu *v, struct stack *st, const uint64_t *frame)
{
	const uint64_t may = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF |
			     RFLAGS_VM | RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID;
	static const uint8_t regs[] = {X86_SS, X86_ES, X86_DS, X86_FS, X86_GS};
	uint64_t it[V86_FRAME];

	stack_pop_items(v, st, it + V86_SP, V86_FRAME - V86_SP, 4);
	if (frame[V86_IP] > 0xffff)
		refuse(v);
	v->rflags = (v->rflags & ~may) | (frame[V86_FLAGS] & may) | RFLAGS_FIXED1;
	v->cpl = 3;
	segment_load_real(v, X86_CS, (uint16_t)frame[V86_CS]);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		segment_load_real(v, regs[i], (uint16_t)it[V86_SS + i]);
	v->rip = frame[V86_IP];
	v->gpr[X86_RSP] = it[V86_SP];
}

// -- INT n

// The bit of the interrupt redirection bit map, which ends where the I/O permission bit map begins.
static bool goes_to_monitor(struct vcpu *v, uint8_t vector)
{
	uint16_t base;

	if ((v->tr.attr & SEG_TYPE) != DESC_TSS_BUSY || v->tr.limit < TSS_IO_BASE + 1)
		refuse(v);
	base = vmem_read_u16(v, v->tr.base + TSS_IO_BASE, VMEM_READ | VMEM_IMPLICIT);
	if (base < 32 || base - 32u + vector / 8 > v->tr.limit)
		refuse(v);
	return vmem_read_u8(v, v->tr.base + base - 32 + vector / 8, VMEM_READ | VMEM_IMPLICIT) >> (vector & 7) & 1;
}

// Through the vector table at linear address 0.
static void enter_own(struct vcpu *v, uint8_t vector, uint64_t next)
{
	uint32_t target = vmem_read_u32(v, vector * 4u, VMEM_READ | VMEM_IMPLICIT);
	uint64_t flags = trusted(v) ? v->rflags : virtual_flags(v);
	struct stack st = stack_current(v);

	stack_push_items(v, &st, (uint64_t[]){next, v->seg[X86_CS].sel, flags}, 3, 2);
	stack_commit(v, &st);
	v->rflags &= ~(uint64_t)(RFLAGS_TF | RFLAGS_NT | (trusted(v) ? RFLAGS_IF : RFLAGS_VIF));
	segment_load_real(v, X86_CS, (uint16_t)(target >> 16));
	v->rip = target & 0xffff;
}

bool v86_int(struct vcpu *v, uint8_t vector, uint64_t next)
{
	if (!vcpu_v86(v))
		return false;
	if (v->cr4 & CR4_VME && !goes_to_monitor(v, vector)) {
		enter_own(v, vector, next);
		return true;
	}
	if (!trusted(v))
		refuse(v);
	return false;
}
