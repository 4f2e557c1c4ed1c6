// SPDX-License-Identifier: MIT
//
// Instructions that the host cannot run in user mode, and the delivery of exceptions and interrupts: C code on the
// canonical state. Called by the run loop (and, for some, straight from translated code through a callout) with the
// decoded instruction and v->rip at it. On normal return v->rip is the next instruction to execute.
#ifndef CPU_SYSTEM_H
#define CPU_SYSTEM_H

#include "cpu/vcpu.h"
#include "x86/decode.h"
#include "x86/features.h"

// What a system instruction may have changed that bt/ must react to.
enum sys_effect {
	SYS_NONE = 0,
	SYS_FLUSH_TLB = BIT(0),  // all non-global translations (CR3 write)
	SYS_FLUSH_ALL = BIT(1),  // all translations, global ones too (CR0, CR4, EFER changes)
	SYS_FLUSH_PAGE = BIT(2), // the page at v->flush_gva: passed through sys_result
	SYS_HALT = BIT(3),       // v->activity says what to do
	SYS_SHADOW = BIT(4),     // v->shadow was set: no interrupt before the next instruction has run
	SYS_NO_TRAP = BIT(5),    // no single-step trap after it although TF was set: INT n and kin, SYSCALL that masks TF
	SYS_KEEP_RF = BIT(6),    // IRET has set RF for the instruction it returns to: do not clear it
};

struct sys_result {
	uint32_t effect;   // enum sys_effect
	gva_t flush_gva;   // SYS_FLUSH_PAGE
	uint16_t flush_pcid;
	bool flush_pcid_valid; // the flush concerns flush_pcid only (INVPCID, CR3 write with PCIDs)
	bool flush_keep;       // SYS_FLUSH_TLB from a CR3 write with bit 63: the address space changes, but what is known
			       // of the new PCID may be kept
};

// Execute one system instruction (every class that is not run by the host: see by_class in bt/). Faults through
// vcpu_raise. MEMORY operands are computed from v->gpr.
void sys_execute(struct vcpu *v, const struct x86_insn *insn, struct sys_result *res);

// The linear address of insn's explicit memory operand, from v->gpr and the segment bases; wraps by address size.
gva_t sys_effective_address(const struct vcpu *v, const struct x86_insn *insn);

// Deliver v->fault (an exception raised by vcpu_raise), with the double- and triple-fault rules of the SDM,
// "Interrupt 8 - Double Fault Exception". A triple fault sets v->activity = VCPU_SHUTDOWN.
// May itself fault: the run loop calls it under its landing point and calls it again (contributory rules inside).
void sys_deliver_fault(struct vcpu *v, struct sys_result *res);

// Deliver an external interrupt, an NMI, or a software interrupt (INT n, INT3, INTO: v->rip already after it).
enum sys_interrupt { SYS_INT_EXTERNAL, SYS_INT_NMI, SYS_INT_SOFTWARE, SYS_INT_PRIVILEGED /* INT1 */ };
void sys_deliver_interrupt(struct vcpu *v, uint8_t vector, enum sys_interrupt kind, struct sys_result *res);

// Power-on / INIT state, by the SDM's table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
// The TSC starts at 0; v->index is kept; the local APIC is reset if lapic_init was called. v->xsave holds the x87 and
// SSE state to load.
void vcpu_reset(struct vcpu *v, struct shared *sh);

// An INIT (the boot processor restarts at the reset vector, another waits for a SIPI), and the SIPI in v->sipi_vector.
void vcpu_init(struct vcpu *v);
void vcpu_sipi(struct vcpu *v);

// What firmware would have left in the boot processor for a kernel that is entered without any: memory types, local
// APIC in virtual wire mode.
void vcpu_firmware_setup(struct vcpu *v);

// CPUID as the guest sees it, from the model in shared.config and v's state (OSXSAVE, APIC id, XSAVE sizes).
struct cpuid_regs { uint32_t eax, ebx, ecx, edx; };
struct cpuid_regs cpuid_query(const struct vcpu *v, uint32_t leaf, uint32_t subleaf);

// Does the guest's CPUID model offer the feature that insn->feature names, in v's present state?
// Reads a bitmap, fast. Whether CR4 and XCR0 have enabled the state the instruction uses is another question.
static inline bool cpuid_has(const struct vcpu *v, uint16_t feature)
{
	return v->features[feature / 64] >> (feature % 64) & 1;
}

// Compute what v caches of the model: features, cr4_valid, xcr0_valid, efer_valid, phys_bits, amd. By vcpu_reset, and
// again when IA32_APIC_BASE or IA32_MISC_ENABLE has hidden or shown a feature.
void cpuid_refresh(struct vcpu *v);

// MSRs by table. False: #GP(0). res as for sys_execute.
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res);
// The offset in struct vcpu of the 64 bits that a read gives, for those of which no more is to be known; or 0. Good
// until cpuid_refresh.
uint32_t msr_field(const struct vcpu *v, uint32_t msr);
// MSRs, GDTR, IDTR, TR and LDTR hold the widest addresses that the processor can have, whatever CR4.LA57 is.
static inline bool sys_base_valid(const struct vcpu *v, uint64_t a)
{
	unsigned unused = cpuid_has(v, X86_FEATURE_LA57) ? 64 - 57 : 64 - 48;

	return (uint64_t)((int64_t)(a << unused) >> unused) == a;
}

const char *msr_name(uint32_t msr); // "?" if unknown
bool msr_offers_kvm(const struct vcpu *v); // does CPUID say that KVM is there?

// kvmclock's pages, at gpa with bit 0 as enable. False: not in RAM.
bool kvmclock_set_system_time(struct vcpu *v, uint64_t value);
bool kvmclock_set_wall_clock(struct vcpu *v, uint64_t gpa);
void kvmclock_update(struct vcpu *v); // the guest's TSC was set: tell the page again

#endif
