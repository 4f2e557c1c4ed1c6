// SPDX-License-Identifier: MIT
//
// What a unit consists of, and what is known of it before a byte is emitted: decode from the guest's code until an
// unconditional transfer, a page end or a cap; which registers it names; where flags live.
#include "bt/base.h"
#include "bt/selfcheck.h"
#include "bt/verbatim.h"
#include "x86/mnemonic.h"

// Decode as the guest's processor does, and say of the flags what the host does.
int decode_guest(const struct trans *t, struct x86_insn *insn, const uint8_t *bytes, size_t n)
{
	int len = x86_decode_memo(&t->b->memo, insn, bytes, n, decoder_mode(t->v, t->code));

	if (insn->class == X86_CLASS_MOV_FROM_CR || insn->class == X86_CLASS_MOV_TO_CR)
		insn->flags_undefined = 0; // processors leave them
	else if (insn->flags_undefined)
		host_flags_correct(&t->b->host_flags, insn);
	return len;
}

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
	page = mem_code(m, gpa, PAGE_SIZE);
	if (!page)
		vcpu_nyi(t->v, "code run from a device");
	peers_claim_code(t->v, gpa);
	__builtin_memcpy(t->straddle, t->bytes, avail);
	__builtin_memcpy(t->straddle + avail, page, X86_INSN_MAX);
	t->t->gfn2 = (uint32_t)(gpa >> PAGE_SHIFT);
	t->bytes = t->straddle;
	return decode_guest(t, insn, t->straddle, X86_INSN_MAX);
}

static bool offered(struct trans *t, const struct x86_insn *insn)
{
	if (t->t->mode & MODE_REAL && insn->encoding != X86_ENC_LEGACY && insn->encoding != X86_ENC_3DNOW)
		return false;
	return insn->feature == X86_FEATURE_NONE || cpuid_has(t->v, insn->feature);
}

// Does it end within the code segment's limit?
static bool within_limit(const struct trans *t, int off, unsigned len)
{
	const struct hot_tu *h = hot_of(t->b, t->t);
	uint32_t at = (uint32_t)(t->t->pc + (uint64_t)(int64_t)off) - h->cs_base;

	return !(t->t->mode & MODE_CS) || (uint64_t)at + len - 1 <= h->cs_limit;
}

// The most common sort, of which much need not be asked: no transfer, no operand in memory.
static inline bool is_plainest(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_PLAIN && !insn->mem.present;
}

// One more instruction of the unit, at this offset from its pc. False: it cannot have it.
bool decode_next(struct trans *t, int off)
{
	struct x86_insn *insn = &t->insn[t->n];
	unsigned room = (unsigned)((int)(PAGE_SIZE - (t->t->pc & PAGE_OFFSET)) - off);
	int len = room ? decode_guest(t, insn, t->bytes + off, room) : 0;
	uint16_t named = t->named;

	if (t->n && (len == 0 || debugger_breaks_at(&t->b->sh->debugger, t->t->pc + (uint64_t)(int64_t)off)))
		return false; // at the page's end the next unit begins
	if (len == 0)
		len = decode_straddling(t, insn, room);
	if (t->b->pauses_yield && insn->mnemonic == X86_MNEM_PAUSE)
		insn->class = X86_CLASS_PAUSE;
	if (!within_limit(t, off, MAX(insn->len, 1))) {
		if (t->n)
			return false;
		insn->len = X86_INSN_MAX + 1; // #GP as of one that is too long
		len = -1;
	}
	if (len <= 0 || !offered(t, insn)) {
		insn->class = insn->len > X86_INSN_MAX ? X86_CLASS_INVALID : X86_CLASS_UD;
		insn->gpr_read = insn->gpr_written = 0;
		insn->flags_read = RFLAGS_ARITH;
		if (insn->len == 0 || insn->len > X86_INSN_MAX)
			insn->len = 1;
	}
	if (t->t->mode & MODE_ALONE && !selfcheck_can(insn)) {
		if (t->n)
			return false;
		t->t->uncheckable = true;
	}
	insn->meets_device = t->t->mode & MODE_MAPPED && insn->mem.present &&
			     device_is_met(t, t->t->pc + (uint64_t)(int64_t)off);
	if (t->t->tier == TIER_BASE && !is_plainest(insn) && !base_can(t, insn)) {
		if (t->n)
			return false;
		t->t->tier = TIER_HOT;
	}
	if (t->t->tier != TIER_BASE && uses_homes(t, insn)) // base code has a place for each register
		named |= insn->gpr_read | insn->gpr_written;
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

static void measure_insn(struct trans *t, unsigned i)
{
	code_note_bytes(t->b, t->t, page_offset(t, i), page_offset(t, i) + t->insn[i].len);
	if (uses_homes(t, &t->insn[i]))
		t->written |= t->insn[i].gpr_written;
}

// What the unit covers, and which registers it changes. Base code is in one piece, and has a place for each register.
static void measure(struct trans *t)
{
	int first = 0, end = t->off[t->n - 1] + t->insn[t->n - 1].len;

	if (t->t->tier == TIER_BASE)
		code_note_bytes(t->b, t->t, page_offset(t, 0), page_offset(t, 0) + (unsigned)end);
	for (unsigned i = 0; i < t->n && t->t->tier != TIER_BASE; i++) {
		first = MIN(first, t->off[i]);
		end = MAX(end, t->off[i] + t->insn[i].len);
		measure_insn(t, i);
	}
	t->t->before = (uint16_t)-first;
	t->t->len = (uint16_t)end;
	t->t->ninsns = (uint16_t)t->n;
}

// Is there a unit already that goes on from there, as good as this one would be?
bool is_translated(const struct trans *t, int off)
{
	const struct tu *u = tc_find(t->b, t->t->pc + (uint64_t)(int64_t)off, t->t->gpa + (uint64_t)(int64_t)off,
				     t->t->mode);

	return u && (t->t->tier == TIER_BASE || u->tier == TIER_HOT);
}

static bool ends_here(const struct trans *t, const struct x86_insn *insn)
{
	return !is_plainest(insn) && ends_unit(t, insn) && !base_goes_on(t, insn);
}

// Base code goes on up to another unit. Who makes code and throws it away has few lines with any.
static bool meets_unit(const struct trans *t, int off, uint64_t lines)
{
	unsigned at = (unsigned)((int)(t->t->pc & PAGE_OFFSET) + off);

	return at < PAGE_SIZE && lines >> (at >> CODE_LINE_SHIFT) & 1 && is_translated(t, off);
}

// The next instruction, if it is like one that has been met.
static bool take_verbatim(struct trans *t, int off)
{
	const struct verbatim *s = verbatim_find(t, off);

	if (!s)
		return false;
	t->verbatim[t->n] = *s;
	t->insn[t->n].len = s->len;
	t->insn[t->n].class = X86_CLASS_PLAIN;
	t->insn[t->n].mem.present = false;
	t->off[t->n++] = (int16_t)off;
	return true;
}

// The next instruction of a straight unit. verbatim: it may be one of those. False: the unit cannot have it.
static bool take_next(struct trans *t, int off, bool verbatim)
{
	if (t->t->tier != TIER_BASE)
		return decode_next(t, off);
	if (verbatim && take_verbatim(t, off))
		return true;
	t->verbatim[t->n].len = 0;
	if (!decode_next(t, off))
		return false;
	if (verbatim)
		verbatim_learn(t, &t->insn[t->n - 1], t->bytes + off);
	return true;
}

void decode_unit(struct trans *t)
{
	uint64_t lines = t->t->tier == TIER_BASE ? code_lines(t->b, t->t->gpa) : 0;
	bool one = t->t->mode & MODE_ONE || t->b->sh->config.stress & (STRESS_ONE | STRESS_CAREFUL);
	bool verbatim = verbatim_may_be(t);
	unsigned max = one ? 1 : TRACE_INSNS;
	int off = 0;

	if (t->t->tier == TIER_BASE || !region_grow(t))
		while (t->n < max && take_next(t, off, verbatim)) {
			if (t->n > 1)
				t->next[t->n - 2] = (uint8_t)(t->n - 1);
			off += t->insn[t->n - 1].len;
			if (ends_here(t, &t->insn[t->n - 1]) || tu_straddles(t->t) ||
			    (t->t->tier == TIER_BASE && meets_unit(t, off, lines)))
				break;
		}
	measure(t);
	if (t->t->tier == TIER_HOT)
		region_analyse(t);
}
