// SPDX-License-Identifier: MIT
//
// PUSH, POP and LEAVE. Guest RSP is in a host register and changes only after the last access that can fault. A value
// on its way from one checked operand to another waits on the host's stack.
//
// In the mapped form pushes, pops and a call or return behind them that follow one another move RSP once, behind the
// last of them (a run). Meanwhile the guest's is `ahead` of its register, which stands with each access.
#include "bt/trans.h"

enum { RUN_MAX = 7 }; // words: struct insn_map

static unsigned opcode_reg(const struct x86_insn *insn)
{
	return (insn->opcode & 7) | (insn->rex & 1) << 3;
}

static unsigned rm_reg(const struct x86_insn *insn)
{
	return (insn->modrm & 7) | (insn->rex & 1) << 3;
}

// A push or pop of a register or a constant.
static bool is_plain_move(const struct trans *t, const struct x86_insn *insn)
{
	return (insn->class == X86_CLASS_PUSH || insn->class == X86_CLASS_POP) && !insn->mem.present &&
	       insn->opsize == word(t) &&
	       (insn->imm_size || (insn->has_modrm ? rm_reg(insn) : opcode_reg(insn)) != X86_RSP);
}

// The same, or what has nothing to do with RSP but by its address.
static bool can_follow(const struct trans *t, const struct x86_insn *insn)
{
	return is_plain_move(t, insn) ||
	       ((insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_RET) && insn->opsize == word(t));
}

static bool run_goes_on(const struct trans *t, int ahead)
{
	unsigned next = t->i + 1;
	int limit = RUN_MAX * (int)word(t);

	return is_mapped(t) && is_flat(t) && t->t->tier == TIER_HOT && !t->v->counts && next < t->n &&
	       t->next[t->i] == next && t->label_of[next] == NOWHERE && !t->poll_before[next] &&
	       ahead >= -limit && ahead <= limit && is_plain_move(t, &t->insn[t->i]) &&
	       can_follow(t, &t->insn[next]);
}

// The last that an instruction does with RSP.
void emit_rsp_add(struct trans *t, int n)
{
	n += t->ahead;
	t->ahead = run_goes_on(t, n) ? n : 0;
	if (n && !t->ahead)
		emit_lea(&t->hot, stack_addr_size(t), HOST_GUEST_RSP, mem_base(HOST_GUEST_RSP, n));
}

// push or pop of a checked 64-bit operand on the host's stack
static void emit_host_push_mem(struct emit *e)
{
	emit_op_mem(e, 4, 0xff, 6, checked_mem());
}

static void emit_host_pop_t0(struct emit *e)
{
	emit_bytes(e, (const uint8_t[]){0x41, 0x58 | (HOST_T0 & 7)}, 2);
}

static void emit_host_push_t0(struct emit *e)
{
	emit_bytes(e, (const uint8_t[]){0x41, 0x50 | (HOST_T0 & 7)}, 2);
}

// Store what lies on the host's stack into the checked operand.
void emit_host_pop_to_mem(struct trans *t, unsigned size)
{
	struct emit *e = &t->hot;

	if (size == 8) {
		emit_op_mem(e, 4, 0x8f, 0, checked_mem());
		return;
	}
	emit_lea(e, 8, HOST_T1, checked_mem());
	emit_host_pop_t0(e);
	emit_store(e, size, HOST_T0, mem_base(HOST_T1, 0));
}

static unsigned stack_size(const struct trans *t, const struct x86_insn *insn)
{
	return insn->opsize == 2 ? 2 : t->code == X86_MODE64 ? 8 : 4;
}

// The mapped form of both: the value goes through T1 when everything that takes it has been used.
static bool emit_move_mapped(struct trans *t, const struct x86_insn *insn, unsigned size, bool push)
{
	bool by_rsp = !push && insn->mem.base == X86_RSP;
	struct emit_mem stack, m;

	if (!mapped_operand(t, insn, by_rsp ? (int)size : 0, &m))
		return false;
	stack = mapped_stack(t, X86_RSP, push ? -(int)size : 0, size); // its check takes T1 alone
	emit_load(&t->hot, size, HOST_T1, push ? m : stack);
	emit_store(&t->hot, size, HOST_T1, push ? stack : m);
	return true;
}

// A register in memory goes through T0 where the operand leaves that alone, else through T1.
static struct emit_mem spill_beside(struct trans *t, const struct x86_insn *insn, struct emit_mem m)
{
	bool free = m.base != HOST_T0 && m.index != HOST_T0;

	if (!free)
		m = spill_operand(t, m);
	spill_take(t, insn, !free);
	return m;
}

void emit_push(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned size = stack_size(t, insn);

	if (insn->mem.present && emit_move_mapped(t, insn, size, true)) {
		;
	} else if (insn->mem.present) {
		emit_ea(t, insn, 0);
		emit_check(t, X86_READ, size, insn->mem.seg);
		if (size == 8) {
			emit_host_push_mem(e);
		} else {
			emit_load(e, size, HOST_T0, checked_mem());
			emit_host_push_t0(e);
		}
		t->on_stack = 8;
		emit_stack_ea(t, -(int)size);
		emit_check(t, X86_WRITE, size, X86_SS);
		t->on_stack = 0;
		emit_host_pop_to_mem(t, size);
	} else {
		struct emit_mem m = emit_stack_operand(t, -(int)size, size, X86_WRITE);

		if (insn->imm_size) {
			emit_store_imm32(e, size, (uint32_t)insn->imm, m);
		} else {
			unsigned r = insn->has_modrm ? rm_reg(insn) : opcode_reg(insn);

			m = spill_beside(t, insn, m);
			emit_store(e, size, host_of(t, r), m);
			spill_put(t, insn);
		}
		row_kept(t);
	}
	emit_rsp_add(t, -(int)size);
	emit_access_done(t);
}

void emit_pop(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned size = stack_size(t, insn);

	if (insn->mem.present && emit_move_mapped(t, insn, size, false)) {
		emit_rsp_add(t, (int)size);
	} else if (insn->mem.present) { // an address that uses RSP uses its value after the pop
		bool by_rsp = insn->mem.base == X86_RSP;

		emit_stack_ea(t, 0);
		emit_check(t, X86_READ, size, X86_SS);
		emit_load(e, size, HOST_T0, checked_mem());
		emit_host_push_t0(e);
		t->on_stack = 8;
		emit_ea(t, insn, by_rsp ? (int)size : 0);
		emit_check(t, X86_WRITE, size, insn->mem.seg);
		t->on_stack = 0;
		emit_host_pop_to_mem(t, size);
		emit_rsp_add(t, (int)size);
	} else {
		unsigned r = insn->has_modrm ? rm_reg(insn) : opcode_reg(insn);
		struct emit_mem m = emit_stack_operand(t, 0, size, X86_READ);

		if (r == X86_RSP) {
			emit_op_mem(e, size, 0x8b, HOST_GUEST_RSP, m);
		} else if (t->lost) {
			m = spill_beside(t, insn, m);
			emit_op_mem(e, size, 0x8b, host_of(t, r), m);
			spill_put(t, insn);
			emit_rsp_add(t, (int)size);
		} else {
			emit_op_mem(e, size, 0x8b, host_of(t, r), m);
			emit_rsp_add(t, (int)size);
		}
		row_kept(t);
	}
	emit_access_done(t);
}

void emit_leave_insn(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned size = stack_size(t, insn), addr = stack_addr_size(t), rbp = host_of(t, X86_RBP);

	if (is_mapped(t)) {
		emit_load(e, size, HOST_T1, mapped_stack(t, X86_RBP, 0, size));
		emit_lea(e, addr, HOST_GUEST_RSP, mem_base(rbp, (int)size));
		emit_op_rr(e, size, 0x89, HOST_T1, rbp);
		return;
	}
	if (addr == 2)
		emit_movzwl(e, HOST_T0, rbp);
	else
		emit_mov(e, addr, HOST_T0, rbp);
	emit_check(t, X86_READ, size, X86_SS);
	emit_lea(e, addr, HOST_GUEST_RSP, mem_base(rbp, (int)size));
	emit_op_mem(e, size, 0x8b, rbp, checked_mem());
	emit_access_done(t);
}
