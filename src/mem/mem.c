// SPDX-License-Identifier: MIT
//
// The layout of guest RAM: one block from 0, at most 3 GiB, so that the PCI hole fits below 4 GiB; the rest from 4 GiB
// up. Pure arithmetic; the memfd is made and mapped by machine/ and vmm/.
#include "mem/mem.h"

void mem_layout(struct mem *m, uint64_t ram_size)
{
	mem_layout_below(m, ram_size, MEM_LOW_MAX);
}

void mem_layout_below(struct mem *m, uint64_t ram_size, uint64_t low_max)
{
	m->ram_size = ram_size;
	m->low_end = MIN(ram_size, low_max);
	m->rom_start = MEM_HIGH_START;
	m->frame_size = m->frame_at = 0;
	m->high_end = MEM_HIGH_START + (ram_size - m->low_end);
}

uint64_t mem_file_offset(const struct mem *m, gpa_t gpa)
{
	return gpa < MEM_HIGH_START ? gpa : gpa - MEM_HIGH_START + m->low_end;
}
