// SPDX-License-Identifier: MIT
//
// System instructions in the cache: those that only touch the interrupt flag are done inline; the rest leave for C
// (sys_execute, or bt_string) with the decoded instruction kept beside the exit.
#include "bt/trans.h"

static uint32_t keep_insn(struct trans *t, const struct x86_insn *insn)
{
	ASSERT(t->b->ninsns < INSNS_MAX);
	t->b->insn[t->b->ninsns] = *insn;
	return t->b->ninsns++;
}

static void leave_for_c(struct trans *t, enum exit_kind kind, const struct x86_insn *insn)
{
	emit_exit(t, kind, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].insn = keep_insn(t, insn);
}

void emit_sys(struct trans *t, const struct x86_insn *insn)
{
	leave_for_c(t, EXIT_SYS, insn);
}

void emit_string(struct trans *t, const struct x86_insn *insn)
{
	leave_for_c(t, EXIT_STRING, insn);
}

void sys_cli(struct trans *t, const struct x86_insn *insn)
{
	if (t->user)
		emit_sys(t, insn);
	else
		emit_store_state_imm8(&t->hot, 0, SLOT_IF);
}

// Interrupts stay off for one more instruction: if one waits, the run loop runs that one and then delivers.
void sys_sti(struct trans *t, const struct x86_insn *insn)
{
	if (t->user) {
		emit_sys(t, insn);
		return;
	}
	emit_store_state_imm8(&t->hot, 1, SLOT_IF);
	emit_poll_word(t, SLOT_IRQ_WAIT, EXIT_STI, next_pc(t));
}
