// SPDX-License-Identifier: MIT
//
// String instructions within a unit: a call of the routine in strings.S that fits. What that cannot do comes to
// bt_string_slow, which carries the instruction out as string.c does from the run loop, and goes back into the unit.
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

static bool compares(const struct x86_insn *insn)
{
	return (insn->opcode >> 1 & 3) == 3;
}

bool string_inline(const struct trans *t, const struct x86_insn *insn)
{
	return !(t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_ALONE)) && t->code == X86_MODE64 && insn->addrsize == 8 &&
	       insn->mem.seg != X86_FS && insn->mem.seg != X86_GS && routine(insn);
}

void emit_string_inline(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	uint32_t id;

	emit_save_flags(t);
	id = new_site(t, X86_READ, 1, insn->mem.seg);
	t->b->site[id].insn = keep_insn(t, insn);
	emit_mov_imm(e, HOST_T0, t->tlb * sizeof(struct tlb));
	emit_mov_imm(e, HOST_T1, routine(insn));
	emit_op_rr(e, 4, 0xff, 2, HOST_T1);              // call
	emit_bytes(e, (const uint8_t[]){0x0f, 0x1f, 0x80}, 3); // nopl id(%rax)
	emit_u32(e, id);
	if (compares(insn))
		t->flags = FLAGS_HOST;
}

static void put_back(struct vcpu *v, const struct tu *tu, bool flags)
{
	uint64_t *host = (uint64_t *)((char *)v + SLOT_HOST_REGS);
	uint64_t *host_flags = (uint64_t *)((char *)v + SLOT_HOST_FLAGS);

	for (unsigned r = 0; r < X86_GPRS; r++)
		if (tu->map[r] != X86_REG_NONE)
			host[tu->map[r]] = v->gpr[r];
	if (flags)
		*host_flags = (*host_flags & ~(uint64_t)RFLAGS_ARITH) | (v->rflags & RFLAGS_ARITH);
}

// Called by the routines. Counts as an instruction that has begun, until it turns out to have ended in place.
const uint8_t *bt_string_slow(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	const struct site *s = &b->site[*(const uint32_t *)(ra + 3)];
	const struct x86_insn *insn = &b->insn[s->insn];
	const struct tu *tu = &b->tu[s->tu];
	int left = s->left - 1;

	b->st->callouts++;
	recover_site(v, s);
	v->count_left += left;
	if (!bt_string(v, insn)) {
		v->count_left++;
		bt_leave(LEAVE_NEXT);
	}
	if (tu->dead)
		bt_leave(LEAVE_NEXT);
	v->count_left -= left;
	put_back(v, tu, compares(insn));
	return ra;
}
