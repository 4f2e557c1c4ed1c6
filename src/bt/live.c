// SPDX-License-Identifier: MIT
//
// What becomes of the arithmetic flags: at each instruction of a unit, and at the places outside that it leads to.
// Outside, only what is sure counts as alive: what lies on the unit's own page is looked at for some instructions (a
// change of these retires the unit); beyond, anybody may see them.
//
// `lost` is for recipes (flags.c): the registers that are overwritten while somebody may still want the flags.
#include "bt/trans.h"
#include "x86/mnemonic.h"

enum { LOOK_AHEAD = 24, ALL_REGISTERS = 0xffff };

static const struct fate unknown = {.visible = RFLAGS_ARITH, .lost = ALL_REGISTERS};

// May the guest see the flags before this instruction through an exception of it?
bool insn_may_fault(const struct x86_insn *insn)
{
	return insn->class != X86_CLASS_PLAIN || insn->mem.present || insn->mnemonic == X86_MNEM_DIV ||
	       insn->mnemonic == X86_MNEM_IDIV || insn->mnemonic == X86_MNEM_AAM;
}

// Does its translation overwrite the host's flags before it can raise something?
bool insn_checks(const struct trans *t, const struct x86_insn *insn)
{
	if (insn_divides(t, insn))
		return true;
	if (is_mapped(t) && mapped_keeps_flags(t, insn))
		return false;
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

// A shift by CL: with a count of 0 the flags stay as they were, so it reads them for those who look behind it.
static bool may_leave_flags(const struct x86_insn *insn)
{
	if (insn->encoding != X86_ENC_LEGACY || insn->class != X86_CLASS_PLAIN)
		return false;
	if (insn->map == 0)
		return (insn->opcode == 0xd2 || insn->opcode == 0xd3) && insn->modrm >> 3 & 4;
	return insn->map == 1 && (insn->opcode == 0xa5 || insn->opcode == 0xad);
}

uint16_t flags_set(const struct x86_insn *insn)
{
	return (insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH;
}

// -- outside ----------------------------------------------------------------------------------------------------------

struct look {
	struct fate fate;
	uint16_t open; // flags of which nothing is known yet
	uint16_t held; // of these, those that an instruction which sets the others leaves in the host's
};

// Take an instruction into account. False: what follows is not known.
static bool look_at(struct look *l, const struct x86_insn *insn)
{
	bool leaves = may_leave_flags(insn);
	uint16_t set = leaves ? 0 : flags_set(insn), read = leaves ? 0 : insn->flags_read;

	l->fate.live |= read & l->open;
	if (insn_may_fault(insn)) {
		l->fate.visible |= l->open;
		l->fate.live |= l->held & l->open;
	}
	l->open &= (uint16_t)~(read | set);
	if (set || leaves)
		l->held |= l->open;
	if (l->open)
		l->fate.lost |= insn->gpr_written;
	switch (insn->class) {
	case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
	case X86_CLASS_AVX512: case X86_CLASS_PUSH: case X86_CLASS_POP: case X86_CLASS_LEAVE:
		return true;
	case X86_CLASS_JMP: case X86_CLASS_CALL:
		return insn->opsize != 2;
	default:
		return false;
	}
}

static struct fate look_ahead(const struct trans *t, uint64_t pc)
{
	struct look l = {.open = RFLAGS_ARITH};
	const uint8_t *page = t->bytes - (t->t->pc & PAGE_OFFSET);
	unsigned off = pc & PAGE_OFFSET;

	for (unsigned i = 0; i < LOOK_AHEAD && l.open && !l.fate.live; i++) {
		struct x86_insn insn;

		if (off >= PAGE_SIZE || decode_guest(t, &insn, page + off, PAGE_SIZE - off) <= 0)
			break;
		code_note_bytes(t->b, t->t, off, off + insn.len);
		if (!look_at(&l, &insn))
			break;
		off += insn.len;
		if (insn.class == X86_CLASS_JMP || insn.class == X86_CLASS_CALL)
			off += (uint32_t)insn.imm; // leaving the page ends the search
	}
	if (l.open)
		l.fate.lost = ALL_REGISTERS;
	l.fate.live |= l.held & l.open;
	l.fate.visible |= l.open | l.fate.live;
	return l.fate;
}

struct fate fate_outside(const struct trans *t, uint64_t pc)
{
	struct known_fate *known;

	if (!same_page(t, pc) || t->t->mode & (MODE_ONE | MODE_ALONE) || t->b->sh->config.stress & STRESS_ONE)
		return unknown;
	if (!t->known)
		return look_ahead(t, pc);
	known = &t->known[pc & (KNOWN_FATES - 1)];
	if (known->pc != pc || !pc)
		*known = (struct known_fate){pc, look_ahead(t, pc)};
	return known->fate;
}

// -- inside -----------------------------------------------------------------------------------------------------------

static bool leads_to_constant(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_JCC ||
	       insn->class == X86_CLASS_LOOP;
}

static struct fate either(struct fate f, struct fate g)
{
	return (struct fate){f.live | g.live, f.visible | g.visible, f.lost | g.lost, f.shown || g.shown};
}

// What becomes of flags behind instruction i where it leads out of the unit.
static struct fate fate_of_exits(const struct trans *t, unsigned i)
{
	const struct x86_insn *insn = &t->insn[i];
	uint64_t next = insn_pc(t, i) + insn->len;
	struct fate f = {0};

	if (!ends_unit(t, insn) && t->next[i] == NOWHERE)
		f = fate_outside(t, next);
	else if (ends_unit(t, insn) && !leads_to_constant(insn))
		f = unknown;
	if (!leads_to_constant(insn) || t->target[i] != NOWHERE || (insn->class == X86_CLASS_JMP && t->next[i] != NOWHERE))
		return f;
	return either(f, fate_outside(t, branch_target(t, i)));
}

static struct fate fate_behind(const struct trans *t, unsigned i, struct fate f)
{
	if (t->next[i] != NOWHERE && t->insn[i].class != X86_CLASS_CALL && t->insn[i].class != X86_CLASS_CALL_IND)
		f = either(f, t->in[t->next[i]]);
	return t->target[i] != NOWHERE ? either(f, t->in[t->target[i]]) : f;
}

// An instruction that writes only some flags (INC, rotates) leaves them in the host with the rest as it found them:
// dead or not, the rest must be right if a fault can show it. C finds flags wherever they are.
static struct fate fate_before(const struct trans *t, unsigned i, struct fate f)
{
	const struct x86_insn *insn = &t->insn[i];
	bool inside = insn->class == X86_CLASS_JMP && t->next[i] != NOWHERE; // it cannot fault
	bool leaves = may_leave_flags(insn);
	uint16_t set = leaves ? 0 : flags_set(insn), read = leaves ? 0 : insn->flags_read;
	uint16_t rest = f.visible & (uint16_t)~set;

	if (!uses_homes(t, insn) || insn->class == X86_CLASS_UD || insn->class == X86_CLASS_INVALID)
		return (struct fate){.visible = RFLAGS_ARITH, .shown = true};
	f.live = (uint16_t)((f.live & ~set) | read) & RFLAGS_ARITH;
	f.live |= set || leaves ? rest : 0;
	f.lost = set == RFLAGS_ARITH ? 0 : f.lost | (rest ? insn->gpr_written : 0);
	f.shown = insn_checks(t, insn) || (f.shown && set != RFLAGS_ARITH);
	f.visible = insn_may_fault(insn) && !inside ? RFLAGS_ARITH : rest | f.live;
	return f;
}

static bool differ(struct fate f, struct fate g)
{
	return f.live != g.live || f.visible != g.visible || f.lost != g.lost || f.shown != g.shown;
}

// Backwards until nothing changes: once, but where there are loops.
void find_live_flags(struct trans *t)
{
	struct fate exits[TU_INSNS_MAX];
	bool again = true;

	for (unsigned i = 0; i < t->n; i++) {
		exits[i] = fate_of_exits(t, i);
		t->in[i] = (struct fate){0};
	}
	while (again) {
		again = false;
		for (unsigned i = t->n; i-- > 0;) {
			struct fate f;

			t->out[i] = fate_behind(t, i, exits[i]);
			f = fate_before(t, i, t->out[i]);
			again |= t->nlabels && differ(f, t->in[i]);
			t->in[i] = f;
		}
	}
}
