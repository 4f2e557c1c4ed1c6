// SPDX-License-Identifier: MIT
//
// SYSCALL, SYSRET, SYSENTER, SYSEXIT. They load flat segments without looking at descriptors. Intel and AMD differ:
// Intel knows SYSCALL in 64-bit mode only, AMD knows SYSENTER outside long mode only, and a SYSRET to a non-canonical
// address faults at level 0 on Intel, at the target on AMD. The vendor is the CPUID model's.
#include "cpu/transfer.h"

enum { STAR_SYSCALL = 32, STAR_SYSRET = 48, SYSRET_FLAGS = 0x3c7fd7 };

static void load(struct vcpu *v, uint16_t cs, uint16_t ss, unsigned cpl, bool code64, uint64_t rip)
{
	v->seg[X86_CS] = segment_flat_code(cs, cpl, code64);
	v->seg[X86_SS] = segment_flat_data(ss, cpl);
	v->cpl = cpl;
	v->rip = rip;
}

void syscall_enter(struct vcpu *v, uint64_t next)
{
	uint16_t cs = v->star >> STAR_SYSCALL & SEL_ERROR;
	bool code64 = vcpu_code64(v);

	if (!(v->efer & EFER_SCE) || (!code64 && !v->amd))
		vcpu_raise(v, VEC_UD, 0);
	v->gpr[X86_RCX] = next;
	if (!vcpu_long_mode(v)) {
		load(v, cs, cs + 8, 0, false, (uint32_t)v->star);
		v->rflags &= ~(uint64_t)(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
		return;
	}
	v->gpr[X86_R11] = v->rflags & ~(uint64_t)RFLAGS_RF;
	v->rflags = (v->rflags & ~(v->fmask | RFLAGS_RF)) | RFLAGS_FIXED1;
	load(v, cs, cs + 8, 0, true, code64 ? v->lstar : v->cstar);
}

void syscall_return(struct vcpu *v, unsigned opsize)
{
	uint16_t base = v->star >> STAR_SYSRET;
	uint64_t rip = v->gpr[X86_RCX];
	bool amd = v->amd, code64 = opsize == 8;

	if (!(v->efer & EFER_SCE) || (!amd && !vcpu_code64(v)))
		vcpu_raise(v, VEC_UD, 0);
	if (v->cpl || !vcpu_protected(v) || (code64 && !amd && !vcpu_canonical(v, rip)))
		vcpu_raise(v, VEC_GP, 0);
	if (vcpu_long_mode(v))
		v->rflags = (v->gpr[X86_R11] & SYSRET_FLAGS) | RFLAGS_FIXED1;
	else
		v->rflags |= RFLAGS_IF;
	load(v, (code64 ? base + 16 : base) | SEL_RPL, (base + 8) | SEL_RPL, 3, code64, code64 ? rip : (uint32_t)rip);
}

void sysenter_enter(struct vcpu *v)
{
	uint16_t cs = v->sysenter_cs & SEL_ERROR;
	bool long_mode = vcpu_long_mode(v);

	if (long_mode && v->amd)
		vcpu_raise(v, VEC_UD, 0);
	if (!(v->cr0 & CR0_PE) || !cs)
		vcpu_raise(v, VEC_GP, 0);
	v->rflags &= ~(uint64_t)(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
	v->gpr[X86_RSP] = long_mode ? v->sysenter_esp : (uint32_t)v->sysenter_esp;
	load(v, cs, cs + 8, 0, long_mode, long_mode ? v->sysenter_eip : (uint32_t)v->sysenter_eip);
}

void sysenter_return(struct vcpu *v, unsigned opsize)
{
	uint16_t cs = v->sysenter_cs & SEL_ERROR;
	uint64_t rip = v->gpr[X86_RDX], rsp = v->gpr[X86_RCX];
	bool code64 = opsize == 8;

	if (!vcpu_protected(v) || v->cpl)
		vcpu_raise(v, VEC_GP, 0);
	if (vcpu_long_mode(v) && v->amd)
		vcpu_raise(v, VEC_UD, 0);
	if (!cs)
		vcpu_raise(v, VEC_GP, 0);
	if (code64 && !(vcpu_canonical(v, rip) && vcpu_canonical(v, rsp)))
		vcpu_raise(v, VEC_GP, 0);
	v->gpr[X86_RSP] = code64 ? rsp : (uint32_t)rsp;
	cs += code64 ? 32 : 16;
	load(v, cs | SEL_RPL, (cs + 8) | SEL_RPL, 3, code64, code64 ? rip : (uint32_t)rip);
}
