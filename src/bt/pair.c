// SPDX-License-Identifier: MIT
//
// Calls, returns and indirect branches.
#include "bt/trans.h"

// How wide the present near branch takes addresses: a 66 prefix cuts them to 16 bits outside 64-bit mode.
static unsigned code_size(const struct trans *t)
{
	return t->code == X86_MODE64 ? 8 : t->insn[t->i].opsize;
}

// One store of 64 bits: the return's load of as many would wait for two halves. by: the work register it may go
// through.
static void emit_push_return(struct trans *t, unsigned by)
{
	struct emit *e = &t->hot;
	unsigned size = code_size(t);
	uint64_t ret = next_pc(t) - hot_of(t->b, t->t)->cs_base;
	struct emit_mem m = emit_stack_operand(t, -(int)size, size, X86_WRITE);

	if (size <= 4 || (int64_t)ret == (int32_t)ret) {
		emit_store_imm32(e, size, (uint32_t)ret, m);
	} else {
		unsigned value = by;

		if (m.base == HOST_T0 || m.index == HOST_T0) {
			emit_lea(e, 8, HOST_T0, m);
			m = mem_base(HOST_T0, 0);
			value = HOST_T1;
		}
		emit_mov_pc(t, e, value, ret);
		emit_store(e, 8, value, m);
	}
	emit_rsp_add(t, -(int)size);
	emit_access_done(t);
}

// T0, an offset in a code segment that has a base or a limit, becomes a linear address; beyond the limit the
// instruction is C's, so nothing of it may have happened.
static void emit_linear_target(struct trans *t, const struct x86_insn *insn)
{
	const struct hot_tu *h = hot_of(t->b, t->t);

	if (!(t->t->mode & MODE_CS))
		return;
	if (h->cs_limit != UINT32_MAX && (code_size(t) > 2 || h->cs_limit < 0xffff)) {
		emit_save_flags(t);
		emit_alu_imm(&t->hot, 4, ALU_CMP, HOST_T0, (int32_t)h->cs_limit);
		sys_rare_if(t, CC_A, insn);
	}
	if (h->cs_base)
		emit_lea(&t->hot, 4, HOST_T0, mem_base(HOST_T0, (int32_t)h->cs_base));
}

// -- calls and returns: the host's own call and ret predict for the guest. A guest call ends in a host call, whose
// return address lies beside the guest's on a stack of our own; a guest return loads its address into T0 and does a
// host ret. What it arrives at compares: if T0 is its own it goes on there, else through the table. The stack is a
// prediction only: any flush empties it, and so does its guard page (bt_host_fault). By convention the arithmetic flags
// are noted at a ret.
//
// Landings do not ask for the mode: all those on the stack are of the present one. C empties it when the mode changes;
// SYSCALL and SYSRET switch between the user's part of it and the kernel's (emit_calls_of_kernel); code with EFLAGS.AC
// set, between STAC and CLAC, takes no part.

bool pairs_calls(const struct trans *t)
{
	const uint32_t not = MODE_ONE | MODE_CAREFUL | MODE_ALONE | MODE_AC;

	return !(t->t->mode & not) && !(t->b->sh->config.stress & STRESS_IRQ);
}

// Where the host's ret arrives.
static void emit_landing(struct trans *t)
{
	struct emit *e = &t->hot;
	uint64_t ret = next_pc(t);
	uint8_t *other;

	t->home = true;
	flags_from_here(t, FLAGS_NOTED);
	if ((int64_t)ret == (int32_t)ret) {
		emit_alu_imm(e, 8, ALU_CMP, HOST_T0, (int32_t)ret);
	} else {
		emit_mov_pc(t, e, HOST_T1, ret);
		emit_op_rr(e, 8, 0x39, HOST_T1, HOST_T0);
	}
	other = emit_jcc32(e, CC_NE);
	emit_patch32(other, e->delta, emit_here(&t->cold));
	emit_jmp_state(&t->cold, SLOT_STUB_RET);
	if (t->next[t->i] == NOWHERE) {
		emit_goto(t, ret);
		return;
	}
	t->b->exit[new_exit(t, EXIT_LANDING, ret)].place = (uint32_t)(other - t->b->tc_rw);
	t->home = false; // the region goes on
	emit_prologue(t);
	window_drop_all(t);
	mapped_drop_all(t);
	mapped_trust_stack(t);
}

void flow_call(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	uint64_t target = branch_target(t, t->i);
	struct fate f = fate_outside(t, target);

	emit_push_return(t, HOST_T0);
	if (!pairs_calls(t)) {
		emit_goto(t, target);
		return;
	}
	if (flags_wanted(t, f) == FLAGS_NOTED) {
		emit_flags_noted(t, e, f.lost);
		t->flags = FLAGS_NOTED;
	} else if (target <= insn_pc(t, t->i)) {
		emit_save_flags(t);
	}
	emit_epilogue(t, e);
	t->home = true;
	if (target <= insn_pc(t, t->i))
		emit_cold_poll(t, target);
	emit_call_out(t, target);
	emit_landing(t);
}

// The target of an indirect branch into T0.
static void emit_target(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	if (insn->mem.present) {
		emit_load(e, code_size(t), HOST_T0, emit_operand(t, insn, X86_READ, code_size(t)));
		emit_linear_target(t, insn);
	} else {
		unsigned guest = (insn->modrm & 7) | (insn->rex & 1) << 3, reg = t->map[guest];

		if (reg == X86_REG_NONE) {
			emit_load_state(e, code_size(t), HOST_T0, VCPU_GPR + guest * 8);
			return;
		}
		if (code_size(t) == 2)
			emit_movzwl(e, HOST_T0, reg);
		else
			emit_mov(e, code_size(t), HOST_T0, reg);
		emit_linear_target(t, insn);
	}
}

// A near indirect branch or return is about to be emitted. On Intel's processors one to a non-canonical address faults
// itself and has changed nothing; here it has been made when that is found, so it says who it is. Moves no flags.
void emit_note_branch(struct trans *t, const struct x86_insn *insn)
{
	uint32_t id;

	if (t->v->amd || t->code != X86_MODE64)
		return;
	id = new_exit(t, EXIT_BRANCH, insn_pc(t, t->i));
	if (insn->class == X86_CLASS_CALL_IND)
		t->b->exit[id].pushed = 8;
	else if (insn->class == X86_CLASS_RET)
		t->b->exit[id].pushed = -8 - (insn->imm_size ? (uint16_t)insn->imm : 0);
	emit_store_state_imm32(&t->hot, id, SLOT_BRANCH);
}

// An indirect branch has led to the address in RIP, which is not canonical.
void bt_branch_fault(struct vcpu *v)
{
	const struct exit *x = &bt_of(v)->exit[*(const uint32_t *)((const char *)v + SLOT_BRANCH)];

	v->rip = exit_pc(bt_of(v), x);
	v->gpr[X86_RSP] += (uint64_t)(int64_t)x->pushed;
	vcpu_raise(v, VEC_GP, 0);
}

void flow_jmp_ind(struct trans *t, const struct x86_insn *insn)
{
	emit_note_branch(t, insn);
	emit_target(t, insn);
	emit_access_done(t);
	emit_indirect(t);
}

// A target in memory is read before the return address is written, and waits on the host's stack; in the mapped form in
// T0, which a push does not need there.
void flow_call_ind(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	bool waits = is_mapped(t);
	bool late = !insn->mem.present && !(t->t->mode & MODE_CS) && ((insn->modrm & 7) | (insn->rex & 1) << 3) != X86_RSP;

	emit_note_branch(t, insn);
	if (!late)
		emit_target(t, insn);
	if (!late && !waits) {
		emit_u8(e, 0x41);
		emit_u8(e, 0x50 | (HOST_T0 & 7)); // push %r10 on the host's stack
		t->on_stack = 8;
	}
	emit_push_return(t, waits ? HOST_T1 : HOST_T0);
	t->on_stack = 0;
	if (late) {
		emit_target(t, insn);
	} else if (!waits) {
		emit_u8(e, 0x41);
		emit_u8(e, 0x58 | (HOST_T0 & 7)); // pop %r10
	}
	if (!pairs_calls(t)) {
		emit_indirect(t);
		return;
	}
	emit_flags_noted(t, &t->hot, 0xffff);
	emit_epilogue(t, e);
	emit_table_branch(e, tc_mode_id(t->b, t->t->mode), 2);
	emit_landing(t);
}

void flow_ret(struct trans *t, const struct x86_insn *insn)
{
	unsigned size = code_size(t);

	emit_note_branch(t, insn);
	emit_load(&t->hot, size, HOST_T0, emit_stack_operand(t, 0, size, X86_READ));
	emit_linear_target(t, insn);
	emit_rsp_add(t, (int)size + (insn->imm_size ? (uint16_t)insn->imm : 0));
	emit_access_done(t);
	if (!pairs_calls(t)) {
		emit_indirect(t);
		return;
	}
	emit_flags_noted(t, &t->hot, 0xffff);
	emit_epilogue(t, &t->hot);
	emit_u8(&t->hot, 0xc3);
	t->ended = true;
}
