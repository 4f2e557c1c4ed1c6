// SPDX-License-Identifier: MIT
//
// Which instructions have a recipe, and what it gives. The host's processor carries the operation out again, so what it
// leaves in undefined flags is the same too.
#include "bt/recipe.h"

static bool is_high_byte(const struct x86_insn *insn, unsigned reg)
{
	return insn->opsize == 1 && !insn->rex && reg >= 4;
}

static unsigned reg_field(const struct x86_insn *insn)
{
	return (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3;
}

static unsigned rm_field(const struct x86_insn *insn)
{
	return (insn->modrm & 7) | (insn->rex & 1) << 3;
}

// What the operand is: false if a high byte. X86_REG_NONE: memory.
static bool take_rm(const struct x86_insn *insn, uint8_t *out)
{
	*out = insn->mem.present ? X86_REG_NONE : (uint8_t)rm_field(insn);
	return insn->mem.present || !is_high_byte(insn, rm_field(insn));
}

static bool take_reg(const struct x86_insn *insn, uint8_t *out)
{
	*out = (uint8_t)reg_field(insn);
	return !is_high_byte(insn, *out);
}

enum alu { ALU_IS_ADD, ALU_IS_OR, ALU_IS_ADC, ALU_IS_SBB, ALU_IS_AND, ALU_IS_SUB, ALU_IS_XOR, ALU_IS_CMP };

// The operation has two operands and both survive, but for memory, which is noted.
static void compare(struct producer *p, enum recipe_op op)
{
	p->recipe.op = (uint8_t)op;
	p->recipe.a = p->dst;
	p->recipe.b = p->src;
	p->memory = p->dst == X86_REG_NONE || p->src == X86_REG_NONE;
	p->as = p->dst == X86_REG_NONE ? RECIPE_NOTE_A : RECIPE_NOTE_B;
	if (p->dst == X86_REG_NONE)
		p->recipe.a = RECIPE_NOTE_A;
	if (p->src == X86_REG_NONE)
		p->recipe.b = RECIPE_NOTE_B;
}

static void always_zero(struct producer *p, enum recipe_op op)
{
	p->recipe.op = (uint8_t)op;
	p->recipe.a = p->recipe.b = RECIPE_IMM;
	p->recipe.imm = 0;
	p->memory = false;
}

static void of_result(struct producer *p, enum recipe_op op)
{
	p->recipe.op = (uint8_t)op;
	p->recipe.a = p->recipe.b = p->dst;
	p->memory = false;
}

static void with_carry(struct producer *p, enum recipe_op op)
{
	compare(p, op);
	p->old = p->carry = true;
	p->recipe.a = RECIPE_NOTE_A;
	if (p->src == p->dst)
		p->recipe.b = RECIPE_NOTE_A;
}

static bool of_alu(struct producer *p, enum alu op)
{
	bool same = p->dst == p->src;

	if (p->dst == X86_REG_NONE && op != ALU_IS_CMP)
		return false; // the result is in memory
	switch (op) {
	case ALU_IS_CMP:
		compare(p, RECIPE_SUB);
		return true;
	case ALU_IS_SUB:
		compare(p, RECIPE_SUB);
		p->recipe.result = !same;
		if (same)
			always_zero(p, RECIPE_SUB);
		return true;
	case ALU_IS_ADD:
		compare(p, RECIPE_ADD);
		p->recipe.result = !same;
		p->old = same;
		if (same)
			p->recipe.a = p->recipe.b = RECIPE_NOTE_A;
		return true;
	case ALU_IS_XOR:
		if (same)
			always_zero(p, RECIPE_AND);
		else
			of_result(p, RECIPE_AND);
		return true;
	case ALU_IS_AND: case ALU_IS_OR:
		of_result(p, RECIPE_AND);
		return true;
	case ALU_IS_SBB:
		if (same) // 0 or -1, flags as of the negation of 0 or 1
			of_result(p, RECIPE_NEG);
		else
			with_carry(p, RECIPE_SBB);
		return true;
	case ALU_IS_ADC:
		with_carry(p, RECIPE_ADC);
		return true;
	}
	return false;
}

static bool of_arithmetic(const struct x86_insn *insn, struct producer *p)
{
	unsigned form = insn->opcode & 7;

	if (form >= 4) {
		p->dst = X86_RAX;
		p->src = RECIPE_IMM;
	} else if (form < 2 ? !take_rm(insn, &p->dst) || !take_reg(insn, &p->src)
			    : !take_reg(insn, &p->dst) || !take_rm(insn, &p->src)) {
		return false;
	}
	return of_alu(p, (enum alu)(insn->opcode >> 3));
}

static bool of_test(const struct x86_insn *insn, struct producer *p)
{
	p->dst = X86_RAX;
	p->src = RECIPE_IMM;
	if (insn->has_modrm && !take_rm(insn, &p->dst))
		return false;
	if (insn->opcode <= 0x85 && !take_reg(insn, &p->src))
		return false;
	compare(p, RECIPE_AND);
	return true;
}

static bool of_group3(const struct x86_insn *insn, struct producer *p)
{
	unsigned op = insn->modrm >> 3 & 7;

	if (op < 2)
		return of_test(insn, p);
	if (op != 3 || insn->mem.present || !take_rm(insn, &p->dst))
		return false;
	of_result(p, RECIPE_NEG);
	return true;
}

static bool of_shift(const struct x86_insn *insn, struct producer *p)
{
	static const uint8_t ops[8] = {
		[4] = RECIPE_SHL, [5] = RECIPE_SHR, [6] = RECIPE_SHL, [7] = RECIPE_SAR};
	int n = insn->opcode >= 0xd0 ? 1 : (int)insn->imm & (insn->opsize == 8 ? 63 : 31);

	p->recipe.op = ops[insn->modrm >> 3 & 7];
	if (!p->recipe.op || !n || insn->mem.present || !take_rm(insn, &p->dst))
		return false;
	p->old = true;
	p->recipe.a = RECIPE_NOTE_A;
	p->recipe.b = p->src = RECIPE_IMM;
	p->recipe.imm = n;
	return true;
}

static bool of_imul(const struct x86_insn *insn, struct producer *p)
{
	bool two = insn->map == 1;

	if (insn->mem.present || !take_reg(insn, &p->dst) || !take_rm(insn, &p->src))
		return false;
	p->recipe.op = RECIPE_IMUL;
	p->old = two || p->dst == p->src;
	p->recipe.a = p->old ? RECIPE_NOTE_A : p->src;
	p->recipe.b = !two ? RECIPE_IMM : p->dst == p->src ? RECIPE_NOTE_A : p->src;
	return true;
}

bool recipe_of(const struct x86_insn *insn, struct producer *p)
{
	*p = (struct producer){.recipe.size = insn->opsize, .recipe.imm = (int32_t)insn->imm};
	if (insn->encoding != X86_ENC_LEGACY || insn->class != X86_CLASS_PLAIN || insn->prefixes & X86_PFX_LOCK)
		return false;
	if (((insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH) != RFLAGS_ARITH)
		return false; // some are an earlier instruction's
	if (insn->map == 1 && insn->opcode == 0xaf)
		return of_imul(insn, p);
	if (insn->map)
		return false;
	if (insn->opcode < 0x40 && (insn->opcode & 7) < 6)
		return of_arithmetic(insn, p);
	switch (insn->opcode) {
	case 0x80: case 0x81: case 0x83:
		p->src = RECIPE_IMM;
		return take_rm(insn, &p->dst) && of_alu(p, (enum alu)(insn->modrm >> 3 & 7));
	case 0x84: case 0x85: case 0xa8: case 0xa9:
		return of_test(insn, p);
	case 0xf6: case 0xf7:
		return of_group3(insn, p);
	case 0xc0: case 0xc1: case 0xd0: case 0xd1:
		return of_shift(insn, p);
	case 0x69: case 0x6b:
		return of_imul(insn, p);
	default:
		return false;
	}
}

// ORDER QUICK: as the pieces stand in recipes.S
unsigned recipe_quick(const struct recipe *r)
{
	static const uint8_t first[] = {[RECIPE_ADD] = 1, [RECIPE_SUB] = 9, [RECIPE_AND] = 17, [RECIPE_NEG] = 21,
		[RECIPE_SHL] = 25, [RECIPE_SHR] = 29, [RECIPE_SAR] = 33};
	unsigned log = r->size == 8 ? 3 : r->size / 2;

	return r->op >= RECIPE_IMUL ? 0 : first[r->op] + (r->result ? 4 : 0) + log;
}

uint16_t recipe_registers(const struct recipe *r)
{
	return (uint16_t)((r->a < X86_GPRS ? BIT(r->a) : 0) | (r->b < X86_GPRS ? BIT(r->b) : 0));
}

// -- what it gives ----------------------------------------------------------------------------------------------------

static uint64_t operand(const struct recipe *r, unsigned which, const uint64_t *gpr, const uint64_t *notes)
{
	switch (which) {
	case RECIPE_IMM: return (uint64_t)(int64_t)r->imm;
	case RECIPE_NOTE_A: return notes[0];
	case RECIPE_NOTE_B: return notes[1];
	case X86_RSP: return gpr[X86_RSP] - (uint64_t)(int64_t)r->moved;
	default: return gpr[which];
	}
}

// As lahf; seto %al leave them in AX.
static uint64_t from_ax(uint64_t ax)
{
	return (ax >> 8 & (RFLAGS_ARITH & ~RFLAGS_OF)) | (ax & 0xff ? RFLAGS_OF : 0);
}

#define DO(insn, type, constraint) \
	do { \
		type x = (type)a, y = (type)b; \
		uint64_t ax; \
		__asm__(insn "\n lahf\n seto %%al" : [x] "+r"(x), "=&a"(ax) : [y] constraint(y) : "cc"); \
		return from_ax(ax); \
	} while (0)
#define DO_CARRY(insn, type) \
	do { \
		type x = (type)a, y = (type)b; \
		uint64_t ax; \
		__asm__("addb $0xff, %%al\n " insn "\n lahf\n seto %%al" : [x] "+r"(x), "=&a"(ax) \
			: [y] "r"(y), "1"((uint64_t)carry) : "cc"); \
		return from_ax(ax); \
	} while (0)
#define CARRY_SIZES(name) \
	switch (size) { \
	case 1: DO_CARRY(name "b %[y], %[x]", uint8_t); \
	case 2: DO_CARRY(name "w %[y], %[x]", uint16_t); \
	case 4: DO_CARRY(name "l %[y], %[x]", uint32_t); \
	default: DO_CARRY(name "q %[y], %[x]", uint64_t); \
	}
#define SIZES(name, constraint) \
	switch (size) { \
	case 1: DO(name "b %[y], %[x]", uint8_t, constraint); \
	case 2: DO(name "w %[y], %[x]", uint16_t, constraint); \
	case 4: DO(name "l %[y], %[x]", uint32_t, constraint); \
	default: DO(name "q %[y], %[x]", uint64_t, constraint); \
	}
#define SHIFTS(name) \
	switch (size) { \
	case 1: DO(name "b %b[y], %[x]", uint8_t, "c"); \
	case 2: DO(name "w %b[y], %[x]", uint16_t, "c"); \
	case 4: DO(name "l %b[y], %[x]", uint32_t, "c"); \
	default: DO(name "q %b[y], %[x]", uint64_t, "c"); \
	}

static uint64_t flags_of_imul(unsigned size, uint64_t a, uint64_t b)
{
	switch (size) {
	case 2: DO("imulw %[y], %[x]", uint16_t, "r");
	case 4: DO("imull %[y], %[x]", uint32_t, "r");
	default: DO("imulq %[y], %[x]", uint64_t, "r");
	}
}

static uint64_t flags_of_neg(unsigned size, uint64_t a)
{
	const uint64_t b = a;

	a = 0; // 0 - x has the flags of the negation of x
	SIZES("sub", "r");
}

uint64_t recipe_flags(const struct recipe *r, const uint64_t *gpr, const uint64_t *notes, bool carry)
{
	uint64_t a = operand(r, r->a, gpr, notes), b = operand(r, r->b, gpr, notes);
	unsigned size = r->size;

	switch ((enum recipe_op)r->op) {
	case RECIPE_ADD:
		a -= r->result ? b : 0;
		SIZES("add", "r");
	case RECIPE_SUB:
		a += r->result ? b : 0;
		SIZES("sub", "r");
	case RECIPE_AND: SIZES("and", "r");
	case RECIPE_NEG: return flags_of_neg(size, 0 - a);
	case RECIPE_SHL: SHIFTS("shl");
	case RECIPE_SHR: SHIFTS("shr");
	case RECIPE_SAR: SHIFTS("sar");
	case RECIPE_IMUL: return flags_of_imul(size, a, b);
	case RECIPE_ADC: CARRY_SIZES("adc");
	case RECIPE_SBB: CARRY_SIZES("sbb");
	case RECIPE_NONE: break;
	}
	return 0;
}
