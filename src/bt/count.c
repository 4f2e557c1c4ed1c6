// SPDX-License-Identifier: MIT
//
// --deterministic, and performance counters: every unit subtracts its instructions from vcpu.count_left at its entry
// and leaves there if that
// becomes negative; who leaves a unit early gives back what has not run: a branch in code, all others in C, by the
// numbers kept with each exit, check and copied instruction. So the count is exact wherever C can see it, whatever
// units the code was cut into. The run loop goes on in single instructions when little is left (run.c).
#include "bt/trans.h"

enum { COUNT_LEFT = offsetof(struct vcpu, count_left) };

void emit_count(struct trans *t)
{
	struct emit *e = &t->hot, *c = &t->cold;
	bool host = t->flags == FLAGS_HOST;
	uint8_t *over;
	uint32_t id;

	if (host)
		emit_keep_flags(e);
	emit_op_state(e, 8, 0x83, 5, COUNT_LEFT, 1); // sub
	emit_u8(e, t->n);
	over = emit_jcc32(e, CC_S);
	emit_patch32(over, e->delta, emit_here(c));
	if (host)
		emit_restore_flags(e);
	if (host)
		emit_store_state_imm32(c, 0, SLOT_RECIPE);
	id = new_exit(t, EXIT_COUNT, t->t->pc);
	t->b->exit[id].flags_noted = true;
	t->b->exit[id].left = (uint8_t)t->n;
	emit_call_state(c, SLOT_STUB_EXIT);
	emit_u32(c, id);
}

void emit_uncount(struct trans *t, struct emit *e)
{
	uint32_t left = t->n - 1 - t->i;

	if (!t->v->counts || !left)
		return;
	emit_load_state(e, 8, HOST_T1, COUNT_LEFT);
	emit_lea(e, 8, HOST_T1, mem_base(HOST_T1, (int32_t)left));
	emit_store_state(e, 8, HOST_T1, COUNT_LEFT);
}
