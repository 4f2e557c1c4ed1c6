// SPDX-License-Identifier: MIT
//
// Near transfers in code segments that have a base or a limit (elsewhere translated code does them): RIP is an offset,
// and a target beyond the limit is #GP(0) at the branch. And those with 16-bit operands in 64-bit code of AMD's models.
#include "cpu/insn.h"

static uint64_t checked_target(struct vcpu *v, const struct x86_insn *i, uint64_t target)
{
	target &= size_mask(i->opsize);
	if (target > v->seg[X86_CS].limit && i->mode != X86_MODE64)
		vcpu_raise(v, VEC_GP, 0);
	return target;
}

static void go(struct vcpu *v, const struct x86_insn *i, uint64_t target)
{
	v->rip = checked_target(v, i, target);
}

static void go_relative(struct vcpu *v, const struct x86_insn *i)
{
	go(v, i, insn_next(v, i) + i->imm);
}

void insn_jmp(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	go_relative(v, i);
}

// Condition codes come in pairs: the odd one is the other's opposite.
static bool holds(const struct vcpu *v, unsigned cond)
{
	bool sf = v->rflags & RFLAGS_SF, of = v->rflags & RFLAGS_OF, zf = v->rflags & RFLAGS_ZF, is = false;

	switch (cond >> 1) {
	case 0: is = of; break;
	case 1: is = v->rflags & RFLAGS_CF; break;
	case 2: is = zf; break;
	case 3: is = v->rflags & RFLAGS_CF || zf; break;
	case 4: is = sf; break;
	case 5: is = v->rflags & RFLAGS_PF; break;
	case 6: is = sf != of; break;
	case 7: is = zf || sf != of; break;
	}
	return is != (cond & 1);
}

void insn_jcc(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (holds(v, i->cond))
		go_relative(v, i);
	else
		v->rip = insn_next(v, i);
}

enum { OP_LOOPNE = 0xe0, OP_LOOPE = 0xe1, OP_LOOP = 0xe2, OP_JCXZ = 0xe3 };

void insn_loop(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t count = gpr_read(v, X86_RCX, i->addrsize) - (i->opcode != OP_JCXZ);
	bool zf = v->rflags & RFLAGS_ZF, taken = count & size_mask(i->addrsize);

	if (i->opcode == OP_JCXZ)
		taken = !taken;
	if (i->opcode == OP_LOOPE || i->opcode == OP_LOOPNE)
		taken = taken && zf == (i->opcode == OP_LOOPE);
	if (taken)
		go_relative(v, i);
	else
		v->rip = insn_next(v, i);
	gpr_write(v, X86_RCX, i->addrsize, count);
}

static void call_to(struct vcpu *v, const struct x86_insn *i, uint64_t target)
{
	struct stack st = stack_current(v);
	uint64_t next = insn_next(v, i);

	target = checked_target(v, i, target);
	stack_push(v, &st, next, i->opsize);
	stack_commit(v, &st);
	v->rip = target;
}

void insn_call(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	call_to(v, i, insn_next(v, i) + i->imm);
}

static uint64_t operand(struct vcpu *v, const struct x86_insn *i)
{
	return insn_rm_is_reg(i) ? gpr_read(v, insn_rm(i), i->opsize) : insn_read_mem(v, i, 0, i->opsize);
}

void insn_jmp_ind(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	go(v, i, operand(v, i));
}

void insn_call_ind(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	call_to(v, i, operand(v, i));
}

void insn_ret(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);

	go(v, i, stack_pop(v, &st, i->opsize));
	if (i->imm_size)
		stack_skip(&st, i->imm & 0xffff);
	stack_commit(v, &st);
}

void insn_near16(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	enum { GROUP5 = 0xff, GROUP5_CALL = 2, CALL = 0xe8 };

	if (i->map)
		insn_jcc(v, i, res);
	else if (i->opcode == GROUP5)
		(insn_group(i) == GROUP5_CALL ? insn_call_ind : insn_jmp_ind)(v, i, res);
	else if (i->opcode >= CALL)
		(i->opcode == CALL ? insn_call : insn_jmp)(v, i, res);
	else if (i->opcode >= OP_LOOPNE)
		insn_loop(v, i, res);
	else
		(i->opcode < 0x80 ? insn_jcc : insn_ret)(v, i, res);
}
