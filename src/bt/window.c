// SPDX-License-Identifier: MIT
//
// Merged checks. A window is a stretch of memory around one guest register (the stack pointer, or a pointer used
// several times in the unit) that is checked once, at its first access, for all that follow: afterwards host address =
// guest address + addend, with the addend in a host register that the unit does not name, and each access keeps the
// guest's own base and displacement. A window lasts until its register is set anew; the stack pointer's survives
// pushes, pops and constants.
//
// All of a window lies on one page, and is checked for writing if anything writes. If that fails (a frame across two
// pages, a page that is shared until it is written), a unit goes on from the instruction at hand that makes each check
// by itself: MODE_APART, base code at first. A direct link leads there like any other, so that it may fail as often as
// it likes.
//
// In a region a window on a register that a loop does not change is checked before the loop, for all of it.
#include "bt/trans.h"

enum { SPAN_MAX = 512 };

static bool plain_class(const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
	case X86_CLASS_AVX512: case X86_CLASS_JMP_IND:
		return true;
	default:
		return false;
	}
}

// AH..BH beside a memory operand: swapped down for the operation, which moves the base too (see emit_high_byte).
bool names_high(const struct x86_insn *insn)
{
	return insn->fields & X86_FIELD_REG_BYTE && !insn->rex && insn->modrm >> 3 & 4;
}

// Neither a segment's base nor its rights count: flat code may write by all but CS. Addresses are as wide as can be.
bool plain_segment(const struct x86_insn *insn)
{
	return insn->mem.seg < X86_FS && insn->addrsize == word_of(insn) &&
	       (insn->mode == X86_MODE64 || insn->mem.seg != X86_CS);
}

bool plain_access(const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;

	return m->present && plain_segment(insn) && !names_high(insn) && m->access && m->size &&
	       m->size <= 64 && !m->bitstring && !m->vsib && m->disp == (int16_t)m->disp && plain_class(insn);
}

static bool explicit_touch(const struct x86_insn *insn, unsigned base, struct touch *out)
{
	const struct x86_mem *m = &insn->mem;

	if (m->base != base || m->index != X86_REG_NONE || !plain_access(insn))
		return false;
	*out = (struct touch){(int)m->disp, m->size, m->access};
	return true;
}

// The access of a push, pop, call or return through RSP, if it is its only one.
bool stack_touch(const struct x86_insn *insn, struct touch *out)
{
	unsigned size = word_of(insn);

	if (insn->mem.present || (insn->opsize != size && insn->opsize != 8))
		return false;
	switch (insn->class) {
	case X86_CLASS_PUSH: case X86_CLASS_CALL: case X86_CLASS_CALL_IND:
		*out = (struct touch){-(int)size, size, X86_WRITE};
		return true;
	case X86_CLASS_POP: case X86_CLASS_RET:
		*out = (struct touch){0, size, X86_READ};
		return true;
	default:
		return false;
	}
}

static bool touches(const struct trans *t, unsigned i, unsigned base, struct touch *out)
{
	const struct x86_insn *insn = &t->insn[i];

	return explicit_touch(insn, base, out) || (base == X86_RSP && stack_touch(insn, out)) ||
	       (t->ncounted && counted_touch(t, i, base, out));
}

// ADD, SUB of a constant and LEA on the whole stack pointer.
static bool rsp_constant(const struct x86_insn *insn, int *by)
{
	unsigned op = insn->modrm >> 3 & 7;

	if (insn->encoding != X86_ENC_LEGACY || insn->map || insn->opsize != word_of(insn))
		return false;
	if (insn->opcode == 0x8d && insn->mem.base == X86_RSP && insn->mem.index == X86_REG_NONE &&
	    insn->addrsize == word_of(insn))
		*by = (int)insn->mem.disp;
	else if ((insn->opcode == 0x81 || insn->opcode == 0x83) && !insn->mem.present && (op == 0 || op == 5))
		*by = op ? -(int)insn->imm : (int)insn->imm;
	else
		return false;
	return *by == (int16_t)*by;
}

// What the instruction does to the base register: false if it sets it anew, else *by how much it moves it.
bool moves_base(const struct x86_insn *insn, unsigned base, int *by)
{
	struct touch t;

	*by = 0;
	if (base == X86_RSP && stack_touch(insn, &t)) {
		*by = insn->class == X86_CLASS_PUSH ? -(int)t.size : (int)t.size;
		return insn->class == X86_CLASS_PUSH ||
		       (insn->class == X86_CLASS_POP && !(insn->opcode == 0x5c && !(insn->rex & 1)));
	}
	if (!(insn->gpr_written & BIT(base)))
		return true;
	return base == X86_RSP && rsp_constant(insn, by);
}

// A stack pointer of 32 bits wraps where the sum of a window's addend and its whole register does not. While it points
// into the window, or stands where it stood at the check, it has not wrapped.
static bool keeps_inside(const struct trans *t, unsigned base)
{
	return base == X86_RSP && t->code != X86_MODE64;
}

bool stack_is_inside(const struct trans *t, unsigned base, int at, int lo, int hi)
{
	return !keeps_inside(t, base) || (at >= lo && at < hi);
}

static bool is_inside(const struct trans *t, const struct window *w)
{
	return (!w->at && !w->joined) || stack_is_inside(t, w->base, w->at, w->lo, w->hi);
}

// The stretch that accesses from the present instruction on go to, relative to the register's present value.
static unsigned scan(const struct trans *t, unsigned first, unsigned base, struct window *w)
{
	bool narrow = keeps_inside(t, base);
	int at = 0, by;
	unsigned n = 0;

	*w = (struct window){.base = (uint8_t)base, .lo = INT32_MAX, .hi = INT32_MIN};
	for (unsigned i = first; i < t->n; i++) {
		const struct x86_insn *insn = &t->insn[i];
		struct touch x;

		if (touches(t, i, base, &x)) {
			int lo = MIN(w->lo, at + (narrow ? MIN(x.disp, 0) : x.disp));
			int hi = MAX(w->hi, at + x.disp + (int)x.size);

			if (hi - lo > SPAN_MAX)
				break;
			w->lo = lo;
			w->hi = hi;
			w->access |= x.access;
			n++;
		}
		if (!moves_base(insn, base, &by) || t->next[i] != i + 1)
			break;
		at += by;
	}
	return n;
}

void window_add(struct trans *t, unsigned base, unsigned host)
{
	t->window[t->nwindows++] = (struct window){
		.base = (uint8_t)base, .addend = (uint8_t)host, .whole = is_counted(t, base)};
	t->map[host] = X86_REG_NONE;
}

// Do the instructions from first to last leave a window on the register as it is?
static bool lasts(const struct trans *t, unsigned first, unsigned last, unsigned base)
{
	int by;

	for (unsigned i = first; i <= last; i++) {
		unsigned class = t->insn[i].class;

		if ((class == X86_CLASS_CALL || class == X86_CLASS_CALL_IND) && t->next[i] != NOWHERE)
			return false;
		if (!moves_base(&t->insn[i], base, &by) && t->next[i] != NOWHERE)
			return false;
	}
	return true;
}

// What a loop, from first to last, needs of a window that lasts through it.
static unsigned scan_loop(const struct trans *t, unsigned first, unsigned last, unsigned base, struct window *w)
{
	bool narrow = keeps_inside(t, base);
	int at = 0, by;
	unsigned n = 0;

	*w = (struct window){.base = (uint8_t)base, .lo = INT32_MAX, .hi = INT32_MIN};
	for (unsigned i = first; i <= last; i++) {
		struct touch x;

		if (touches(t, i, base, &x)) {
			int lo = MIN(w->lo, at + (narrow ? MIN(x.disp, 0) : x.disp));
			int hi = MAX(w->hi, at + x.disp + (int)x.size);

			if (hi - lo > SPAN_MAX)
				continue;
			w->lo = lo;
			w->hi = hi;
			w->access |= x.access;
			n++;
		}
		moves_base(&t->insn[i], base, &by);
		at += by;
	}
	return n;
}

// How many accesses may go through the register while it stays, those in loops counted for more.
static unsigned weigh_loops(const struct trans *t, unsigned base)
{
	unsigned best = 0;
	struct window w;

	for (unsigned i = 0; i < t->n; i++) {
		const struct label *l = t->label_of[i] == NOWHERE ? NULL : &t->label[t->label_of[i]];

		if (l && l->loop && lasts(t, i, l->last, base))
			best = MAX(best, scan_loop(t, i, l->last, base, &w) * weight_of(t, i));
	}
	return best;
}

// Are the accesses from the present one on a single row (adjacent.c)? It needs no register.
static bool is_row(const struct trans *t, unsigned first, unsigned base)
{
	bool apart = false;
	struct touch x;
	int by;

	for (unsigned i = first; i < t->n; i++) {
		const struct x86_insn *insn = &t->insn[i];

		if (touches(t, i, base, &x)) {
			if (apart || insn->mem.index != X86_REG_NONE)
				return false;
		} else {
			apart |= (insn->mem.present && insn->mem.access) || !row_class(insn);
		}
		if (!moves_base(insn, base, &by) || t->next[i] != i + 1)
			break;
		apart |= t->label_of[i + 1] != NOWHERE;
	}
	return true;
}

// The same between two changes of it, where it takes three to be worth it.
static unsigned weigh_runs(const struct trans *t, unsigned base)
{
	unsigned best = 0;
	struct touch x;
	struct window w;

	for (unsigned i = 0; i < t->n; i++)
		if (touches(t, i, base, &x)) {
			unsigned n = scan(t, i, base, &w);

			if ((n >= 3 || (n == 2 && base == X86_RSP)) && !is_row(t, i, base))
				best = MAX(best, n * weight_of(t, i));
		}
	return best;
}

// What a window around each guest register would save. False: none is wanted.
bool window_wanted(struct trans *t, unsigned *worth)
{
	bool any = false;

	for (unsigned base = 0; base < X86_GPRS; base++) {
		worth[base] = 0;
		if (!is_flat(t) || t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_APART | MODE_MAPPED))
			continue;
		worth[base] = weigh_runs(t, base);
		if (t->nlabels)
			worth[base] = MAX(worth[base], weigh_loops(t, base));
		any |= worth[base];
	}
	return any;
}

unsigned segment_of(unsigned base)
{
	return base == X86_RSP || base == X86_RBP ? X86_SS : X86_DS;
}

static void establish(struct trans *t, struct window *w)
{
	emit_merged_check(t, host_of(t, w->base), w->lo - w->at, w->access, (unsigned)(w->hi - w->lo), segment_of(w->base),
			  w->addend);
	if (w->whole)
		emit_lea(&t->hot, 8, w->addend, (struct emit_mem){
			.base = (uint8_t)host_of(t, w->base), .index = w->addend, .scale = 1});
	w->valid = true;
	w->joined = false;
}

// What is kept of a window that another takes the place of.
static void replace(struct window *w, struct window next)
{
	next.addend = w->addend;
	next.whole = w->whole;
	*w = next;
}

// The host operand for disp(base), if a window covers it or can be made to. May leave for a miss.
bool window_operand(struct trans *t, unsigned base, int disp, unsigned size, unsigned access, struct emit_mem *out)
{
	struct window *w = NULL, next;

	for (unsigned i = 0; i < t->nwindows; i++)
		if (t->window[i].base == base)
			w = &t->window[i];
	if (!w)
		return false;
	if (!w->valid || !is_inside(t, w) || w->at + disp < w->lo || w->at + disp + (int)size > w->hi ||
	    access & ~w->access) {
		if (scan(t, t->i, base, &next) < 2)
			return false;
		replace(w, next);
		if (disp < w->lo || disp + (int)size > w->hi || access & ~w->access)
			return false;
		establish(t, w);
	}
	*out = w->whole ? mem_base(w->addend, disp) :
	       (struct emit_mem){.base = (uint8_t)host_of(t, base), .index = w->addend, .scale = 1, .disp = disp};
	return true;
}

// The same by a counter besides.
static bool counted_operand(struct trans *t, const struct x86_insn *insn, struct emit_mem *out)
{
	const struct x86_mem *m = &insn->mem;
	struct touch x;

	if (!t->ncounted || m->base >= X86_GPRS || !counted_touch(t, t->i, m->base, &x) ||
	    t->map[m->index] == X86_REG_NONE || !window_operand(t, m->base, x.disp, x.size, x.access, out))
		return false;
	*out = (struct emit_mem){.base = out->base, .index = (uint8_t)host_of(t, m->index), .scale = m->scale,
		.disp = (int32_t)m->disp};
	return true;
}

// disp(base) can be accessed as disp(base) + T1, with the guest's own base.
static bool has_plain_base(const struct trans *t, const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;

	return is_flat(t) && !t->careful && m->base < X86_GPRS && m->index == X86_REG_NONE && plain_segment(insn) &&
	       !names_high(insn) && (t->code == X86_MODE64 ? m->disp == (int32_t)m->disp : m->disp == (int16_t)m->disp);
}

// The operand of an explicit memory access; T1 + T0 if no window has it.
struct emit_mem emit_operand(struct trans *t, const struct x86_insn *insn, unsigned access, unsigned size)
{
	struct emit_mem m;
	struct touch x;

	if (mapped_operand(t, insn, 0, &m))
		return m;
	if (insn->mem.base < X86_GPRS && explicit_touch(insn, insn->mem.base, &x) &&
	    window_operand(t, insn->mem.base, x.disp, x.size, x.access, &m))
		return m;
	if (counted_operand(t, insn, &m) || row_operand(t, insn, &m))
		return m;
	if (t->t->tier == TIER_HOT && has_plain_base(t, insn) && t->map[insn->mem.base] != X86_REG_NONE)
		return emit_based_operand(t, host_of(t, insn->mem.base), (int)insn->mem.disp, access, size,
					  segment_of(insn->mem.base));
	if (t->t->tier == TIER_HOT && emit_constant_operand(t, insn, access, size, &m))
		return m;
	emit_ea(t, insn, 0);
	emit_check(t, access, size, insn->mem.seg);
	return checked_mem();
}

// The same for disp(RSP), of a push, pop, call or return.
struct emit_mem emit_stack_operand(struct trans *t, int disp, unsigned size, unsigned access)
{
	struct emit_mem m;

	if (is_mapped(t))
		return mapped_stack(t, X86_RSP, disp, size);
	if (size == word(t) && window_operand(t, X86_RSP, disp, size, access, &m))
		return m;
	if (size == word(t) && row_stack(t, &t->insn[t->i], &m))
		return m;
	if (is_flat(t) && !t->careful && t->t->tier == TIER_HOT)
		return emit_based_operand(t, HOST_GUEST_RSP, disp, access, size, X86_SS);
	emit_stack_ea(t, disp);
	emit_check(t, access, size, X86_SS);
	return checked_mem();
}

bool window_has(const struct trans *t, const struct x86_insn *insn)
{
	struct touch x;

	for (unsigned i = 0; i < t->nwindows; i++) {
		const struct window *w = &t->window[i];

		if (w->base == insn->mem.base && w->valid && is_inside(t, w) &&
		    touches(t, (unsigned)(insn - t->insn), w->base, &x) &&
		    w->at + x.disp >= w->lo && w->at + x.disp + (int)x.size <= w->hi && !(x.access & ~w->access))
			return true;
	}
	return false;
}

// The instruction has been emitted: what it does to the windows' registers.
void window_after(struct trans *t, const struct x86_insn *insn)
{
	row_after(t, insn);
	for (unsigned i = 0; i < t->nwindows; i++) {
		struct window *w = &t->window[i];
		int by;

		if (!moves_base(insn, w->base, &by))
			w->valid = false;
		w->at += by;
	}
}

void window_drop_all(struct trans *t)
{
	t->row.valid = false;
	for (unsigned i = 0; i < t->nwindows; i++)
		t->window[i].valid = false;
}

static bool covers(const struct window *have, const struct window *wanted)
{
	return have->valid && have->lo - have->at <= wanted->lo - wanted->at &&
	       have->hi - have->at >= wanted->hi - wanted->at && !(wanted->access & ~have->access);
}

// Both ways meet: what both have.
void window_join(struct window *w, const struct window *other)
{
	int lo = MAX(w->lo - w->at, other->lo - other->at), hi = MIN(w->hi - w->at, other->hi - other->at);

	w->valid = w->valid && other->valid && lo < hi;
	w->access &= other->access;
	w->lo = lo;
	w->hi = hi;
	w->at = 0;
	w->joined = true;
}

bool window_fits(const struct trans *t, const struct window *wanted)
{
	for (unsigned i = 0; i < t->nwindows; i++)
		if (t->window[i].addend == wanted->addend)
			return covers(&t->window[i], wanted);
	return false;
}

void window_make(struct trans *t, const struct window *wanted)
{
	for (unsigned i = 0; i < t->nwindows; i++)
		if (t->window[i].addend == wanted->addend) {
			t->window[i] = *wanted;
			establish(t, &t->window[i]);
		}
}

// What follows the loop may be checked at once with it.
static void with_run(const struct trans *t, struct window *need)
{
	struct window run;
	int lo, hi;

	if (!scan(t, t->i, need->base, &run) || run.access & ~need->access)
		return;
	lo = MIN(need->lo, run.lo);
	hi = MAX(need->hi, run.hi);
	if (hi - lo > SPAN_MAX)
		return;
	need->lo = lo;
	need->hi = hi;
}

// A loop begins with the present instruction: what it needs and does not change is checked before it.
void window_enter_loop(struct trans *t, unsigned last)
{
	for (unsigned i = 0; i < t->nwindows; i++) {
		struct window *w = &t->window[i], need;

		if (!lasts(t, t->i, last, w->base)) {
			w->valid = false;
			continue;
		}
		if (!scan_loop(t, t->i, last, w->base, &need) || (covers(w, &need) && is_inside(t, w)))
			continue;
		with_run(t, &need);
		replace(w, need);
		establish(t, w);
	}
}
