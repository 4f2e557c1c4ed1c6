// SPDX-License-Identifier: MIT
//
// Instructions on RFLAGS: CLI, STI, PUSHF, POPF, CLAC, STAC, by IOPL and CPL; where these are not allowed v86.c may
// have a virtual interrupt flag.
#include "cpu/insn.h"
#include "cpu/transfer.h"

static unsigned iopl(const struct vcpu *v)
{
	return (v->rflags & RFLAGS_IOPL) >> 12;
}

// False: it was the virtual flag's turn.
static bool may_change_if(struct vcpu *v, bool set)
{
	if (v->cpl <= iopl(v))
		return true;
	if (!v86_set_vif(v, set))
		vcpu_raise(v, VEC_GP, 0);
	return false;
}

void insn_cli(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (may_change_if(v, false))
		flags_put(v, RFLAGS_IF, false);
}

void insn_sti(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (!may_change_if(v, true) || v->rflags & RFLAGS_IF)
		return;
	flags_put(v, RFLAGS_IF, true);
	v->shadow |= SHADOW_STI;
	res->effect |= SYS_SHADOW;
}

void insn_pushf(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);

	stack_push(v, &st, v86_pushed_flags(v, insn_stack_size(i)), insn_stack_size(i));
	stack_commit(v, &st);
}

void insn_popf(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t may = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;
	struct stack st = stack_current(v);
	unsigned size = insn_stack_size(i);
	uint64_t value = stack_pop(v, &st, size);

	if (vcpu_v86(v) && v86_popf(v, value, size)) {
		stack_commit(v, &st);
		return;
	}
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
