// SPDX-License-Identifier: MIT
//
// Recipes: how to make the guest's arithmetic flags anew from what is left of the operands of the instruction that
// produced them. Who will look at flags only if a fault comes need not be given any: the fault makes them.
//
// An operand is a guest register as it is now, an immediate, or a note: a word of struct vcpu where translated code has
// put a value that was about to go.
#ifndef BT_RECIPE_H
#define BT_RECIPE_H

#include "x86/decode.h"

enum recipe_op {
	RECIPE_NONE, RECIPE_ADD, RECIPE_SUB, RECIPE_AND, RECIPE_NEG, RECIPE_SHL, RECIPE_SHR, RECIPE_SAR, RECIPE_IMUL,
	RECIPE_ADC, RECIPE_SBB,
};

enum { RECIPE_IMM = X86_GPRS, RECIPE_NOTE_A, RECIPE_NOTE_B }; // operands besides the guest's registers

struct recipe {
	uint8_t op, size; // enum recipe_op; bytes
	uint8_t a, b;     // operands
	bool result;      // a is what became of the first operand, not what it was
	uint8_t quick;    // which piece of bt_stub_flags does it, or 0
	int32_t moved;    // by how much RSP has changed since
	int32_t imm;
};

// An instruction that sets all arithmetic flags, as its recipe is right behind it.
struct producer {
	struct recipe recipe;
	bool old;        // NOTE_A: the destination's value before the instruction
	bool carry;      // the third note: the carry flag before it
	bool memory;     // NOTE_A or NOTE_B (`as`): the memory operand's value
	uint8_t as;
	uint8_t dst, src; // registers, or RECIPE_IMM, or X86_REG_NONE for memory
};

_Static_assert(sizeof(struct recipe) == 16 && offsetof(struct recipe, a) == 2 && offsetof(struct recipe, b) == 3 &&
	       offsetof(struct recipe, quick) == 5 && offsetof(struct recipe, moved) == 8 &&
	       offsetof(struct recipe, imm) == 12 && RECIPE_IMM == 16, "known to recipes.S");

bool recipe_of(const struct x86_insn *insn, struct producer *out); // false: no way to make its flags anew
unsigned recipe_quick(const struct recipe *r);
uint16_t recipe_registers(const struct recipe *r);                // guest registers it reads
uint64_t recipe_flags(const struct recipe *r, const uint64_t *gpr, const uint64_t *notes, bool carry);

#endif
