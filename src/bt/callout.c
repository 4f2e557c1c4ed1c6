// SPDX-License-Identifier: MIT
//
// Instructions that C carries out from within a unit, which goes on behind them: string instructions that their
// routines (strings.S) cannot do, and those system instructions that as a rule change nothing the unit depends on. The
// canonical state is made as for a fault, and put back into the host's registers afterwards. If something did change -
// the mode, the mapping of the code, something pending - the unit is left for the run loop behind the instruction.
#include "bt/trans.h"

// The call of a stub has been emitted: the number of the site behind it, in a NOP, so that a plain return goes on.
void emit_callout_site(struct trans *t, struct emit *e, const struct x86_insn *insn)
{
	uint32_t id = new_site(t, X86_READ, 1, insn->mem.seg);

	t->b->site[id].insn = keep_insn(t, insn);
	emit_bytes(e, (const uint8_t[]){0x0f, 0x1f, 0x80}, 3); // nopl id(%rax)
	emit_u32(e, id);
	if (insn->flags_written)
		flags_from_here(t, FLAGS_HOST);
}

void sys_callout(struct trans *t, const struct x86_insn *insn)
{
	emit_save_flags(t);
	emit_call_state(&t->hot, SLOT_STUB_SYS);
	emit_callout_site(t, &t->hot, insn);
	window_drop_all(t); // the software TLB may have been flushed
}

static const struct site *site_behind(const struct bt *b, const uint8_t *ra)
{
	return &b->site[*(const uint32_t *)(ra + 3)];
}

static void put_back(struct vcpu *v, const struct tu *tu, const struct x86_insn *insn)
{
	uint64_t *host = (uint64_t *)((char *)v + SLOT_HOST_REGS);
	uint64_t *flags = (uint64_t *)((char *)v + SLOT_HOST_FLAGS);
	const uint8_t *map = hot_of(bt_of(v), tu)->map;

	for (unsigned r = 0; r < X86_GPRS; r++)
		if (map[r] != X86_REG_NONE)
			host[map[r]] = v->gpr[r];
	if (insn->flags_written)
		*flags = (*flags & ~(uint64_t)RFLAGS_ARITH) | (v->rflags & RFLAGS_ARITH);
}

// Counts as an instruction that has begun, until it turns out to have ended in place.
const uint8_t *bt_string_slow(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	const struct site *s = site_behind(b, ra);
	const struct x86_insn *insn = &b->insn[s->insn];
	const struct tu *tu = &b->tu[s->tu];
	int left = s->left - 1;

	b->st->callouts++;
	recover_site(v, s);
	v->count_left += left;
	if (!bt_string(v, insn)) {
		v->count_left++;
		bt_leave(LEAVE_NEXT);
	}
	if (tu->dead)
		bt_leave(LEAVE_NEXT);
	v->count_left -= left;
	put_back(v, tu, insn);
	return ra;
}

// After a flush: does the unit's code go on where it did?
static bool still_there(struct vcpu *v, const struct tu *tu)
{
	bool global;
	gpa_t gpa;

	if (tu->footing || tu->dead)
		return false;
	code_gpa(v, vcpu_linear_pc(v), &gpa, &global);
	return (gpa - tu->gpa) == vcpu_linear_pc(v) - tu->pc;
}

const uint8_t *bt_sys_callout(struct vcpu *v, const uint8_t *ra)
{
	const uint32_t flushes = SYS_FLUSH_TLB | SYS_FLUSH_ALL | SYS_FLUSH_PAGE;
	struct bt *b = bt_of(v);
	const struct site *s = site_behind(b, ra);
	const struct x86_insn *insn = &b->insn[s->insn];
	const struct tu *tu = &b->tu[s->tu];
	uint32_t effect;

	if (!v->pending && device_port(v, s, insn)) {
		if (!v->pending)
			return ra;
		recover_site(v, s);
		vcpu_set_linear_pc(v, vcpu_linear_pc(v) + insn->len);
		bt_leave(LEAVE_NEXT);
	}
	recover_site(v, s);
	effect = bt_system_insn(v, insn);
	if (v->pending || b->flush_tc || b->mode_now != tu->mode || v->dr[7] & 0xff ||
	    (effect & flushes && !still_there(v, tu)) || tu->dead)
		bt_leave(LEAVE_NEXT);
	put_back(v, tu, insn);
	return ra;
}
