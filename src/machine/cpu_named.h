// SPDX-License-Identifier: MIT
//
// Processors by QEMU's names (-cpu Haswell): which features each has.
#ifndef MACHINE_CPU_NAMED_H
#define MACHINE_CPU_NAMED_H

#include "machine/cpu_features.h"

struct cpu_named {
	const char *name, *version; // the name with its version, or NULL: the version is the name
	const char *like;           // another row, which this one begins with; or NULL
	const char *vendor;
	uint8_t family, model, stepping;
	uint32_t level, xlevel; // xlevel 0: no extended leaves
	const char *brand;
	const char *what; // features added, and those with a minus taken away
};
extern const struct cpu_named cpu_named[];
extern const unsigned cpu_named_count;

const struct cpu_named *cpu_named_find(const char *name, size_t len); // or NULL
void cpu_named_bits(const struct cpu_named *row, struct cpu_bits *bits);

#endif
