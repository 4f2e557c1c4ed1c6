// SPDX-License-Identifier: MIT
//
// CPUID, time stamps, MSRs, HLT and the few others about the processor itself; and #UD for all that this processor has
// not got.
#include "base/assert.h"
#include "cpu/insn.h"
#include "cpu/lapic.h"

void insn_ud(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	vcpu_raise(v, VEC_UD, 0);
}

void insn_nothing(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
}

void insn_cpuid(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct cpuid_regs r = cpuid_query(v, v->gpr[X86_RAX], v->gpr[X86_RCX]);

	v->gpr[X86_RAX] = r.eax;
	v->gpr[X86_RBX] = r.ebx;
	v->gpr[X86_RCX] = r.ecx;
	v->gpr[X86_RDX] = r.edx;
}

static void put_edx_eax(struct vcpu *v, uint64_t value)
{
	v->gpr[X86_RAX] = (uint32_t)value;
	v->gpr[X86_RDX] = value >> 32;
}

void insn_rdtsc(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (v->cpl && v->cr4 & CR4_TSD)
		vcpu_raise(v, VEC_GP, 0);
	put_edx_eax(v, vcpu_tsc(v));
}

void insn_rdtscp(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	insn_rdtsc(v, i, res);
	v->gpr[X86_RCX] = (uint32_t)v->tsc_aux;
}

// There are no performance counters: every index is out of range.
void insn_rdpmc(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t value;

	if ((v->cpl && v->cr0 & CR0_PE && !(v->cr4 & CR4_PCE)) || !pmu_rdpmc(v, (uint32_t)v->gpr[X86_RCX], &value))
		vcpu_raise(v, VEC_GP, 0);
	put_edx_eax(v, value);
}

void insn_rdpid(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	gpr_write(v, insn_rm(i), i->mode == X86_MODE64 ? 8 : 4, (uint32_t)v->tsc_aux);
}

void insn_rdmsr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t value;

	if (!msr_read(v, v->gpr[X86_RCX], &value))
		vcpu_raise(v, VEC_GP, 0);
	put_edx_eax(v, value);
}

void insn_wrmsr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t value = v->gpr[X86_RDX] << 32 | (uint32_t)v->gpr[X86_RAX];

	if (!msr_write(v, v->gpr[X86_RCX], value, res))
		vcpu_raise(v, VEC_GP, 0);
}

// RBX and RCX are a bitmap of APIC IDs from RDX on; RSI is an ICR's low half. Returns how many it was sent to.
static int64_t send_ipis(struct vcpu *v, unsigned size)
{
	enum { INVALID = -22 };
	uint64_t map[2] = {gpr_read(v, X86_RBX, size), gpr_read(v, X86_RCX, size)};
	uint64_t first = gpr_read(v, X86_RDX, size), icr = gpr_read(v, X86_RSI, size);
	struct lapic_message m = {.wide = true, .vector = (uint8_t)icr, .mode = icr >> 8 & 7};
	int64_t sent = 0;

	if (m.mode != LAPIC_FIXED && m.mode != LAPIC_NMI)
		return INVALID;
	for (unsigned n = 0; n < 16 * size; n++) {
		m.dest = (uint32_t)first + n;
		if (map[n / (8 * size)] >> n % (8 * size) & 1 && first + n < UINT32_MAX)
			sent += lapic_send(v, &m);
	}
	return sent;
}

// VMCALL on Intel's processors, VMMCALL on AMD's: KVM's hypercalls, where CPUID says that this is KVM. Of those that it
// offers no feature for only IPIs are there: they are asked for without looking at CPUID. All others are unknown.
void insn_vmcall(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	enum { VMCALL = 0xc1, VMMCALL = 0xd9, SEND_IPI = 10, UNKNOWN = -1000, NOT_PERMITTED = -1 };
	unsigned size = vcpu_code64(v) ? 8 : 4;
	int64_t result = UNKNOWN;

	if (i->opcode != 0x01 || i->modrm != (v->amd ? VMMCALL : VMCALL) || !msr_offers_kvm(v))
		vcpu_raise(v, VEC_UD, 0);
	if (v->cpl)
		result = NOT_PERMITTED;
	else if (gpr_read(v, X86_RAX, size) == SEND_IPI)
		result = send_ipis(v, size);
	gpr_write(v, X86_RAX, size, (uint64_t)result);
}

void insn_hlt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	v->activity = VCPU_HALTED;
	res->effect |= SYS_HALT;
}

void insn_monitor(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (v->cpl)
		vcpu_raise(v, VEC_UD, 0);
}

// A wake-up may come at any time, so waiting at all is a courtesy: wait as HLT does when an interrupt can end it.
void insn_mwait(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (v->cpl)
		vcpu_raise(v, VEC_UD, 0);
	if (v->rflags & RFLAGS_IF)
		insn_hlt(v, i, res);
}

// With more vCPUs than processors: who waits for another lets it run.
void insn_pause(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	vmm_yield(v);
}

void insn_pkru(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (!(v->cr4 & CR4_PKE))
		vcpu_raise(v, VEC_UD, 0);
	if ((uint32_t)v->gpr[X86_RCX] || (i->class == X86_CLASS_WRPKRU && (uint32_t)v->gpr[X86_RDX]))
		vcpu_raise(v, VEC_GP, 0);
	if (i->class == X86_CLASS_RDPKRU) {
		put_edx_eax(v, v->pkru);
		return;
	}
	if (mmu_keys_matter(v, v->pkru ^ (uint32_t)v->gpr[X86_RAX]))
		res->effect |= SYS_FLUSH_ALL;
	v->pkru = (uint32_t)v->gpr[X86_RAX];
}
