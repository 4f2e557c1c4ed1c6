// SPDX-License-Identifier: MIT
//
// IRET in real mode, protected mode and long mode, by the SDM's page for it: to the same level or an outer one, to
// 64-bit or compatibility code; v86.c has what leads to virtual-8086 mode and is done in it, task.c the way back to
// another task.
// NMIs are unblocked even when the instruction faults.
#include "cpu/transfer.h"

enum { IRET_RIP, IRET_CS, IRET_FLAGS, IRET_RSP, IRET_SS, IRET_ITEMS };

// What IRET may change in RFLAGS, by operand size and by the privilege before it.
static uint64_t new_flags(const struct vcpu *v, uint64_t popped, unsigned opsize, unsigned cpl, unsigned iopl)
{
	uint64_t may = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;

	if (opsize != 2)
		may |= RFLAGS_RF | RFLAGS_AC | RFLAGS_ID;
	if (cpl == 0)
		may |= RFLAGS_IOPL | (opsize != 2 ? RFLAGS_VIF | RFLAGS_VIP : 0);
	if (cpl <= iopl)
		may |= RFLAGS_IF;
	return (v->rflags & ~may) | (popped & may) | RFLAGS_FIXED1;
}

static void iret_real(struct vcpu *v, unsigned opsize)
{
	const uint64_t stays = RFLAGS_VIF | RFLAGS_VIP;
	struct stack st = stack_current(v);
	uint64_t items[3];

	stack_pop_items(v, &st, items, 3, opsize);
	if (items[IRET_RIP] > v->seg[X86_CS].limit)
		vcpu_raise(v, VEC_GP, 0);
	segment_load_real(v, X86_CS, (uint16_t)items[IRET_CS]);
	v->rip = items[IRET_RIP];
	v->rflags = (new_flags(v, items[IRET_FLAGS], opsize, 0, 0) & ~stays) | (v->rflags & stays);
	stack_commit(v, &st);
}

// RSP as popped, for the new stack: a 16-bit pop and a 16-bit stack keep the rest of the old value, but in 64-bit mode
// it is zero-extended.
static uint64_t outer_sp(const struct vcpu *v, const struct x86_seg *ss, bool code64, uint64_t popped, unsigned opsize)
{
	uint64_t mask = !code64 && (opsize == 2 || !(ss->attr & SEG_DB)) ? 0xffff : ~UINT64_C(0);

	return (v->gpr[X86_RSP] & ~mask) | (popped & mask);
}

// SS of a return to 64-bit code of that level, or to 32-bit code of users (where all of RSP is popped, too).
static bool quick_ss(struct vcpu *v, uint16_t sel, unsigned cpl, struct x86_seg *ss)
{
	struct desc d;

	if ((sel & SEL_RPL) != cpl)
		return false;
	if (selector_null(sel)) {
		*ss = segment_null(sel, cpl);
		return cpl != 3;
	}
	if (!quick_desc(v, sel, &d) || !desc_writable_data(&d) || desc_dpl(&d) != cpl || !(desc_attr(&d) & SEG_DB))
		return false;
	*ss = desc_segment(&d, sel);
	return true;
}

// A 64-bit kernel's return, where all is as usual. False: nothing has happened.
static bool iret_quickly(struct vcpu *v, unsigned opsize)
{
	uint64_t rsp = v->gpr[X86_RSP], it[IRET_ITEMS];
	const uint8_t *frame;
	struct x86_seg ss;
	struct desc cs;
	unsigned cpl;

	if (!vcpu_code64(v) || v->cpl || opsize != 8 || v->rflags & RFLAGS_NT ||
	    (rsp & PAGE_OFFSET) + IRET_ITEMS * 8 > PAGE_SIZE || v->dr[7] & 0xff)
		return false;
	frame = vcpu_ram_host(v, rsp, VMEM_READ);
	if (!frame)
		return false;
	__builtin_memcpy(it, frame, sizeof(it));
	cpl = it[IRET_CS] & SEL_RPL;
	if (!quick_return_code(v, (uint16_t)it[IRET_CS], it[IRET_RIP], &cs) || desc_dpl(&cs) != cpl ||
	    !quick_ss(v, (uint16_t)it[IRET_SS], cpl, &ss))
		return false;
	v->seg[X86_SS] = ss;
	v->gpr[X86_RSP] = it[IRET_RSP];
	v->rflags = new_flags(v, it[IRET_FLAGS], opsize, 0, 0);
	far_enter(v, &cs, (uint16_t)it[IRET_CS], cpl, it[IRET_RIP]);
	if (cpl)
		segment_drop_inner(v);
	return true;
}

void far_iret(struct vcpu *v, unsigned opsize, uint64_t next)
{
	struct stack st = stack_current(v);
	bool from64 = vcpu_code64(v), code64, outer;
	uint64_t it[IRET_ITEMS], flags;
	struct x86_seg ss;
	struct desc cs;
	unsigned cpl;

	v->nmi_blocked = false;
	if (iret_quickly(v, opsize))
		return;
	if (!vcpu_protected(v)) {
		if (vcpu_v86(v))
			v86_iret(v, opsize);
		else
			iret_real(v, opsize);
		return;
	}
	if (v->rflags & RFLAGS_NT) {
		if (vcpu_long_mode(v))
			vcpu_raise(v, VEC_GP, 0);
		task_return(v, next);
		return;
	}
	stack_peek(v, &st, IRET_FLAGS, opsize);
	it[IRET_CS] = stack_read_selector(v, &st, opsize);
	stack_pop_items(v, &st, it, 3, opsize);
	if (!vcpu_long_mode(v) && opsize == 4 && it[IRET_FLAGS] & RFLAGS_VM && v->cpl == 0) {
		v86_enter(v, &st, it);
		return;
	}
	far_check_return_cs(v, it[IRET_CS], &cs);
	cpl = it[IRET_CS] & SEL_RPL;
	outer = cpl > v->cpl;
	code64 = desc_code64(v, &cs);
	flags = new_flags(v, it[IRET_FLAGS], opsize, v->cpl, (v->rflags & RFLAGS_IOPL) >> 12);
	if (from64 || outer) {
		it[IRET_SS] = stack_read_selector(v, &st, opsize);
		it[IRET_RSP] = stack_pop(v, &st, opsize);
		ss = segment_check_ss(v, it[IRET_SS], cpl, VEC_GP, code64 && cpl != 3);
		st.sp = outer_sp(v, &ss, code64, it[IRET_RSP], opsize);
	} else {
		ss = v->seg[X86_SS];
	}
	far_check_target(v, &cs, it[IRET_RIP]);
	desc_access(v, &cs);
	v->seg[X86_SS] = ss;
	stack_commit(v, &st);
	far_enter(v, &cs, it[IRET_CS], cpl, it[IRET_RIP]);
	v->rflags = flags;
	if (outer)
		segment_drop_inner(v);
}
