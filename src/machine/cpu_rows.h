// SPDX-License-Identifier: MIT
//
// From a CPU model to its CPUID rows.
#ifndef MACHINE_CPU_ROWS_H
#define MACHINE_CPU_ROWS_H

#include "bus/shared.h"
#include "machine/cpu_features.h"

enum xcr0 { XCR0_X87 = BIT(0), XCR0_SSE = BIT(1), XCR0_AVX = BIT(2), XCR0_AVX_ALL = 7, XCR0_AVX512_ALL = 0xe7 };

struct cpu_model {
	char vendor[13];
	char brand[49];
	uint32_t signature; // CPUID.1:EAX
	uint32_t level, xlevel;
	uint32_t phys_bits;
	struct topology topology;
	bool amd;
	bool host_caches;   // cache leaves of the host; else QEMU's
	bool hide_kvm;
	enum pmu_mode pmu;
	struct cpu_bits bits;
};

struct cpu_regs {
	uint32_t eax, ebx, ecx, edx;
};
struct cpu_regs cpu_regs_host(uint32_t leaf, uint32_t subleaf); // zeros if out of range
uint64_t cpu_xcr0_host(void);

// Fill cfg->cpuid, cpuid_count, arch_capabilities, host_xcr0 from m and cfg->tsc_hz.
void cpu_rows_make(const struct cpu_model *m, struct config *cfg);

#endif
