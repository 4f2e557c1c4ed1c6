// SPDX-License-Identifier: MIT
//
// String instructions within a unit: a call of the routine in strings.S that fits. What that cannot do comes to
// bt_string_slow in callout.c.
#include "bt/trans.h"

enum { KINDS = 3, SIZES = 4 };

extern const uint64_t bt_string_routines[8][KINDS][SIZES]; // strings.S

static unsigned size_log(const struct x86_insn *insn)
{
	return !(insn->opcode & 1) ? 0 : insn->opsize == 8 ? 3 : insn->opsize / 2;
}

static uint64_t routine(const struct x86_insn *insn)
{
	unsigned kind = insn->prefixes & X86_PFX_REPNE ? 2 : insn->prefixes & X86_PFX_REP ? 1 : 0;

	return bt_string_routines[insn->opcode >> 1 & 7][kind][size_log(insn)];
}

bool string_inline(const struct trans *t, const struct x86_insn *insn)
{
	return t->t->tier == TIER_HOT && !(t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_ALONE)) &&
	       is_flat(t) && insn->addrsize == word(t) && insn->mem.seg < X86_FS && routine(insn);
}

void emit_string_inline(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	emit_save_flags(t);
	emit_mov_imm(e, HOST_T0, t->tlb * sizeof(struct tlb));
	emit_mov_imm(e, HOST_T1, routine(insn));
	emit_op_rr(e, 4, 0xff, 2, HOST_T1); // call
	emit_callout_site(t, &t->hot, insn);
	if (t->code == X86_MODE64)
		return;
	for (unsigned r = X86_RSI; r <= X86_RDI; r++) // they may have come to the end of the address space
		if (insn->gpr_written & BIT(r))
			emit_mov(e, 4, r, r);
}
