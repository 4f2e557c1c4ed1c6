// SPDX-License-Identifier: MIT
//
// Where guest registers are in a unit. Twelve of the host's are for them and for the addends of windows; those named
// in loops, and most often, come first. Guest r9 to r11 take the places of others (prologue, epilogue: flow.c). What
// has no place stays in vcpu.gpr[] through the whole unit, and the map says so: an instruction has it as its memory
// operand, or loads it into T0 or T1, or, where these are in use, into the place of a register that it does not name,
// which is at home in vcpu.gpr[] meanwhile (`homed` in struct site and struct insn_map), and stores what it has
// written.
#include "bt/trans.h"

// The lower four have parts and uses that are theirs alone (AH, CL, MUL); RSP is in r9.
#define FIXED (BIT(X86_RAX) | BIT(X86_RCX) | BIT(X86_RDX) | BIT(X86_RBX) | BIT(X86_RSP))

enum {
	WINDOW_GAIN = 4,   // what an access saves, in units of what a register in a place saves
	ADDRESS_WORTH = 3, // beyond that, where the register is part of an address: its check may be shared
};

static uint16_t names(const struct trans *t, const struct x86_insn *insn)
{
	return uses_homes(t, insn) ? insn->gpr_read | insn->gpr_written : 0;
}

static unsigned count(uint16_t set)
{
	unsigned n = 0;

	for (; set; set &= set - 1)
		n++;
	return n;
}

// What the emitters of other instructions than those of IDENT and the stack's name is where it belongs.
static uint16_t fixed(const struct trans *t)
{
	uint16_t set = FIXED;

	for (unsigned i = 0; i < t->n; i++)
		if (t->insn[i].class == X86_CLASS_STRING || sys_inline(t, &t->insn[i]))
			set |= names(t, &t->insn[i]);
	return set;
}

static void weigh(const struct trans *t, unsigned *worth)
{
	for (unsigned r = 0; r < X86_GPRS; r++)
		worth[r] = 0;
	for (unsigned i = 0; i < t->n; i++) {
		uint16_t named = names(t, &t->insn[i]);

		for (unsigned r = 0; r < X86_GPRS; r++)
			if (named & BIT(r))
				worth[r] += weight_of(t, i) * (t->insn[i].gpr_written & BIT(r) ? 2 : 1);
	}
}

static unsigned least(uint16_t set, const unsigned *worth)
{
	unsigned best = X86_REG_NONE;

	for (unsigned r = 0; r < X86_GPRS; r++)
		if (set & BIT(r) && (best == X86_REG_NONE || worth[r] < worth[best]))
			best = r;
	return best;
}

static unsigned most(const unsigned *worth)
{
	unsigned best = 0;

	for (unsigned r = 1; r < X86_GPRS; r++)
		if (worth[r] > worth[best])
			best = r;
	return best;
}

// How often the unit takes the homes of others: at its entry, and wherever a call comes back.
static unsigned passes(const struct trans *t)
{
	unsigned n = 1;

	for (unsigned i = 0; i < t->n; i++)
		if ((t->insn[i].class == X86_CLASS_CALL || t->insn[i].class == X86_CLASS_CALL_IND) && t->next[i] != NOWHERE)
			n += weight_of(t, i);
	return n;
}

static bool forms_address(const struct x86_insn *insn, unsigned r)
{
	return insn->mem.present && (insn->mem.base == r || insn->mem.index == r);
}

// A place for r9 to r11 is paid at each pass: its owner is put away and taken back. What is seldom used stays in
// memory.
static uint16_t not_worth_a_place(const struct trans *t, uint16_t placed, const unsigned *worth)
{
	uint16_t set = 0;

	if (t->t->tier == TIER_BASE || t->shared || t->t->mode & (MODE_ONE | MODE_CAREFUL))
		return 0;
	for (unsigned r = HOMELESS_FIRST; r <= HOMELESS_LAST; r++) {
		unsigned used = worth[r], price = passes(t) * (t->written & BIT(r) ? 4 : 3);

		for (unsigned i = 0; i < t->n && used < price; i++)
			used += forms_address(&t->insn[i], r) ? ADDRESS_WORTH * weight_of(t, i) : 0;
		set |= placed & BIT(r) && used < price ? BIT(r) : 0;
	}
	return set;
}

// Which registers get windows, and which of those named have a place. Both must fit.
static uint16_t choose(struct trans *t, uint16_t *windows)
{
	unsigned worth[X86_GPRS], window_worth[X86_GPRS];
	uint16_t placed = t->named & ~BIT(X86_RSP), stay = fixed(t);

	*windows = 0;
	weigh(t, worth);
	placed &= (uint16_t)~(not_worth_a_place(t, placed, worth) & ~stay);
	while (count(placed) > TU_PLACES)
		placed &= (uint16_t)~BIT(least(placed & ~stay, worth));
	if (!window_wanted(t, window_worth))
		return placed;
	while (count(*windows) < WINDOWS) {
		unsigned base = most(window_worth), gain = window_worth[base] * WINDOW_GAIN, loser;

		window_worth[base] = 0;
		if (!gain)
			break;
		if (base != X86_RSP && !(placed & BIT(base)))
			continue;
		if (count(placed) + count(*windows) == TU_PLACES) {
			loser = least(placed & ~(stay | *windows | BIT(base)), worth);
			if (loser == X86_REG_NONE || worth[loser] * 3 > gain)
				continue;
			placed &= (uint16_t)~BIT(loser);
		}
		*windows |= BIT(base);
	}
	return placed;
}

static unsigned free_place(uint16_t *taken)
{
	for (unsigned r = X86_GPRS; r-- > 0;)
		if (!((*taken | HOMELESS) & BIT(r))) {
			*taken |= BIT(r);
			return r;
		}
	NOT_REACHED();
}

void place_registers(struct trans *t)
{
	uint16_t windows, placed = choose(t, &windows);
	uint16_t taken = placed | BIT(X86_RSP);

	for (unsigned r = 0; r < X86_GPRS; r++) {
		t->map[r] = (uint8_t)home_of(r);
		t->victim_of[r] = X86_REG_NONE;
	}
	for (unsigned r = HOMELESS_FIRST; r <= HOMELESS_LAST; r++)
		if (placed & BIT(r)) {
			unsigned host = free_place(&taken);

			t->victim_of[r] = t->map[r] = (uint8_t)host;
			t->map[host] = X86_REG_NONE;
		}
	for (unsigned base = 0; base < X86_GPRS; base++)
		if (windows & BIT(base))
			window_add(t, base, free_place(&taken));
	for (unsigned r = 0; r < X86_GPRS; r++)
		if (t->named & BIT(r) && t->map[r] == X86_REG_NONE)
			t->in_memory |= BIT(r);
}

// -- one instruction --------------------------------------------------------------------------------------------------

// Only to form the operand's address: emit_ea sees to it.
static bool address_only(const struct x86_insn *insn, unsigned r)
{
	return insn->mem.present && !insn->mem.vsib && (insn->mem.base == r || insn->mem.index == r) &&
	       !(insn->gpr_written & BIT(r)) && !(insn->fields & X86_FIELD_VVVV_GPR) &&
	       !(insn->fields & X86_FIELD_REG_GPR && (insn->modrm >> 3 & 7) == (r & 7));
}

// How many T0 and T1 the instruction's emitter can do without.
static unsigned temporaries(const struct trans *t, const struct x86_insn *insn)
{
	void (*emit)(struct trans *, const struct x86_insn *) = treat(t, insn)->emit;

	if ((emit == emit_push || emit == emit_pop) && !insn->mem.present && !t->careful)
		return 1;
	if ((emit != ident && emit != ident_sse) || insn->mem.bitstring || insn->class == X86_CLASS_XSAVE || t->careful)
		return 0;
	return insn->mem.present ? 1 : 2;
}

static void borrow(struct trans *t, unsigned r, uint16_t named)
{
	for (unsigned lender = X86_GPRS; lender-- > 0;) {
		unsigned host = t->map[lender];

		if (lender == X86_RSP || host == X86_REG_NONE || BIT(lender) & named)
			continue;
		emit_store_state(&t->hot, 8, host, VCPU_GPR + lender * 8);
		emit_load_state(&t->hot, 8, host, VCPU_GPR + r * 8);
		t->map[r] = (uint8_t)host;
		t->map[lender] = X86_REG_NONE;
		t->borrowed |= BIT(lender);
		t->lender[r] = (uint8_t)lender;
		return;
	}
	NOT_REACHED();
}

void spill_before(struct trans *t, const struct x86_insn *insn)
{
	uint16_t named = names(t, insn);

	t->lost = named & t->in_memory;
	if (!t->lost)
		return;
	if (insn->class == X86_CLASS_JMP_IND || insn->class == X86_CLASS_CALL_IND || treat(t, insn)->emit == sys_callout) {
		t->lost = 0; // see emit_target; and C has it where it is
		return;
	}
	for (unsigned r = 0; r < X86_GPRS; r++)
		if (t->lost & BIT(r) && address_only(insn, r))
			t->lost &= (uint16_t)~BIT(r);
	for (unsigned r = 0; r < X86_GPRS && count(t->lost) > temporaries(t, insn); r++)
		if (t->lost & BIT(r)) {
			borrow(t, r, named);
			t->lost &= (uint16_t)~BIT(r);
		}
}

// T1 is needed: the operand without it.
struct emit_mem spill_operand(struct trans *t, struct emit_mem m)
{
	if (!t->lost || (m.base != HOST_T1 && m.index != HOST_T1))
		return m;
	emit_lea(&t->hot, 8, HOST_T0, m);
	return mem_base(HOST_T0, 0);
}

void spill_take(struct trans *t, const struct x86_insn *insn, unsigned nth)
{
	for (unsigned r = 0; r < X86_GPRS; r++) {
		unsigned host = nth ? HOST_T1 : HOST_T0;

		if (!(t->lost & BIT(r)))
			continue;
		nth++;
		t->map[r] = (uint8_t)host;
		if (insn->gpr_read & BIT(r))
			emit_load_state(&t->hot, 8, host, VCPU_GPR + r * 8);
	}
}

// An operation of two registers, of which the one in memory is read only: it is the operand. What to emit: the opcode
// and the other register. 0: it is no such instruction.
static unsigned from_memory(const struct trans *t, const struct x86_insn *insn, unsigned *other)
{
	unsigned reg = (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3, rm = (insn->modrm & 7) | (insn->rex & 1) << 3;
	bool in_rm = t->lost == BIT(rm), two = insn->map == 1 && (insn->opcode == 0xaf || insn->opcode >> 4 == 4);
	bool alu = !insn->map && insn->opcode < 0x40 && (insn->opcode & 5) == 1;
	bool move = !insn->map && (insn->opcode | 2) == 0x8b, test = !insn->map && insn->opcode == 0x85;

	if (insn->class != X86_CLASS_PLAIN || insn->encoding != X86_ENC_LEGACY || insn->map > 1 || insn->mem.present ||
	    insn->opsize < 4 || insn->gpr_written & t->lost || reg == rm || !(two || alu || move || test) ||
	    (!in_rm && t->lost != BIT(reg)))
		return 0;
	*other = in_rm ? reg : rm;
	if (two)
		return in_rm ? 0x0f00u | insn->opcode : 0;
	return in_rm || test ? insn->opcode : insn->opcode ^ 2u; // the form with the operands the other way round
}

bool spill_fold(struct trans *t, const struct x86_insn *insn)
{
	unsigned other, opcode = t->lost && !t->careful ? from_memory(t, insn, &other) : 0, r = 0;

	if (!opcode)
		return false;
	while (t->lost != BIT(r))
		r++;
	emit_op_state(&t->hot, insn->opsize, opcode, host_of(t, other), VCPU_GPR + r * 8, 0);
	t->lost = 0;
	return true;
}

void spill_put(struct trans *t, const struct x86_insn *insn)
{
	for (unsigned r = 0; r < X86_GPRS; r++) {
		if (!(t->lost & BIT(r)))
			continue;
		if (insn->gpr_written & BIT(r))
			emit_store_state(&t->hot, 8, t->map[r], VCPU_GPR + r * 8);
		t->map[r] = X86_REG_NONE;
	}
	t->lost = 0;
}

void spill_return(const struct trans *t, struct emit *e)
{
	for (unsigned r = 0; r < X86_GPRS; r++)
		if (t->in_memory & BIT(r) && t->map[r] != X86_REG_NONE && t->borrowed & BIT(t->lender[r]))
			emit_load_state(e, 8, t->map[r], VCPU_GPR + t->lender[r] * 8);
}

void spill_after(struct trans *t, const struct x86_insn *insn)
{
	for (unsigned r = 0; r < X86_GPRS && t->borrowed; r++) {
		unsigned host = t->map[r], lender = t->lender[r];

		if (!(t->in_memory & BIT(r)) || host == X86_REG_NONE || !(t->borrowed & BIT(lender)))
			continue;
		if (!t->ended && insn->gpr_written & BIT(r))
			emit_store_state(&t->hot, 8, host, VCPU_GPR + r * 8);
		if (!t->ended)
			emit_load_state(&t->hot, 8, host, VCPU_GPR + lender * 8);
		t->map[r] = X86_REG_NONE;
		t->map[lender] = (uint8_t)host;
		t->borrowed &= (uint16_t)~BIT(lender);
	}
	t->lost = 0;
}
