// SPDX-License-Identifier: MIT
//
// See verbatim.h. A head is what x86_register_head takes for one: it is kept only if the decoder has found that all
// of the instruction but an immediate lies in it, so that others with the same head are the same but for that.
#include "bt/verbatim.h"
#include "bt/base.h"

enum { MOVE = 16 }; // bytes copied at once

bool verbatim_may_be(const struct trans *t)
{
	return t->t->tier == TIER_BASE && t->code == X86_MODE64 && !(t->t->mode & (MODE_MAPPED | MODE_ALONE)) &&
	       !t->b->sh->debugger.breakpoints;
}

static struct verbatim *entry_of(struct bt *b, uint64_t head)
{
	return &b->base.verbatim[head * UINT64_C(0x9e3779b97f4a7c15) >> (64 - VERBATIM_LOG)];
}

const struct verbatim *verbatim_find(const struct trans *t, int off)
{
	const struct verbatim *s;
	struct x86_register_head h;

	if ((int)(t->t->pc & PAGE_OFFSET) + off > (int)PAGE_SIZE - MOVE)
		return NULL;
	h = x86_register_head(t->bytes + off);
	s = entry_of(t->b, h.key);
	return s->head == h.key ? s : NULL;
}

void verbatim_learn(struct trans *t, const struct x86_insn *insn, const uint8_t *bytes)
{
	struct x86_register_head h;

	if (!base_is_same(insn) || insn->prefixes || insn->map > 1 || insn->feature != X86_FEATURE_NONE)
		return;
	h = x86_register_head(bytes);
	if (insn->len != h.size + (h.has_imm ? 0u : insn->imm_size))
		return;
	*entry_of(t->b, h.key) = (struct verbatim){.head = h.key, .len = insn->len,
		.operand = insn->imm_size >= 4 && !insn->map ? insn->imm_size : 0,
		.flags_read = insn_may_fault(insn) ? RFLAGS_ARITH : insn->flags_read, .flags_set = flags_set(insn)};
}
