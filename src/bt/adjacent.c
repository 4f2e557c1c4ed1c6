// SPDX-License-Identifier: MIT
//
// Accesses in a row. Where the next access to memory goes by the same registers as the present one, both are checked at
// once, with nothing kept but T0 and T1: as long as nobody has named these, they lead to where the first access went.
// So a value that is fetched, changed and put back costs one check, and so do the members of a structure. What a window
// (window.c) covers may stand in between. Pushes, pops, a call or a return behind them are such a row by RSP, which
// moves meanwhile. A failed check goes on apart, as a window's.
#include "bt/trans.h"

enum { ROW_SPAN = 256 };

bool row_class(const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
	case X86_CLASS_AVX512:
		return true;
	default:
		return false;
	}
}

struct member { // an access that may be one of a row
	uint8_t base, index, scale;
	struct touch touch;
};

static bool explicit_member(const struct x86_insn *insn, struct member *out)
{
	const struct x86_mem *m = &insn->mem;

	*out = (struct member){m->base, m->index, m->scale, {(int)m->disp, m->size, m->access}};
	return m->present && m->base < X86_GPRS && m->access && m->size && m->size <= 64 && !m->vsib && !m->bitstring &&
	       plain_segment(insn) && m->disp == (int16_t)m->disp && row_class(insn) && !names_high(insn);
}

static bool is_member(const struct x86_insn *insn, struct member *out)
{
	if (explicit_member(insn, out))
		return true;
	*out = (struct member){.base = X86_RSP, .index = X86_REG_NONE};
	return stack_touch(insn, &out->touch);
}

static bool same_registers(const struct row *r, const struct member *m)
{
	return m->base == r->base && m->index == r->index && (m->index == X86_REG_NONE || m->scale == r->scale);
}

// Does it survive the instruction? *by: how far the base moves.
static bool survives(const struct row *r, const struct x86_insn *insn, int *by)
{
	bool push = (insn->class == X86_CLASS_PUSH || insn->class == X86_CLASS_POP) && !insn->mem.present;

	*by = 0;
	if (!row_class(insn) && !push)
		return false;
	if (r->index != X86_REG_NONE)
		return !(insn->gpr_written & (BIT(r->base) | BIT(r->index)));
	return moves_base(insn, r->base, by);
}

// What the accesses from the present one on need; how many they are.
static unsigned look_ahead(const struct trans *t, const struct member *first, struct row *r)
{
	unsigned n = 0;
	int at = 0, by;

	*r = (struct row){.base = first->base, .index = first->index, .scale = first->scale, .lo = first->touch.disp,
		.hi = first->touch.disp};
	for (unsigned i = t->i;; i++) {
		const struct x86_insn *insn = &t->insn[i];
		struct member m;

		if (is_member(insn, &m) && same_registers(r, &m)) {
			int lo = MIN(r->lo, at + m.touch.disp), hi = MAX(r->hi, at + m.touch.disp + (int)m.touch.size);

			if (hi - lo > ROW_SPAN)
				break;
			r->lo = lo;
			r->hi = hi;
			r->access |= m.touch.access;
			n++;
		} else if (insn->mem.present && insn->mem.access && !window_has(t, insn)) {
			break;
		}
		if (!survives(r, insn, &by) || t->next[i] != i + 1 || t->label_of[i + 1] != NOWHERE)
			break;
		at += by;
	}
	return n;
}

static struct emit_mem operand(const struct trans *t, const struct row *r, int disp)
{
	if (r->by_addend)
		return (struct emit_mem){.base = (uint8_t)host_of(t, r->base), .index = HOST_T1, .scale = 1, .disp = disp};
	return (struct emit_mem){.base = HOST_T1, .index = HOST_T0, .scale = 1, .disp = disp - r->lo};
}

static bool covers(const struct trans *t, const struct row *r, const struct member *m)
{
	int at = r->at + m->touch.disp;

	return r->valid && same_registers(r, m) && at >= r->lo && at + (int)m->touch.size <= r->hi &&
	       (!r->at || stack_is_inside(t, r->base, r->at, r->lo, r->hi)) &&
	       !(m->touch.access & ~r->access) && t->hot.named_t1 == r->named_t1 &&
	       (r->by_addend || t->hot.named_t0 == r->named_t0);
}

static void see(const struct trans *t, struct row *r)
{
	r->named_t0 = t->hot.named_t0;
	r->named_t1 = t->hot.named_t1;
}

static void check(struct trans *t, const struct x86_insn *insn, struct row *r)
{
	unsigned size = (unsigned)(r->hi - r->lo);

	r->by_addend = r->index == X86_REG_NONE && t->map[r->base] != X86_REG_NONE;
	if (r->by_addend) {
		emit_merged_check(t, host_of(t, r->base), r->lo, r->access, size, segment_of(r->base), HOST_T1);
	} else {
		emit_ea(t, insn, r->lo - (int)insn->mem.disp);
		emit_row_check(t, r->access, size, insn->mem.seg);
	}
	see(t, r);
	r->valid = true;
}

static bool row_member(struct trans *t, const struct x86_insn *insn, const struct member *m, struct emit_mem *out)
{
	struct row next;

	if (!is_flat(t) || t->t->tier != TIER_HOT || t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_APART))
		return false;
	if (!covers(t, &t->row, m)) {
		if (look_ahead(t, m, &next) < 2)
			return false;
		t->row = next;
		check(t, insn, &t->row);
	}
	*out = operand(t, &t->row, m->touch.disp);
	return true;
}

// The operand of the present instruction, if it is in a row with others.
bool row_operand(struct trans *t, const struct x86_insn *insn, struct emit_mem *out)
{
	struct member m;

	return explicit_member(insn, &m) && row_member(t, insn, &m, out);
}

// The same of a push, pop, call or return.
bool row_stack(struct trans *t, const struct x86_insn *insn, struct emit_mem *out)
{
	struct member m = {.base = X86_RSP, .index = X86_REG_NONE};

	t->row.used = stack_touch(insn, &m.touch) && row_member(t, insn, &m, out);
	return t->row.used;
}

// The instruction has named T1 only as the row's.
void row_kept(struct trans *t)
{
	if (t->row.used)
		see(t, &t->row);
}

// The instruction has been emitted.
void row_after(struct trans *t, const struct x86_insn *insn)
{
	int by;

	t->row.valid &= survives(&t->row, insn, &by);
	t->row.at += by;
	t->row.used = false;
}
