// SPDX-License-Identifier: MIT
//
// Which guest registers hold 32-bit values, for the mapped form: zero- or sign-extended, so between -2^31 and 2^32. The
// gaps at the zone's ends are larger than eight times that, so such an index needs no zone check of its own. Known from
// the instruction that has written the register last, along straight code and where ways meet, not over loops; what is
// not surely so is not in the table.
#include "bt/trans.h"

static bool is_alu(unsigned opcode) // ADD, OR, ADC, SBB, AND, SUB, XOR into a register
{
	return opcode < 0x38 && ((opcode & 7) == 1 || (opcode & 7) == 3);
}

// All of the register is written, as the 32-bit operation leaves it.
static bool writes_32(const struct x86_insn *insn)
{
	unsigned op = insn->modrm >> 3 & 7;

	switch (insn->opcode) {
	case 0x89: case 0x8b: case 0x8d: case 0x63: case 0x69: case 0x6b: // MOV, LEA, MOVSXD, IMUL
		return true;
	case 0x81: case 0x83:
		return op != 7;
	case 0xc7:
		return op == 0;
	case 0xf7: // NOT, NEG
		return op == 2 || op == 3;
	default:
		return is_alu(insn->opcode) || (insn->opcode & 0xf8) == 0xb8; // MOV of a constant
	}
}

static bool extends(const struct x86_insn *insn) // MOVZX, MOVSX
{
	return insn->opcode == 0xb6 || insn->opcode == 0xb7 || insn->opcode == 0xbe || insn->opcode == 0xbf;
}

static bool narrows(const struct trans *t, const struct x86_insn *insn)
{
	unsigned op = insn->modrm >> 3 & 7;

	if (insn->class != X86_CLASS_PLAIN || insn->encoding != X86_ENC_LEGACY || insn->opsize < 4)
		return false;
	if (insn->map == 1)
		return extends(insn);
	if (insn->map)
		return false;
	if (insn->opsize == 4)
		return writes_32(insn);
	if (insn->opcode == 0x63 || insn->opcode == 0x98) // MOVSXD, CDQE
		return true;
	if (insn->opcode == 0xc1 && op == 5) // SHR
		return (insn->imm & 63) >= 32;
	return (insn->opcode == 0x81 || insn->opcode == 0x83) && op == 4 && (int64_t)insn->imm >= 0 &&
	       !takes_operand(t, insn); // AND
}

void narrow_after(struct trans *t, const struct x86_insn *insn)
{
	bool one = !(insn->gpr_written & (insn->gpr_written - 1));

	t->narrow &= (uint16_t)~insn->gpr_written;
	if (one && narrows(t, insn))
		t->narrow |= insn->gpr_written;
	t->narrow |= narrow_counter(t);
}

// The counter of the loop that the present instruction is in, all through it.
uint16_t narrow_counter(const struct trans *t)
{
	unsigned reg = counted_register(t, t->i);

	return reg == X86_REG_NONE ? 0 : (uint16_t)BIT(reg);
}
