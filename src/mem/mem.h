// SPDX-License-Identifier: MIT
//
// Guest physical memory. This folder owns the map from guest-physical pages to host memory; nobody else turns a
// guest address into a pointer. RAM is one memfd, mapped at ZONE_RAM + gpa in the app and in the monitor, so that a
// pointer means the same in both. Below 4 GiB RAM ends at `low_end` (the PCI hole follows); the rest continues at 4 GiB.
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include "base/types.h"

struct mem {
	uint64_t ram_size; // bytes, all of it
	uint64_t low_end;  // end of RAM below 4 GiB
	uint64_t high_end; // end of RAM above 4 GiB, or 4 GiB if there is none
};

enum { MEM_LOW_MAX_MB = 3072 }; // RAM below 4 GiB at most

// Lay out ram_size bytes (a multiple of 4 KiB) as the board does. Pure.
void mem_layout(struct mem *m, uint64_t ram_size);

// Is [gpa, gpa+size) RAM, whole?
bool mem_is_ram(const struct mem *m, gpa_t gpa, uint64_t size);

// The host address of RAM at gpa, or NULL if [gpa, gpa+size) is not RAM, whole.
void *mem_host(const struct mem *m, gpa_t gpa, uint64_t size);

// The offset of a RAM address in the RAM memfd (low RAM first, then high RAM).
uint64_t mem_file_offset(const struct mem *m, gpa_t gpa);

#endif
