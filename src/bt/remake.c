// SPDX-License-Identifier: MIT
//
// A recipe (recipe.h) as code: the operation that has produced the guest's flags, carried out anew for who reads them
// after all; and the numbers by which recipes are noted between units. When that happens is flags.c's.
#include "bt/trans.h"

uint32_t note_slot(unsigned which)
{
	return SLOT_NOTES + (which == RECIPE_NOTE_B ? 8 : 0);
}

// Where an operand is, if not in a register: noted, or a guest register in memory.
bool in_state(const struct trans *t, unsigned operand, uint32_t *off)
{
	if (operand < X86_GPRS && t->map[operand] != X86_REG_NONE)
		return false;
	*off = operand < X86_GPRS ? VCPU_GPR + operand * 8 : note_slot(operand);
	return operand != RECIPE_IMM;
}

// SPL to DIL need a REX prefix.
static void emit_byte_rex(struct emit *e, unsigned size, unsigned reg, unsigned rm)
{
	if (size == 1 && reg < 8 && rm < 8 && (reg >= 4 || rm >= 4))
		emit_u8(e, 0x40);
}

static unsigned alu_opcode(unsigned size, unsigned op) // rm, reg
{
	return (op == ALU_TEST ? 0x84 : op << 3) | (size > 1);
}

void emit_alu_rr(struct emit *e, unsigned size, unsigned op, unsigned dst, unsigned src)
{
	emit_byte_rex(e, size, src, dst);
	emit_op_rr(e, size, alu_opcode(size, op), src, dst);
}

static void emit_alu_state(struct emit *e, unsigned size, unsigned op, unsigned dst, uint32_t off) // reg, memory
{
	emit_byte_rex(e, size, dst, 0);
	emit_op_state(e, size, alu_opcode(size, op) | (op == ALU_TEST ? 0 : 2), dst, off, 0);
}

static unsigned imm_bytes(unsigned size, unsigned op, int32_t imm)
{
	if (size == 1 || (op != ALU_TEST && imm == (int8_t)imm))
		return 1;
	return size == 2 ? 2 : 4;
}

static unsigned imm_opcode(unsigned size, unsigned op, unsigned bytes)
{
	if (op == ALU_TEST)
		return size == 1 ? 0xf6 : 0xf7;
	return size == 1 ? 0x80 : bytes == 1 ? 0x83 : 0x81;
}

static void emit_imm(struct emit *e, unsigned bytes, int32_t imm)
{
	for (unsigned i = 0; i < bytes; i++)
		emit_u8(e, (uint32_t)imm >> 8 * i & 0xff);
}

void emit_alu_ri(struct emit *e, unsigned size, unsigned op, unsigned dst, int32_t imm)
{
	unsigned n = imm_bytes(size, op, imm);

	emit_byte_rex(e, size, 0, dst);
	emit_op_rr(e, size, imm_opcode(size, op, n), op == ALU_TEST ? 0 : op, dst);
	emit_imm(e, n, imm);
}

static void emit_alu_state_imm(struct emit *e, unsigned size, unsigned op, uint32_t off, int32_t imm)
{
	unsigned n = imm_bytes(size, op, imm);

	emit_op_state(e, size, imm_opcode(size, op, n), op == ALU_TEST ? 0 : op, off, n);
	emit_imm(e, n, imm);
}

// op b, reg; RAX's guest value is in SLOT_RAX if `saved`.
static void emit_with_b(const struct trans *t, struct emit *e, unsigned op, unsigned reg, bool saved)
{
	const struct recipe *r = &t->recipe;
	uint32_t off;

	if (r->b == RECIPE_IMM)
		emit_alu_ri(e, r->size, op, reg, r->imm);
	else if (in_state(t, r->b, &off))
		emit_alu_state(e, r->size, op, reg, off);
	else if (saved && host_of(t, r->b) == X86_RAX)
		emit_alu_state(e, r->size, op, reg, SLOT_RAX);
	else
		emit_alu_rr(e, r->size, op, reg, host_of(t, r->b));
}

// A comparison of what is there: one instruction, and no register. False: it takes more.
static bool emit_compare_again(const struct trans *t, struct emit *e)
{
	const struct recipe *r = &t->recipe;
	unsigned op = r->op == RECIPE_AND ? ALU_TEST : ALU_CMP;
	uint32_t off, off_b;

	if ((r->op != RECIPE_SUB && r->op != RECIPE_AND) || r->result || r->moved)
		return false;
	if (r->a == RECIPE_IMM || (r->a == r->b && r->op == RECIPE_SUB)) { // of equals
		emit_alu_rr(e, 4, ALU_CMP, X86_RAX, X86_RAX);
	} else if (!in_state(t, r->a, &off)) {
		emit_with_b(t, e, op, host_of(t, r->a), false);
	} else if (r->a == r->b) { // of a result
		emit_alu_state_imm(e, r->size, ALU_CMP, off, 0);
	} else if (r->b == RECIPE_IMM) {
		emit_alu_state_imm(e, r->size, op, off, r->imm);
	} else if (!in_state(t, r->b, &off_b)) { // TEST has one form for both orders
		unsigned reg = host_of(t, r->b);

		emit_byte_rex(e, r->size, reg, 0);
		emit_op_state(e, r->size, alu_opcode(r->size, op), reg, off, 0);
	} else {
		return false;
	}
	return true;
}

static void emit_load_a(const struct trans *t, struct emit *e)
{
	const struct recipe *r = &t->recipe;
	uint32_t off;

	if (r->a == X86_RSP)
		emit_lea(e, 8, X86_RAX, mem_base(HOST_GUEST_RSP, t->ahead - r->moved));
	else if (in_state(t, r->a, &off))
		emit_load_state(e, 8, X86_RAX, off);
	else
		emit_mov(e, 8, X86_RAX, host_of(t, r->a));
}

static void emit_imul_b(const struct trans *t, struct emit *e)
{
	const struct recipe *r = &t->recipe;
	uint32_t off;

	if (r->b == RECIPE_IMM) {
		emit_op_rr(e, r->size, 0x69, X86_RAX, X86_RAX);
		emit_imm(e, r->size == 2 ? 2 : 4, r->imm);
	} else if (in_state(t, r->b, &off)) {
		emit_op_state(e, r->size, 0x0faf, X86_RAX, off, 0);
	} else if (host_of(t, r->b) == X86_RAX) {
		emit_op_state(e, r->size, 0x0faf, X86_RAX, SLOT_RAX, 0);
	} else {
		emit_op_rr(e, r->size, 0x0faf, X86_RAX, host_of(t, r->b));
	}
}

static void emit_shift_rax(const struct recipe *r, struct emit *e)
{
	unsigned op = r->op == RECIPE_SHL ? 4 : r->op == RECIPE_SHR ? 5 : 7;

	emit_op_rr(e, r->size, r->size == 1 ? 0xc0 : 0xc1, op, X86_RAX);
	emit_u8(e, (unsigned)r->imm);
}

static void emit_neg_rax(unsigned size, struct emit *e)
{
	emit_op_rr(e, size, size == 1 ? 0xf6 : 0xf7, 3, X86_RAX);
}

// The operation anew, in RAX: the guest's flags to the host's. Keeps all registers.
void emit_operation_again(const struct trans *t, struct emit *e)
{
	const struct recipe *r = &t->recipe;

	if (emit_compare_again(t, e))
		return;
	emit_store_state(e, 8, X86_RAX, SLOT_RAX);
	emit_load_a(t, e);
	switch ((enum recipe_op)r->op) {
	case RECIPE_ADD: case RECIPE_SUB:
		if (r->result)
			emit_with_b(t, e, r->op == RECIPE_ADD ? ALU_SUB : ALU_ADD, X86_RAX, true);
		emit_with_b(t, e, r->op == RECIPE_ADD ? ALU_ADD : ALU_SUB, X86_RAX, true);
		break;
	case RECIPE_AND:
		emit_with_b(t, e, ALU_AND, X86_RAX, true);
		break;
	case RECIPE_NEG:
		emit_neg_rax(r->size, e);
		emit_neg_rax(r->size, e);
		break;
	case RECIPE_SHL: case RECIPE_SHR: case RECIPE_SAR:
		emit_shift_rax(r, e);
		break;
	case RECIPE_IMUL:
		emit_imul_b(t, e);
		break;
	case RECIPE_ADC: case RECIPE_SBB:
		emit_op_state(e, 4, 0x0fba, 4, SLOT_NOTE_CARRY, 1); // bt $0
		emit_u8(e, 0);
		emit_with_b(t, e, r->op == RECIPE_ADC ? ALU_ADC : ALU_SBB, X86_RAX, true);
		break;
	case RECIPE_NONE:
		NOT_REACHED();
	}
	emit_load_state(e, 8, X86_RAX, SLOT_RAX);
}

// -- numbers ----------------------------------------------------------------------------------------------------------

static bool equal(const struct recipe *a, const struct recipe *b)
{
	return a->op == b->op && a->size == b->size && a->a == b->a && a->b == b->b && a->result == b->result &&
	       a->moved == b->moved && a->imm == b->imm;
}

static unsigned hash_of(const struct recipe *r)
{
	uint64_t h = (uint64_t)r->op << 56 ^ (uint64_t)r->size << 48 ^ (uint64_t)r->a << 40 ^ (uint64_t)r->b << 32 ^
		     (uint64_t)r->result << 63 ^ (uint32_t)r->imm ^ (uint64_t)(uint32_t)r->moved << 20;

	return (unsigned)(h * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

// 0 is none.
uint16_t recipe_number(struct bt *b, const struct recipe *r)
{
	unsigned i = hash_of(r);

	while (!i || (b->recipe[i].op && !equal(&b->recipe[i], r)))
		i = (i + 1) & (RECIPES_MAX - 1);
	if (!b->recipe[i].op) {
		ASSERT(b->nrecipes < RECIPES_MAX - 2);
		b->flush_tc |= ++b->nrecipes > RECIPES_MAX / 4 * 3;
		b->recipe[i] = *r;
		b->recipe[i].quick = (uint8_t)recipe_quick(r);
	}
	return (uint16_t)i;
}
