// SPDX-License-Identifier: MIT
//
// Counted loops: short straight ones in which one register goes by a constant step from a constant to a constant. What
// they access by a base register and the counter lies in a stretch that is known, so a window (window.c) on the base
// covers it, and can be checked before the loop, or before a loop around it.
//
// That the counter begins with its constant is a guess from what stands before the loop; the way into the loop compares
// (guard), if any other might lead there, and goes apart if it was wrong. From there on the loop itself is the proof:
// nothing leads into its middle, and nothing else changes the counter. Such a loop ends soon, so it need not poll
// either.
#include "bt/trans.h"

enum { LOOP_MAX = 40, LOOK_BACK = 48, FAR = 4096, TURNS_MAX = 256 };

static unsigned rm_of(const struct x86_insn *insn)
{
	return (insn->modrm & 7) | (insn->rex & 1) << 3;
}

static bool legacy(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_LEGACY && !insn->map && insn->class == X86_CLASS_PLAIN && insn->opsize >= 4;
}

// Arithmetic of a register and a constant: which operation of the eight, or 8 if it is none.
static unsigned constant_alu(const struct x86_insn *insn, unsigned *reg)
{
	if (!legacy(insn) || insn->mem.present)
		return 8;
	*reg = rm_of(insn);
	if (insn->opcode == 0x81 || insn->opcode == 0x83)
		return insn->modrm >> 3 & 7;
	*reg = X86_RAX;
	return (insn->opcode & ~0x38) == 5 ? insn->opcode >> 3 : 8;
}

// The step by which the instruction moves the register, or 0.
static int64_t step_of(const struct x86_insn *insn, unsigned reg)
{
	unsigned r, op = constant_alu(insn, &r);

	if (op == 0 || op == 5)
		return r != reg ? 0 : op ? -insn->imm : insn->imm;
	if (!legacy(insn))
		return 0;
	if ((insn->opcode & 0xf0) == 0x40) // outside 64-bit code
		return (insn->opcode & 7u) != reg ? 0 : insn->opcode & 8 ? -1 : 1;
	if (insn->opcode == 0xff && !insn->mem.present && rm_of(insn) == reg && (insn->modrm >> 3 & 7) < 2)
		return insn->modrm >> 3 & 7 ? -1 : 1;
	if (insn->opcode == 0x8d && insn->mem.base == reg && insn->mem.index == X86_REG_NONE &&
	    insn->addrsize == word_of(insn) && insn->gpr_written == BIT(reg))
		return insn->mem.disp;
	return 0;
}

// A constant that the instruction puts into the register.
static bool sets_constant(const struct x86_insn *insn, unsigned reg, int64_t *value)
{
	if (!legacy(insn) || insn->mem.present || insn->gpr_written != BIT(reg))
		return false;
	*value = insn->opsize == 8 ? insn->imm : (int64_t)(uint32_t)insn->imm;
	if (insn->opcode >= 0xb8 && insn->opcode <= 0xbf)
		return true;
	if (insn->opcode == 0xc7)
		return true;
	*value = 0;
	return (insn->opcode | 2) == 0x33 && insn->modrm >= 0xc0 && (insn->modrm >> 3 & 7) == (insn->modrm & 7);
}

static bool stays_within(const struct x86_insn *insn)
{
	return row_class(insn) || insn->class == X86_CLASS_JCC;
}

// What lies between: nothing that leads elsewhere in the loop, or comes back from elsewhere.
static bool is_straight(const struct trans *t, unsigned head, unsigned last)
{
	if (last - head > LOOP_MAX || t->insn[last].class != X86_CLASS_JCC || t->target[last] != head ||
	    t->label[t->label_of[head]].reach != last)
		return false;
	for (unsigned i = head; i < last; i++)
		if (t->next[i] != i + 1 || t->label_of[i + 1] != NOWHERE || t->target[i] == head ||
		    !stays_within(&t->insn[i]))
			return false;
	return true;
}

// The one instruction of the loop that changes the register, by a constant; or NOWHERE.
static unsigned update_of(const struct trans *t, unsigned head, unsigned last, unsigned reg)
{
	unsigned found = NOWHERE;

	for (unsigned i = head; i <= last; i++) {
		if (!(t->insn[i].gpr_written & BIT(reg)))
			continue;
		if (found != NOWHERE || !step_of(&t->insn[i], reg))
			return NOWHERE;
		found = i;
	}
	return found;
}

// The comparison that the branch at the loop's end goes by: with what. False: it is of another kind.
static bool find_end(const struct trans *t, struct counted *c)
{
	unsigned p = c->last, op, reg = 0;

	do {
		if (p-- == c->head)
			return false;
	} while (!flags_set(&t->insn[p]));
	op = constant_alu(&t->insn[p], &reg);
	c->wide = t->insn[p].opsize == 8;
	c->compares = op == 7;
	c->end = c->compares ? t->insn[p].imm : 0;
	if (!c->compares)
		for (reg = 0; reg < X86_GPRS && !step_of(&t->insn[p], reg);)
			reg++;
	if (reg == X86_GPRS || reg == X86_RSP)
		return false;
	c->reg = (uint8_t)reg;
	c->update = (uint16_t)update_of(t, c->head, c->last, reg);
	if (c->update == NOWHERE || c->update > p || (!c->compares && c->update != p))
		return false;
	c->step = step_of(&t->insn[c->update], reg);
	c->wide &= t->insn[c->update].opsize == 8;
	return c->step > -FAR && c->step < FAR;
}

static const struct counted *ending_at(const struct trans *t, unsigned i)
{
	for (unsigned n = 0; n < t->ncounted; n++)
		if (t->counted[n].last == i)
			return &t->counted[n];
	return NULL;
}

// Does another way than that from the instruction before it lead to the loop's head?
static bool has_other_ways(const struct trans *t, const struct counted *c)
{
	for (unsigned i = 0; i < c->head; i++)
		if (t->target[i] == c->head || (t->next[i] == c->head && i + 1 != c->head))
			return true;
	return false;
}

static bool guess_start(const struct trans *t, struct counted *c)
{
	c->sure = !has_other_ways(t, c);
	for (unsigned n = 0, i = c->head; n < LOOK_BACK && i-- > 0 && t->next[i] == i + 1; n++) {
		const struct counted *before = ending_at(t, i);

		if (before && before->reg == c->reg) {
			c->start = before->end;
			c->sure &= before->compares;
			return t->insn[i].cond == CC_NE;
		}
		if (t->insn[i].gpr_written & BIT(c->reg))
			return sets_constant(&t->insn[i], c->reg, &c->start);
		c->sure &= t->label_of[i] == NOWHERE && stays_within(&t->insn[i]);
	}
	return false;
}

// The counter's values at the head, and so everywhere.
static bool find_range(const struct trans *t, struct counted *c)
{
	unsigned cond = t->insn[c->last].cond;
	bool equals = cond == CC_NE, below = cond == CC_B || cond == CC_BE;
	int64_t end = c->end + (cond == CC_LE || cond == CC_BE), least = c->wide && !below ? -FAR : 0;

	if (!equals && !below && cond != CC_L && cond != CC_LE)
		return false;
	if (equals ? (end - c->start) % c->step != 0 : c->step < 0 || !c->compares)
		return false;
	if (MIN(c->start, end) < least || MAX(c->start, end) > FAR || end == c->start || (end > c->start) != (c->step > 0))
		return false;
	c->lo = c->step > 0 ? c->start : end - c->step;
	c->hi = c->step < 0 ? c->start : equals ? end - c->step : end - 1;
	return true;
}

void find_counted(struct trans *t)
{
	if (!is_flat(t) || t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_APART) || (is_mapped(t) && t->patched))
		return;
	for (unsigned i = 0; i < t->n && t->ncounted < COUNTED; i++) {
		const struct label *l = t->label_of[i] == NOWHERE ? NULL : &t->label[t->label_of[i]];
		struct counted c = {.head = (uint16_t)i};

		if (!l || !l->loop)
			continue;
		c.last = l->last;
		if (is_straight(t, i, c.last) && find_end(t, &c) && guess_start(t, &c) && find_range(t, &c))
			t->counted[t->ncounted++] = c;
	}
}

static const struct counted *counted_at(const struct trans *t, unsigned i)
{
	for (unsigned n = 0; n < t->ncounted; n++)
		if (t->counted[n].head <= i && i <= t->counted[n].last)
			return &t->counted[n];
	return NULL;
}

// The access of instruction i by the base register and the counter of the loop around it: all of its turns.
bool counted_touch(const struct trans *t, unsigned i, unsigned base, struct touch *out)
{
	const struct counted *c = counted_at(t, i);
	const struct x86_mem *m = &t->insn[i].mem;
	int64_t lo, hi, by;

	if (!c || base == c->reg || base == X86_RSP || m->base != base || m->index != c->reg || !plain_access(&t->insn[i]))
		return false;
	by = i > c->update ? c->step : 0;
	lo = m->disp + (c->lo + by) * m->scale;
	hi = m->disp + (c->hi + by) * m->scale;
	*out = (struct touch){(int)lo, (unsigned)(hi - lo) + m->size, m->access};
	return hi - lo <= FAR;
}

bool is_counted(const struct trans *t, unsigned base)
{
	struct touch x;

	for (unsigned i = 0; i < t->n && t->ncounted; i++)
		if (counted_touch(t, i, base, &x))
			return true;
	return false;
}

// The register that is a counter here, if any. It is below 2^12, whatever the guest does.
unsigned counted_register(const struct trans *t, unsigned i)
{
	const struct counted *c = counted_at(t, i);

	return c ? c->reg : X86_REG_NONE;
}

// A branch back that is taken so few times that nobody need poll.
bool counted_ends(const struct trans *t, unsigned from, unsigned to)
{
	const struct counted *c = ending_at(t, from);

	return c && c->head == to && (c->hi - c->lo) / (c->step < 0 ? -c->step : c->step) < TURNS_MAX;
}

// To the cold part if the register is not the constant, with the flags as they were. Uses T0.
static uint8_t *emit_compare_quietly(struct emit *e, unsigned reg, int32_t value)
{
	uint8_t *other;

	emit_mov(e, 8, HOST_T0, X86_RCX);
	emit_lea(e, 8, X86_RCX, mem_base(reg, -value));
	emit_bytes(e, (const uint8_t[]){0xe3, 8}, 2); // jrcxz over the next two
	emit_mov(e, 8, X86_RCX, HOST_T0);
	other = emit_jmp32(e);
	emit_mov(e, 8, X86_RCX, HOST_T0);
	return other;
}

// The loop at the present instruction is about to begin: does its counter have the value it should?
void counted_guard(struct trans *t)
{
	const struct counted *c = counted_at(t, t->i);
	unsigned reg;
	uint8_t *other;

	if (!c || c->head != t->i || c->sure)
		return;
	mapped_settle_stack(t, false);
	reg = t->map[c->reg];
	if (t->flags == FLAGS_HOST && !t->recipe.op && reg != X86_REG_NONE) {
		other = emit_compare_quietly(&t->hot, reg, (int32_t)c->start);
	} else {
		emit_save_flags(t);
		if (reg == X86_REG_NONE) {
			reg = HOST_T0;
			emit_load_state(&t->hot, 8, reg, VCPU_GPR + c->reg * 8u);
		}
		emit_alu_imm(&t->hot, 8, ALU_CMP, reg, (int32_t)c->start);
		other = emit_jcc32(&t->hot, CC_NE);
	}
	emit_patch32(other, t->hot.delta, emit_here(&t->cold));
	emit_apart_exit(t);
}
