// SPDX-License-Identifier: MIT
//
// struct vcpu: the architectural state of one virtual processor, and what C code may do with it.
//
// The canonical form: outside the translation cache every register is here, except the x87/SSE/AVX/AVX-512 state,
// which lives in the host's own registers at all times (monitor code is compiled -mgeneral-regs-only).
// vcpu.gpr[], rip, rflags are exact whenever C code of cpu/ runs; rip is the address of the instruction being executed
// until the handler says otherwise.
//
// Mapped at ZONE_VCPU(i) in both programs; the app looks only while the vCPU is stopped. The host's GS base points
// here.
#ifndef CPU_VCPU_H
#define CPU_VCPU_H

#include "base/jump.h"
#include "base/types.h"
#include "bus/shared.h"
#include "cpu/lapic.h"
#include "cpu/pmu.h"
#include "mem/mem.h"
#include "x86/regs.h"

struct x86_seg {
	uint16_t sel;
	uint16_t pad;
	uint32_t attr;  // enum x86_seg_attr
	uint32_t limit; // bytes, granularity applied
	uint32_t pad2;
	uint64_t base;
};

struct x86_table { // GDTR, IDTR
	uint64_t base;
	uint32_t limit;
	uint32_t pad;
};

// Why the vCPU must leave translated code at the next poll; several at once. Set by other threads and by signal
// handlers with an atomic or; cleared by the run loop.
enum vcpu_pending {
	PENDING_IRQ = BIT(0),     // look at local APIC / PIC
	PENDING_TIMER = BIT(1),   // a virtual timer has expired
	PENDING_NMI = BIT(2),
	PENDING_INIT = BIT(3),
	PENDING_SIPI = BIT(4),
	PENDING_STOP = BIT(5),    // the app wants the vCPU stopped (gdb, quit)
	PENDING_FLUSH = BIT(6),   // translations or TLB must be thrown away before going on
	PENDING_STEP = BIT(7),    // --stress=irq, TF and other reasons for one unit at a time
	PENDING_LINES = BIT(8),   // a device of the app changed an interrupt line: see shared.irq_lines
	PENDING_PEERS = BIT(9),   // messages wait: see bus/peers.h
	PENDING_MOVED = BIT(10),  // the frame buffer is elsewhere: TLBs must be emptied
};

enum vcpu_activity { VCPU_RUNNING, VCPU_HALTED, VCPU_WAIT_SIPI, VCPU_SHUTDOWN };

// Interrupt shadows: set by the instruction, cleared by the run loop after the next one has completed.
enum vcpu_shadow { SHADOW_STI = BIT(0), SHADOW_MOV_SS = BIT(1) };

struct vcpu_fault { // an exception raised by vcpu_raise, to be delivered
	uint8_t vector;
	bool has_error;
	bool pending;
	uint32_t error;
	uint64_t cr2;     // for #PF
	uint64_t dr6;     // bits to set in DR6, for #DB
};

enum { XSAVE_AREA_MAX = 4096, EXIT_LOG = 32 };

struct vcpu_exit { // one of the last exits from translated code, for the crash report (vcpu_log_exit)
	const char *what; // a constant string of the monitor
	uint64_t rip, info;
};

// The event whose delivery is under way: a fault raised now happened during that delivery. Owned by delivery.c.
struct vcpu_delivering {
	bool active;
	bool exception; // an exception: counts for double faults; else an interrupt
	bool software;  // INT n, INT3, INTO: a fault's error code has EXT clear
	uint8_t vector;
};

// What the page walk needs from the CPUID model; filled at the first walk (zeros: not yet). Owned by mmu.c.
struct mmu_model {
	uint64_t reserved; // physical-address bits that must be 0 in an entry: MAXPHYADDR up to 51
	bool pages_1g;
	bool valid;
	uint16_t keys; // protection keys that pages have had which a walk has found, with CR4.PKE or PKS
};

// The accessed and dirty bits that walks have set, for somebody who may want to take them back.
enum { MMU_MARKS = 64 };
struct mmu_marks {
	uint32_t n; // more than MMU_MARKS: not all were noted
	struct {
		uint32_t *entry, bits; // they lie in its lower half
	} set[MMU_MARKS];
};

struct vcpu {
	// -- hot: addressed by translated code. Order of gpr[] is the architecture's (ORDER GPR: bt/ depends on it)
	uint64_t gpr[X86_GPRS];
	uint64_t rip;
	uint64_t rflags;          // exact in C; in translated code the arithmetic flags and DF live in the host's RFLAGS
	_Atomic uint32_t pending; // enum vcpu_pending
	uint32_t index;
	uint64_t tsc_offset;      // guest TSC = vcpu_cycles + tsc_offset
	struct x86_seg seg[X86_SREGS];
	uint64_t seg_room[X86_SREGS][2]; // bt/'s: how far reads and writes may reach without a look (segment.c there)
	uint64_t bt[64];          // slots owned by bt/ (spills, current unit, host stack pointer, ...): see bt/slots.h

	// -- control state
	struct x86_seg ldtr, tr;
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t efer, xcr0, xss;
	uint64_t dr[8];           // dr[4], dr[5] unused
	uint8_t cpl;              // current privilege level, kept equal to SS.DPL
	uint8_t shadow;           // enum vcpu_shadow
	uint8_t activity;         // enum vcpu_activity
	bool nmi_blocked;         // between NMI delivery and IRET
	uint64_t pae_pdpte[4];
	bool a20_masked;          // as of shared.a20_masked

	// -- --deterministic: the machine's clock is a count of instructions, at 1 GHz, and of the time skipped in HLT
	bool counting;
	bool counts;              // translated code counts instructions: with that, and for performance counters
	int64_t count_left;       // down from when it was set, by each unit at its entry; negative: the unit must not run
	uint64_t count_end;       // the count when count_left is 0
	uint64_t count_skipped;

	// -- MSRs
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint32_t pkru;
	uint64_t pkrs;
	uint64_t pat, tsc_aux, tsc_adjust, apic_base, misc_enable, spec_ctrl, debugctl;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
	uint64_t kvm_system_time, kvm_wall_clock;
	uint64_t mcg_status, bios_sign, hwcr, syscfg, de_cfg, vm_hsave;

	// -- interrupts
	struct lapic lapic;
	struct pmu pmu;
	_Atomic uint32_t nmis;    // that came since the run loop looked
	uint8_t sipi_vector;      // of the last SIPI, valid with PENDING_SIPI

	// -- identity: from the CPUID model, by cpuid_refresh
	uint64_t features[4];     // bitmap over enum x86_feature: see cpuid_has
	uint64_t cr4_valid;       // CR4 bits that the model lets the guest set
	uint64_t xcr0_valid;      // XCR0 bits likewise (the rules between them are XSETBV's)
	uint64_t efer_valid;
	uint8_t phys_bits;        // MAXPHYADDR
	bool amd;                 // the model's vendor is AMD (or Hygon)

	// -- delivery
	struct vcpu_fault fault;
	struct vcpu_delivering delivering;

	struct mmu_model mmu;
	struct mmu_marks *marks; // NULL: nobody asks

	// -- the monitor's own: where vcpu_raise lands (set by the run loop), configuration, and what happened last
	struct jump landing;
	struct shared *shared;
	struct peers *peers; // NULL in tests of one processor
	uint32_t nexits; // runs freely; exits[nexits % EXIT_LOG] is the oldest
	struct vcpu_exit exits[EXIT_LOG];

	// -- for the app: x87/SSE/AVX state, stored by the run loop whenever the vCPU stops, loaded when it resumes
	uint8_t xsave[XSAVE_AREA_MAX] __attribute__((aligned(64)));
};

// -- What C code of the monitor may do -------------------------------------------------------------------------------

// Memory access by linear address, through the guest's paging. Access kinds: READ or WRITE or FETCH, as USER (CPL 3
// rules) or as supervisor; IMPLICIT supervisor accesses (descriptor tables, TSS, stack at delivery) ignore EFLAGS.AC.
enum vmem_access {
	VMEM_READ = BIT(0), VMEM_WRITE = BIT(1), VMEM_FETCH = BIT(2), VMEM_USER = BIT(3), VMEM_IMPLICIT = BIT(4),
};

struct mmu_walk {
	gpa_t gpa;          // physical address of the byte asked for
	uint64_t page_size; // 4 KiB, 2 MiB, 4 MiB, 1 GiB; the size of the mapping found
	bool user, write, exec; // what the guest's tables allow in principle (user bit, writable bit, not NX), all levels
	bool dirty;         // the leaf's D bit is set
	bool accessed;      // the A bits are set, all levels
	bool global;        // the leaf's G bit counts (CR4.PGE)
	uint8_t pat;        // memory type index: PAT, PCD, PWT
	uint8_t pkey;
	uint32_t error;     // the #PF error code if it returned false
};

// Walk the guest's page tables for one access, by the SDM's "4-Level Paging" and "Access Rights". Sets A, and D for a
// write, when and only when the access is allowed. False means #PF with out->error; nothing is raised.
// Works with paging off too, and in the PAE and 32-bit formats; LA57 is not built.
bool mmu_walk(struct vcpu *v, gva_t gva, enum vmem_access access, struct mmu_walk *out);

// The same without any effect on A and D and with all rights, for debuggers. False: not mapped.
bool mmu_peek(struct vcpu *v, gva_t gva, gpa_t *gpa);

// The whole of what the tables say, again without any effect. False: not mapped, or a format that is not walked.
bool mmu_maps(struct vcpu *v, uint64_t cr3, gva_t gva, gpa_t gpa); // in long mode; do these tables lead there? No marks
bool mmu_look(struct vcpu *v, gva_t gva, struct mmu_walk *out);

// The same of many addresses, in order: a page table is found once. Start with all zero, in one go: the tables above
// are not read again.
struct mmu_table {
	const uint64_t *entries; // or NULL
	uint64_t region;         // of 2 MiB: the addresses that it is for
	uint64_t reserved;
	uint64_t value[4];       // of the entries above it
	int top;
};
bool mmu_look_near(struct vcpu *v, gva_t gva, struct mmu_table *near, struct mmu_walk *out);
bool mmu_key_is_open(struct vcpu *v, const struct mmu_walk *w); // by PKRU, for user data

// Load the PDPTE registers of PAE paging from the table at cr3. False: reserved bits are set, nothing has been loaded.
bool mmu_load_pdptes(struct vcpu *v, uint64_t cr3);

// The physical-address bits (51 down to MAXPHYADDR) that must be 0 in page-table entries and CR3.
uint64_t mmu_reserved_bits(struct vcpu *v);

// Read and write guest memory by linear address, any size up to a page or two, RAM and MMIO, page crossings included;
// on a fault nothing is written and #PF (with CR2) is raised, which does not return. Non-canonical: #GP(0), or #SS(0)
// if access came from the stack segment: say so with vmem_*_seg.
void vmem_read(struct vcpu *v, gva_t gva, void *out, size_t size, enum vmem_access access);
void vmem_write(struct vcpu *v, gva_t gva, const void *in, size_t size, enum vmem_access access);

// The same for an access through a segment: non-canonical in SS is #SS(0), else #GP(0).
void vmem_read_seg(struct vcpu *v, gva_t gva, void *out, size_t size, enum vmem_access access, enum x86_sreg seg);
void vmem_write_seg(struct vcpu *v, gva_t gva, const void *in, size_t size, enum vmem_access access, enum x86_sreg seg);

// Can this access be made? Faults as the access itself would; sets A and D.
void vmem_probe(struct vcpu *v, gva_t gva, size_t size, enum vmem_access access, enum x86_sreg seg);

// bt/ supplies this: where in RAM such an access within a page goes, by its software TLB, if nothing has to be known of
// it: no watched code is written. NULL: ask mmu_walk.
uint8_t *vcpu_ram_host(struct vcpu *v, gva_t gva, enum vmem_access access);

// bt/ supplies this: CR3 has been loaded by a task switch, which goes on in the new address space.
void vcpu_space_changed(struct vcpu *v);

// bt/ supplies this: C code has written guest RAM, so translated code in that place is stale.
void vcpu_ram_written(struct vcpu *v, gpa_t gpa, size_t size);

// bt/ supplies this: the present instruction has accessed data while DR7 enables breakpoints.
void vcpu_data_access(struct vcpu *v, gva_t gva, size_t size, bool write);

// Raise an exception for the instruction at v->rip. Does not return: it goes to the run loop's landing point, which
// delivers it. Everything written to v->gpr and the rest must still be as before the instruction.
_Noreturn void vcpu_raise(struct vcpu *v, enum x86_vector vector, uint32_t error);
_Noreturn void vcpu_raise_pf(struct vcpu *v, gva_t gva, uint32_t error);
_Noreturn void vcpu_raise_db(struct vcpu *v, uint64_t dr6);

// A thing of the architecture that is not built yet: a named report (PC, bytes, mode, state), and the machine ends.
_Noreturn void vcpu_nyi(struct vcpu *v, const char *what);

// Remember an exit from translated code (or any other event) for the crash report.
static inline void vcpu_log_exit(struct vcpu *v, const char *what, uint64_t info)
{
	v->exits[v->nexits++ % EXIT_LOG] = (struct vcpu_exit){what, v->rip, info};
}

static inline struct stats *vcpu_stats(const struct vcpu *v)
{
	return &v->shared->stats[v->index];
}

static inline uint64_t vcpu_host_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t vcpu_count(const struct vcpu *v)
{
	return v->count_end - (uint64_t)v->count_left;
}

// What the guest's TSC counts: cycles of the host's, or instructions.
static inline uint64_t vcpu_cycles(const struct vcpu *v)
{
	return v->counting ? vcpu_count(v) : vcpu_host_tsc();
}

static inline uint64_t vcpu_tsc(const struct vcpu *v)
{
	return vcpu_cycles(v) + v->tsc_offset;
}

static inline void vcpu_set_pending(struct vcpu *v, uint32_t bits)
{
	v->pending |= bits;
}

// Linear addresses have 48 bits, sign-extended, or 57 with 5-level paging.
static inline void vcpu_send_nmi(struct vcpu *v)
{
	v->nmis++;
	vcpu_set_pending(v, PENDING_NMI);
}

static inline bool vcpu_canonical(const struct vcpu *v, uint64_t a)
{
	unsigned unused = v->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;

	return (uint64_t)((int64_t)(a << unused) >> unused) == a;
}

static inline bool vcpu_long_mode(const struct vcpu *v)
{
	return v->efer & EFER_LMA;
}

static inline bool vcpu_code64(const struct vcpu *v)
{
	return vcpu_long_mode(v) && (v->seg[X86_CS].attr & SEG_L);
}

static inline bool vcpu_v86(const struct vcpu *v)
{
	return v->rflags & RFLAGS_VM;
}

// Segments are those of real mode: real mode itself, and virtual-8086 mode.
static inline bool vcpu_real_segments(const struct vcpu *v)
{
	return !(v->cr0 & CR0_PE) || vcpu_v86(v);
}

// The linear address of the instruction at v->rip, and the way back.
static inline gva_t vcpu_linear_pc(const struct vcpu *v)
{
	return vcpu_code64(v) ? v->rip : (uint32_t)(v->seg[X86_CS].base + v->rip);
}

static inline void vcpu_set_linear_pc(struct vcpu *v, gva_t pc)
{
	v->rip = vcpu_code64(v) ? pc : (uint32_t)(pc - v->seg[X86_CS].base);
}

static inline bool vcpu_paging(const struct vcpu *v)
{
	return v->cr0 & CR0_PG;
}

// Does a change of these bits of PKRU or PKRS change the rights to a page that a walk has found?
static inline bool mmu_keys_matter(const struct vcpu *v, uint64_t changed)
{
	for (unsigned k = 0; k < 16; k++)
		if (changed >> 2 * k & 3 && v->mmu.keys >> k & 1)
			return true;
	return false;
}

#include "cpu/hooks.h"

#endif
