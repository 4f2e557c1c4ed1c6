// SPDX-License-Identifier: MIT
//
// What a unit consists of, and what is known of it before a byte is emitted: decode from the guest's code until an
// unconditional transfer, a page end or a cap; which registers it names; where flags live.
#include "bt/base.h"
#include "bt/selfcheck.h"

#include "x86/mnemonic.h"

// The bytes of an instruction that straddles the page end; the second page's fetch may fault.
static int decode_straddling(struct trans *t, struct x86_insn *insn, unsigned avail)
{
	uint64_t next = (t->t->pc | PAGE_OFFSET) + 1;
	const struct mem *m = &t->b->sh->config.mem;
	const uint8_t *page;
	bool global;
	gpa_t gpa;

	if (!code_gpa(t->v, next, &gpa, &global))
		return -1;
	page = mem_host(m, gpa, PAGE_SIZE);
	if (!page)
		vcpu_nyi(t->v, "code outside RAM");
	__builtin_memcpy(t->straddle, t->bytes, avail);
	__builtin_memcpy(t->straddle + avail, page, X86_INSN_MAX);
	t->t->gpa2 = gpa;
	t->bytes = t->straddle;
	return x86_decode(insn, t->straddle, X86_INSN_MAX, t->code);
}

static bool offered(struct trans *t, const struct x86_insn *insn)
{
	return insn->feature == X86_FEATURE_NONE || cpuid_has(t->v, insn->feature);
}

// One more instruction of the unit, at this offset from its pc. False: it cannot have it.
bool decode_next(struct trans *t, int off)
{
	struct x86_insn *insn = &t->insn[t->n];
	unsigned room = (unsigned)((int)(PAGE_SIZE - (t->t->pc & PAGE_OFFSET)) - off);
	int len = room ? x86_decode(insn, t->bytes + off, MIN(room, X86_INSN_MAX), t->code) : 0;
	uint16_t named = t->named;

	if (t->n && (len == 0 || debugger_breaks_at(&t->b->sh->debugger, t->t->pc + (uint64_t)(int64_t)off)))
		return false; // at the page's end the next unit begins
	if (len == 0)
		len = decode_straddling(t, insn, room);
	if (len <= 0 || !offered(t, insn)) {
		insn->class = insn->len > X86_INSN_MAX ? X86_CLASS_INVALID : X86_CLASS_UD;
		insn->gpr_read = insn->gpr_written = 0;
		insn->flags_read = RFLAGS_ARITH;
		if (insn->len == 0 || insn->len > X86_INSN_MAX)
			insn->len = 1;
	}
	if (insn->class == X86_CLASS_MOV_FROM_CR || insn->class == X86_CLASS_MOV_TO_CR)
		insn->flags_undefined = 0; // processors leave them
	if (t->t->mode & MODE_ALONE && !selfcheck_can(insn)) {
		if (t->n)
			return false;
		t->t->uncheckable = true;
	}
	if (uses_homes(t, insn))
		named |= insn->gpr_read | insn->gpr_written;
	if (t->t->tier == TIER_BASE && !base_can(t, insn)) {
		if (t->n)
			return false;
		t->t->tier = TIER_HOT;
	}
	t->named = named;
	t->off[t->n] = (int16_t)off;
	t->next[t->n] = t->target[t->n] = NOWHERE;
	t->n++;
	return true;
}

static unsigned page_offset(const struct trans *t, unsigned i)
{
	return (unsigned)((int)(t->t->pc & PAGE_OFFSET) + t->off[i]);
}

// What the unit covers, and which registers it changes.
static void measure(struct trans *t)
{
	int first = 0, end = 0;

	for (unsigned i = 0; i < t->n; i++) {
		first = MIN(first, t->off[i]);
		end = MAX(end, t->off[i] + t->insn[i].len);
		code_note_bytes(t->t, page_offset(t, i), page_offset(t, i) + t->insn[i].len);
		if (uses_homes(t, &t->insn[i]))
			t->written |= t->insn[i].gpr_written;
	}
	t->t->before = (uint16_t)-first;
	t->t->len = (uint16_t)end;
	t->t->ninsns = (uint8_t)t->n;
}

void decode_unit(struct trans *t)
{
	bool one = t->t->mode & MODE_ONE || t->b->sh->config.stress & (STRESS_ONE | STRESS_CAREFUL);
	unsigned max = one ? 1 : TRACE_INSNS;
	int off = 0;

	if (t->t->tier == TIER_BASE || !region_grow(t))
		while (t->n < max && decode_next(t, off)) {
			if (t->n > 1)
				t->next[t->n - 2] = (uint8_t)(t->n - 1);
			off += t->insn[t->n - 1].len;
			if (ends_unit(t, &t->insn[t->n - 1]) || t->t->gpa2 != ~UINT64_C(0))
				break;
		}
	measure(t);
	if (t->t->tier == TIER_HOT)
		region_analyse(t);
}

// -- flags ------------------------------------------------------------------------------------------

// May the guest see the flags before this instruction through an exception of it?
bool insn_may_fault(const struct x86_insn *insn)
{
	return insn->class != X86_CLASS_PLAIN || insn->mem.present || insn->mnemonic == X86_MNEM_DIV ||
	       insn->mnemonic == X86_MNEM_IDIV || insn->mnemonic == X86_MNEM_AAM;
}

// Which arithmetic flags may be read before they are written, from pc on: looks a few instructions into the target, if
// it lies on the unit's own page (whose change retires this unit); all of them otherwise. And which a fault may show.
static uint16_t look_ahead(struct trans *t, uint64_t pc, uint16_t *shown)
{
	uint16_t live = 0, undecided = RFLAGS_ARITH;
	const uint8_t *page = t->bytes - (t->t->pc & PAGE_OFFSET);
	unsigned off = pc & PAGE_OFFSET;

	*shown = 0;
	if (!same_page(t, pc) || t->t->mode & (MODE_ONE | MODE_ALONE) || t->b->sh->config.stress & STRESS_ONE)
		return RFLAGS_ARITH;
	for (unsigned i = 0; i < 10 && undecided; i++) {
		struct x86_insn insn;

		if (off >= PAGE_SIZE || x86_decode(&insn, page + off, PAGE_SIZE - off, t->code) <= 0)
			break;
		code_note_bytes(t->t, off, off + insn.len);
		live |= insn.flags_read & undecided;
		*shown |= insn_may_fault(&insn) ? undecided : 0;
		undecided &= (uint16_t) ~(insn.flags_read | insn.flags_written | insn.flags_undefined);
		switch (insn.class) {
		case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
		case X86_CLASS_AVX512: case X86_CLASS_PUSH: case X86_CLASS_POP: case X86_CLASS_LEAVE:
			break;
		case X86_CLASS_JMP:
			off += insn.len + (uint32_t)insn.imm; // leaving the page ends the search
			continue;
		default:
			return live | undecided;
		}
		off += insn.len;
	}
	return live | undecided;
}

uint16_t flow_live_at(struct trans *t, uint64_t pc)
{
	uint16_t shown;

	return look_ahead(t, pc, &shown);
}

uint16_t flow_shown_at(struct trans *t, uint64_t pc)
{
	uint16_t shown, live = look_ahead(t, pc, &shown);

	return live | shown;
}

// Does its translation overwrite the host's flags before it can raise something?
bool insn_checks(const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
	case X86_CLASS_AVX512: case X86_CLASS_RDRAND: case X86_CLASS_FWAIT:
		return insn->mem.present;
	case X86_CLASS_JMP: case X86_CLASS_JCC: case X86_CLASS_LOOP:
		return false;
	default:
		return true;
	}
}

static bool leads_to_constant(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_JCC ||
	       insn->class == X86_CLASS_LOOP;
}

struct fate { // of the arithmetic flags at some place
	uint16_t live, visible;
	bool shown; // a check of the unit takes the host's flags
};

static struct fate either(struct fate f, struct fate g)
{
	return (struct fate){f.live | g.live, f.visible | g.visible, f.shown || g.shown};
}

static struct fate fate_at(const struct trans *t, unsigned i)
{
	return (struct fate){t->live_in[i], t->visible_in[i], t->shown_at[i]};
}

static struct fate fate_outside(struct trans *t, uint64_t pc)
{
	return (struct fate){flow_live_at(t, pc), flow_shown_at(t, pc), false};
}

// What becomes of flags behind instruction i where it leads out of the unit.
static struct fate fate_of_exits(struct trans *t, unsigned i)
{
	const struct x86_insn *insn = &t->insn[i];
	uint64_t next = insn_pc(t, i) + insn->len;
	struct fate f = {0, 0, false}, g;

	if (!ends_unit(t, insn) && t->next[i] == NOWHERE)
		f = fate_outside(t, next);
	else if (ends_unit(t, insn) && !leads_to_constant(insn))
		f = (struct fate){RFLAGS_ARITH, RFLAGS_ARITH, false};
	if (!leads_to_constant(insn) || t->target[i] != NOWHERE || (insn->class == X86_CLASS_JMP && t->next[i] != NOWHERE))
		return f;
	g = fate_outside(t, next + insn->imm);
	return either(f, g);
}

static struct fate fate_behind(const struct trans *t, unsigned i, struct fate f)
{
	if (t->next[i] != NOWHERE && t->insn[i].class != X86_CLASS_CALL && t->insn[i].class != X86_CLASS_CALL_IND)
		f = either(f, fate_at(t, t->next[i]));
	return t->target[i] != NOWHERE ? either(f, fate_at(t, t->target[i])) : f;
}

// An instruction that writes only some flags (INC, rotates) leaves them in the host with the rest as it found them:
// dead or not, the rest must be right if a fault can show it.
static struct fate fate_before(const struct trans *t, const struct x86_insn *insn, struct fate f)
{
	uint16_t kills = (insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH;

	f.live = (uint16_t)((f.live & ~kills) | insn->flags_read) & RFLAGS_ARITH;
	if (kills && kills != RFLAGS_ARITH)
		f.live |= f.visible & ~kills;
	if (!uses_homes(t, insn) || insn->class == X86_CLASS_UD || insn->class == X86_CLASS_INVALID)
		f.live = RFLAGS_ARITH;
	f.shown = insn_checks(insn) || (f.shown && kills != RFLAGS_ARITH);
	f.visible = insn_may_fault(insn) ? RFLAGS_ARITH : (uint16_t)((f.visible & ~kills) | f.live);
	return f;
}

// Backwards until nothing changes: once, but where there are loops.
void find_live_flags(struct trans *t)
{
	struct fate exits[TU_INSNS_MAX];
	bool again = true;

	for (unsigned i = 0; i < t->n; i++) {
		exits[i] = fate_of_exits(t, i);
		t->live_in[i] = t->visible_in[i] = 0;
		t->shown_at[i] = false;
	}
	while (again) {
		again = false;
		for (unsigned i = t->n; i-- > 0;) {
			struct fate out = fate_behind(t, i, exits[i]), f = fate_before(t, &t->insn[i], out);

			again |= t->nlabels && (f.live != t->live_in[i] || f.visible != t->visible_in[i] ||
						f.shown != t->shown_at[i]);
			t->visible_out[i] = out.visible;
			t->shown_out[i] = out.shown;
			t->live_in[i] = f.live;
			t->shown_at[i] = f.shown;
			t->visible_in[i] = f.visible;
		}
	}
	t->t->flags_in = t->label_of[0] == NOWHERE ? t->live_in[0] != 0 : t->visible_in[0] != 0;
	t->shown_in = !t->t->flags_in && t->visible_in[0];
}
