// SPDX-License-Identifier: MIT
//
// Looks at what the present address space has, on the way to a unit: guards of links, which let pass who has the
// target's page where it was (footing.c), in place or made with the link; and the entries for indirect branches.
#include "bt/base.h"

static uint32_t held_byte(const struct bt *b, uint32_t footing)
{
	return (uint32_t)((uint64_t)&b->holds[footing] - ((uint64_t)b - BT_OFFSET));
}

static uint32_t always_byte(const struct bt *b)
{
	return (uint32_t)((uint64_t)&b->base.always - ((uint64_t)b - BT_OFFSET));
}

bool guards_in_place(const struct trans *t, uint64_t target)
{
	return t->user && t->flags != FLAGS_HOST && !same_page(t, target) && !t->v->counts &&
	       !(t->t->mode & (MODE_ONE | MODE_ALONE));
}

void emit_held(const struct trans *t, struct emit *e)
{
	emit_cmp_state_imm8(e, 1, always_byte(t->b), 0);
}

// The link's guard looks at this footing; 0: it lets all pass.
void emit_set_guard(struct bt *b, const struct exit *x, uint32_t footing)
{
	uint8_t *at = b->tc_rw + x->place - x->guard;
	struct emit e = {at, at + 4, b->delta, (uint64_t)b - BT_OFFSET, 0, 0};

	uint32_t byte = footing ? held_byte(b, footing) : always_byte(b);

	emit_u32(&e, (uint32_t)(e.state + byte - ((uint64_t)emit_here(&e) + GUARD_CMP - GUARD_DISP)));
}

static struct emit cold_half(struct bt *b)
{
	return (struct emit){b->tc_rw + b->cold, b->tc_rw + b->cold_end, b->delta, (uint64_t)b - BT_OFFSET, 0, 0};
}

static uint8_t *emit_unless_state(struct emit *e, uint32_t off, uint32_t value)
{
	emit_op_state(e, 4, 0x81, 7, off, 4); // cmp
	emit_u32(e, value);
	return emit_jcc32(e, CC_NE);
}

// The entry for indirect branches, made when the first one arrives: T0 must be the unit's address, and its page be
// there in the present address space; else it goes on to the next unit with the same hash, which may be another space's
// with the same address, or to the stub. It polls too, for loops through returns. The arithmetic flags are noted. No
// branch but the last is taken on the usual way. Into the cold half.
void emit_indirect_entry(struct bt *b, struct tu *t)
{
	struct emit cold = cold_half(b), *e = &cold;
	uint32_t id = b->nexits++;
	struct hot_tu *h = hot_of(b, t);
	uint8_t *others[4], *poll;
	unsigned n = 0;

	h->indirect_entry = (uint32_t)(e->p - b->tc_rw);
	h->indirect_exit = id;
	if ((int64_t)t->pc == (int32_t)t->pc) {
		emit_alu_imm(e, 8, ALU_CMP, HOST_T0, (int32_t)t->pc);
	} else {
		emit_mov_imm(e, HOST_T1, t->pc);
		h->indirect_imm = (uint32_t)(e->p - 8 - b->tc_rw);
		emit_op_rr(e, 8, 0x39, HOST_T1, HOST_T0);
	}
	others[n++] = emit_jcc32(e, CC_NE);
	if (t->mode & MODE_CS) {
		others[n++] = emit_unless_state(e, VCPU_SEG + X86_CS * VCPU_SEG_SIZE + VCPU_SEG_BASE, h->cs_base);
		others[n++] = emit_unless_state(
			e, VCPU_SEG + X86_CS * VCPU_SEG_SIZE + offsetof(struct x86_seg, limit), h->cs_limit);
	}
	if (t->footing) {
		emit_cmp_state_imm8(e, 1, held_byte(b, t->footing), 0);
		others[n++] = emit_jcc32(e, CC_E);
	}
	emit_cmp_state_imm8(e, 4, VCPU_PENDING, 0);
	poll = emit_jcc32(e, CC_NE);
	emit_patch32(emit_jmp32(e), e->delta, b->tc + t->entry_noted);
	while (n)
		emit_patch32(others[--n], e->delta, emit_here(e));
	h->indirect_other = (uint32_t)(emit_jmp32(e) - b->tc_rw);
	emit_patch32(poll, e->delta, emit_here(e));
	b->exit[id] = (struct exit){.kind = EXIT_POLL, .tu = (uint32_t)(t - b->tu) & EXIT_TU, .flags_noted = true};
	emit_call_state(e, SLOT_STUB_EXIT);
	emit_u32(e, id);
	b->cold = (uint32_t)(e->p - b->tc_rw);
}

static void emit_jmp_to(struct emit *e, const uint8_t *target)
{
	emit_patch32(emit_jmp32(e), e->delta, target);
}

// What stands between an exit and a unit on another footing: if that is not held, take the exit. NULL: the
// cache is full.
const uint8_t *emit_guard(struct bt *b, const struct exit *x, const struct tu *t)
{
	struct emit guard = cold_half(b), *e = &guard;
	uint32_t held = held_byte(b, t->footing);
	const uint8_t *start = emit_here(e);
	uint8_t *no;

	if (b->cold + tc_room(b) > b->cold_end)
		return NULL;
	if (x->flags_noted) {
		emit_cmp_state_imm8(e, 1, held, 0);
		emit_patch32(emit_jcc32(e, CC_NE), e->delta, b->tc + t->entry_noted);
	} else {
		emit_mov(e, 8, HOST_T1, X86_RCX);
		emit_op_state(e, 4, 0x0fb6, X86_RCX, held, 0); // movzbl
		no = emit_jrcxz(e);
		emit_mov(e, 8, X86_RCX, HOST_T1);
		emit_jmp_to(e, b->tc + t->entry);
		emit_patch8(no, e);
		emit_mov(e, 8, X86_RCX, HOST_T1);
	}
	if (x->base)
		base_emit_exit(b, e, x);
	else
		emit_jmp_to(e, b->tc + x->unlinked);
	b->cold = (uint32_t)(e->p - b->tc_rw);
	return start;
}
