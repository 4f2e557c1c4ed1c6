// SPDX-License-Identifier: MIT
//
// What a unit consists of, and what is known of it before a byte is emitted: decode from the guest's code until an
// unconditional transfer, a page end or a cap; which registers it names and where these are; where flags live.
#include "bt/selfcheck.h"
#include "bt/trans.h"
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

static bool names_fit(uint16_t named)
{
	unsigned n = 0;

	for (unsigned bits = named & ~BIT(X86_RSP); bits; bits &= bits - 1)
		n++;
	return n <= TU_NAMES_MAX;
}

void decode_unit(struct trans *t)
{
	bool one = t->t->mode & MODE_ONE || t->b->sh->config.stress & (STRESS_ONE | STRESS_CAREFUL);
	unsigned max = one ? 1 : TU_INSNS_MAX, off = 0;
	unsigned room = PAGE_SIZE - (t->t->pc & PAGE_OFFSET);

	while (t->n < max) {
		struct x86_insn *insn = &t->insn[t->n];
		int len = off < room ? x86_decode(insn, t->bytes + off, MIN(room - off, X86_INSN_MAX), t->code) : 0;
		uint16_t named = t->named;

		if (t->n && debugger_breaks_at(&t->b->sh->debugger, t->t->pc + off))
			break;
		if (len == 0 && t->n)
			break; // the page ends: the next unit begins here
		if (len == 0)
			len = decode_straddling(t, insn, room);
		if (len <= 0 || !offered(t, insn)) {
			insn->class = insn->len > X86_INSN_MAX ? X86_CLASS_INVALID : X86_CLASS_UD;
			insn->gpr_read = insn->gpr_written = 0;
			insn->flags_read = RFLAGS_ARITH;
			if (insn->len == 0 || insn->len > X86_INSN_MAX)
				insn->len = 1;
		}
		if (t->t->mode & MODE_ALONE && !selfcheck_can(insn)) {
			if (t->n)
				break;
			t->t->uncheckable = true;
		}
		if (uses_homes(t, insn))
			named |= insn->gpr_read | insn->gpr_written;
		if (!names_fit(named))
			break;
		t->named = named;
		if (uses_homes(t, insn))
			t->written |= insn->gpr_written;
		t->off[t->n++] = (uint16_t)off;
		off += insn->len;
		if (ends_unit(t, insn) || t->t->gpa2 != ~UINT64_C(0))
			break;
	}
	t->off[t->n] = (uint16_t)off;
	t->t->len = (uint16_t)off;
	t->t->ninsns = (uint8_t)t->n;
}

// -- registers and flags ------------------------------------------------------------------------------------------

void place_registers(struct trans *t)
{
	uint16_t taken = t->named | BIT(X86_RSP);

	for (unsigned r = 0; r < X86_GPRS; r++) {
		t->t->map[r] = r < X86_R13 ? (uint8_t)r : X86_REG_NONE;
		t->victim_of[r] = X86_REG_NONE;
	}
	t->t->map[X86_RSP] = HOST_GUEST_RSP;
	for (unsigned r = X86_R13; r <= X86_R15; r++) {
		int victim = X86_R12;

		if (!(t->named & BIT(r)))
			continue;
		while (taken & BIT(victim))
			victim--;
		ASSERT(victim >= 0);
		taken |= BIT(victim);
		t->victim_of[r] = t->t->map[r] = (uint8_t)victim;
		t->t->map[victim] = X86_REG_NONE;
	}
	window_plan(t, taken);
}

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

static bool leads_to_constant(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_JCC ||
	       insn->class == X86_CLASS_LOOP;
}

// An instruction that writes only some flags (INC, rotates) leaves them in the host with the rest as it found them:
// dead or not, the rest must be right if a fault can show it.
void find_live_flags(struct trans *t)
{
	struct x86_insn *last = &t->insn[t->n - 1];
	uint16_t live = RFLAGS_ARITH, visible = RFLAGS_ARITH;

	if (!ends_unit(t, last)) {
		live = flow_live_at(t, insn_pc(t, t->n));
		visible = flow_shown_at(t, insn_pc(t, t->n));
	}
	t->live_in[t->n] = live;
	for (unsigned i = t->n; i-- > 0;) {
		const struct x86_insn *insn = &t->insn[i];
		uint16_t kills = (insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH;

		if (insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL)
			live = visible = 0;
		if (leads_to_constant(insn)) {
			live |= flow_live_at(t, insn_pc(t, i + 1) + insn->imm);
			visible |= flow_shown_at(t, insn_pc(t, i + 1) + insn->imm);
		}
		live = (uint16_t)((live & ~kills) | insn->flags_read) & RFLAGS_ARITH;
		if (kills && kills != RFLAGS_ARITH)
			live |= visible & ~kills;
		if (!uses_homes(t, insn) || insn->class == X86_CLASS_UD || insn->class == X86_CLASS_INVALID)
			live = RFLAGS_ARITH;
		visible = insn_may_fault(insn) ? RFLAGS_ARITH : (uint16_t)((visible & ~kills) | live);
		t->live_in[i] = live;
	}
	t->t->flags_in = live != 0;
	t->shown_in = !live && visible;
}
