// SPDX-License-Identifier: MIT
//
// Accesses in a row. Where the next access to memory goes by the same registers as the present one, both are checked at
// once, with nothing kept but T0 and T1: as long as nobody has named these, they lead to where the first access went.
// So a value that is fetched, changed and put back costs one check, and so do the members of a structure. What a window
// (window.c) covers may stand in between. A failed check goes on apart, as a window's.
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

static bool takes_part(const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;

	return m->present && m->base < X86_GPRS && m->access && m->size && m->size <= 64 && !m->vsib && !m->bitstring &&
	       m->seg < X86_FS && insn->addrsize == 8 && m->disp == (int16_t)m->disp && row_class(insn) &&
	       !names_high(insn);
}

static bool same_registers(const struct row *r, const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;

	return m->base == r->base && m->index == r->index && (m->index == X86_REG_NONE || m->scale == r->scale);
}

static bool changes(const struct row *r, const struct x86_insn *insn)
{
	return insn->gpr_written & (BIT(r->base) | (r->index == X86_REG_NONE ? 0 : BIT(r->index)));
}

// What the accesses from the present one on need; how many they are.
static unsigned look_ahead(const struct trans *t, struct row *r)
{
	const struct x86_mem *m = &t->insn[t->i].mem;
	unsigned n = 0;

	*r = (struct row){.base = m->base, .index = m->index, .scale = m->scale, .lo = (int)m->disp,
		.hi = (int)m->disp};
	for (unsigned i = t->i;; i++) {
		const struct x86_insn *insn = &t->insn[i];

		if (takes_part(insn) && same_registers(r, insn)) {
			int lo = MIN(r->lo, (int)insn->mem.disp), hi = MAX(r->hi, (int)insn->mem.disp + (int)insn->mem.size);

			if (hi - lo > ROW_SPAN)
				break;
			r->lo = lo;
			r->hi = hi;
			r->access |= insn->mem.access;
			n++;
		} else if (insn->mem.present && insn->mem.access && !window_has(t, insn)) {
			break;
		}
		if (!row_class(insn) || changes(r, insn) || t->next[i] != i + 1 || t->label_of[i + 1] != NOWHERE)
			break;
	}
	return n;
}

static struct emit_mem operand(const struct trans *t, const struct row *r, int disp)
{
	if (r->by_addend)
		return (struct emit_mem){.base = (uint8_t)host_of(t, r->base), .index = HOST_T1, .scale = 1, .disp = disp};
	return (struct emit_mem){.base = HOST_T1, .index = HOST_T0, .scale = 1, .disp = disp - r->lo};
}

static bool covers(const struct trans *t, const struct row *r, const struct x86_insn *insn)
{
	return r->valid && same_registers(r, insn) && insn->mem.disp >= r->lo &&
	       insn->mem.disp + (int)insn->mem.size <= r->hi && !(insn->mem.access & ~r->access) &&
	       t->hot.named_t1 == r->named_t1 && (r->by_addend || t->hot.named_t0 == r->named_t0);
}

static void check(struct trans *t, const struct x86_insn *insn, struct row *r)
{
	unsigned size = (unsigned)(r->hi - r->lo);

	r->by_addend = r->index == X86_REG_NONE && t->t->map[r->base] != X86_REG_NONE;
	if (r->by_addend) {
		emit_merged_check(t, host_of(t, r->base), r->lo, r->access, size, segment_of(r->base), HOST_T1);
	} else {
		emit_ea(t, insn, r->lo - (int)insn->mem.disp);
		emit_row_check(t, r->access, size, insn->mem.seg);
	}
	r->named_t0 = t->hot.named_t0;
	r->named_t1 = t->hot.named_t1;
	r->valid = true;
}

// The operand of the present instruction, if it is in a row with others.
bool row_operand(struct trans *t, const struct x86_insn *insn, struct emit_mem *out)
{
	struct row next;

	if (t->code != X86_MODE64 || t->t->tier != TIER_HOT || t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_APART) ||
	    !takes_part(insn))
		return false;
	if (!covers(t, &t->row, insn)) {
		if (look_ahead(t, &next) < 2)
			return false;
		t->row = next;
		check(t, insn, &t->row);
	}
	*out = operand(t, &t->row, (int)insn->mem.disp);
	return true;
}

// The instruction has been emitted.
void row_after(struct trans *t, const struct x86_insn *insn)
{
	if (!row_class(insn) || changes(&t->row, insn))
		t->row.valid = false;
}
