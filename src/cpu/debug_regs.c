// SPDX-License-Identifier: MIT
//
// MOV to and from debug registers: DR4 and DR5 are names of DR6 and DR7 unless CR4.DE; DR7.GD makes every access a #DB.
// Watching for the breakpoints is bt/'s: a write of DR7 changes the translation mode.
#include "cpu/insn.h"

enum { DR6_BD = BIT(13), DR7_GD = BIT(13), DR7_ONES = BIT(10) };
#define DR6_ONES 0xffff0ff0u
#define DR6_WRITABLE 0x0000e00fu
#define DR7_WRITABLE 0xffff23ffu

static unsigned which_dr(struct vcpu *v, const struct x86_insn *i)
{
	unsigned n = insn_reg(i);

	if (n > 7 || ((n == 4 || n == 5) && v->cr4 & CR4_DE))
		vcpu_raise(v, VEC_UD, 0);
	if (v->cpl)
		vcpu_raise(v, VEC_GP, 0);
	if (v->dr[7] & DR7_GD)
		vcpu_raise_db(v, DR6_BD);
	return n == 4 || n == 5 ? n + 2 : n;
}

static unsigned register_size(const struct x86_insn *i)
{
	return i->mode == X86_MODE64 ? 8 : 4;
}

void insn_mov_from_dr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	unsigned n = which_dr(v, i);

	gpr_write(v, insn_rm(i), register_size(i), v->dr[n]);
}

void insn_mov_to_dr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	unsigned n = which_dr(v, i);
	uint64_t value = gpr_read(v, insn_rm(i), register_size(i));

	if (n >= 6 && value >> 32)
		vcpu_raise(v, VEC_GP, 0);
	if (n == 6)
		value = (value & DR6_WRITABLE) | DR6_ONES;
	else if (n == 7)
		value = (value & DR7_WRITABLE) | DR7_ONES;
	v->dr[n] = value;
}
