// SPDX-License-Identifier: MIT
//
// The map of guest-physical memory as firmware reports it (INT 15h, AX=E820h; the ACPI specification, "System Address
// Map Interfaces"). Both boot protocols take the same entries in their own shapes.
#ifndef BOOT_E820_H
#define BOOT_E820_H

#include "mem/mem.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };
enum { E820_MAX = 16 };

struct e820_entry {
	uint64_t addr, size;
	enum e820_type type;
};

struct e820 {
	unsigned count;
	struct e820_entry entry[E820_MAX];
};

// The board's map: m's RAM without what boot/ keeps for the RSDP and the ACPI tables. Sorted, without overlaps.
// ecam: configuration space in memory is reserved.
void e820_build(struct e820 *e, const struct mem *m, bool ecam);

#endif
