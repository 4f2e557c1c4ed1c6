// SPDX-License-Identifier: MIT
//
// Instructions that transfer control through descriptors: operands are read here, the transfer itself is far.c's,
// iret.c's, delivery.c's or syscall.c's.
#include "cpu/insn.h"
#include "cpu/transfer.h"

enum { PTR_IN_CODE_JMP = 0xea, PTR_IN_CODE_CALL = 0x9a, RET_FAR_IMM = 0xca };

struct far_pointer {
	uint16_t sel;
	uint64_t off;
};

static struct far_pointer far_operand(struct vcpu *v, const struct x86_insn *i)
{
	struct far_pointer p;

	if (i->opcode == PTR_IN_CODE_JMP || i->opcode == PTR_IN_CODE_CALL)
		return (struct far_pointer){i->imm2, i->imm & size_mask(i->opsize)};
	p.off = insn_read_mem(v, i, 0, insn_offset_size(v, i));
	p.sel = insn_read_mem(v, i, insn_offset_size(v, i), 2);
	return p;
}

void insn_jmp_far(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct far_pointer p = far_operand(v, i);

	far_jump(v, p.sel, p.off, insn_next(v, i));
}

void insn_call_far(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct far_pointer p = far_operand(v, i);

	far_call(v, p.sel, p.off, i->opsize, insn_next(v, i));
}

void insn_ret_far(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	far_return(v, i->opsize, i->opcode == RET_FAR_IMM ? i->imm : 0);
}

void insn_iret(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	far_iret(v, i->opsize, insn_next(v, i));
}

void insn_int(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (!v86_int(v, i->imm, insn_next(v, i)))
		delivery_software(v, i->imm, SYS_INT_SOFTWARE, insn_next(v, i));
}

void insn_int1(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	delivery_software(v, VEC_DB, SYS_INT_PRIVILEGED, insn_next(v, i));
}

void insn_int3(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	delivery_software(v, VEC_BP, SYS_INT_SOFTWARE, insn_next(v, i));
}

void insn_into(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (v->rflags & RFLAGS_OF)
		delivery_software(v, VEC_OF, SYS_INT_SOFTWARE, insn_next(v, i));
	else
		v->rip = insn_next(v, i);
}

void insn_syscall(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	syscall_enter(v, insn_next(v, i));
}

void insn_sysret(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	syscall_return(v, i->rex & REX_W ? 8 : 4);
}

void insn_sysenter(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	sysenter_enter(v);
}

void insn_sysexit(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	sysenter_return(v, i->rex & REX_W ? 8 : 4);
}
