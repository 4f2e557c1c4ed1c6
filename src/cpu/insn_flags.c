// SPDX-License-Identifier: MIT
//
// Instructions on RFLAGS: CLI, STI, PUSHF, POPF, CLAC, STAC, by IOPL and CPL. Virtual interrupts (CR4.PVI) and
// virtual-8086 mode are not built.
#include "cpu/insn.h"

static unsigned iopl(const struct vcpu *v)
{
	return (v->rflags & RFLAGS_IOPL) >> 12;
}

static void check_iopl(struct vcpu *v)
{
	if (!vcpu_protected(v) || v->cpl <= iopl(v))
		return;
	if (v->cpl == 3 && v->cr4 & CR4_PVI)
		vcpu_nyi(v, "protected-mode virtual interrupts");
	vcpu_raise(v, VEC_GP, 0);
}

void insn_cli(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	check_iopl(v);
	flags_put(v, RFLAGS_IF, false);
}

void insn_sti(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	check_iopl(v);
	if (v->rflags & RFLAGS_IF)
		return;
	flags_put(v, RFLAGS_IF, true);
	v->shadow |= SHADOW_STI;
	res->effect |= SYS_SHADOW;
}

void insn_pushf(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);

	stack_push(v, &st, v->rflags & ~(uint64_t)(RFLAGS_VM | RFLAGS_RF), insn_stack_size(i));
	stack_commit(v, &st);
}

void insn_popf(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t may = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;
	struct stack st = stack_current(v);
	unsigned size = insn_stack_size(i);
	uint64_t value = stack_pop(v, &st, size);

	if (size != 2)
		may |= RFLAGS_AC | RFLAGS_ID;
	if (v->cpl == 0)
		may |= RFLAGS_IOPL;
	if (v->cpl <= iopl(v))
		may |= RFLAGS_IF;
	v->rflags = (v->rflags & ~(may | RFLAGS_RF)) | (value & may) | RFLAGS_FIXED1;
	stack_commit(v, &st);
}

static void put_ac(struct vcpu *v, bool set)
{
	if (v->cpl)
		vcpu_raise(v, VEC_UD, 0);
	flags_put(v, RFLAGS_AC, set);
}

void insn_clac(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	put_ac(v, false);
}

void insn_stac(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	put_ac(v, true);
}
