// SPDX-License-Identifier: MIT
//
// -cpu: from a model's name and its features to the CPUID rows and MSR values that the monitor shows the guest.
#ifndef MACHINE_CPU_MODEL_H
#define MACHINE_CPU_MODEL_H

#include "bus/shared.h"
#include <stdio.h>

#define CPU_MODEL_DEFAULT "host"

// Parse spec ("host,-avx512f,+x2apic,vendor=...") and fill cfg's cpuid, cpuid_count, arch_capabilities,
// host_xcr0, mxcsr_mask, and tsc_hz if it is 0. Returns 0, or -EINVAL with one line in err: what is wrong, what to do.
int cpu_model_build(const char *spec, const struct topology *topology, struct config *cfg, char *err, size_t errlen);

// -cpu help.
void cpu_model_help(FILE *out);

#endif
