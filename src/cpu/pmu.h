// SPDX-License-Identifier: MIT
//
// Performance counters (-cpu ...,pmu=on): Intel's architectural ones, version 2, or on AMD's models the four of the K7.
// See cpu/pmu.c for what they count.
#ifndef CPU_PMU_H
#define CPU_PMU_H

#include "base/types.h"
#include "bus/bus.h"

struct vcpu;

enum { PMU_GENERAL = 4, PMU_FIXED = 3, PMU_WIDTH = 48 };

struct pmu {
	uint64_t select[PMU_GENERAL], general[PMU_GENERAL], fixed[PMU_FIXED];
	uint64_t global_ctrl, fixed_ctrl, status;
	uint64_t insns, cycles; // of the vCPU when the counters were brought up to date
	uint64_t stopped;       // pmu=stop: the host's TSC since when translated code is not running, 0: it is
	bool active;            // something counts
	bool user;              // user code has run since then
	struct timer timer;     // when a counter of cycles will overflow, or counting of instructions may end
};

void pmu_init(struct vcpu *v, struct bus *bus);

// MSRs and RDPMC. False: #GP(0).
bool pmu_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool pmu_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
bool pmu_rdpmc(struct vcpu *v, uint32_t index, uint64_t *value);

// Bring the counters up to date: the count of instructions has come to its end, or the privilege level has changed.
void pmu_update(struct vcpu *v);
// The processor has slept for so many cycles, which do not count.
void pmu_slept(struct vcpu *v, uint64_t cycles);

#endif
