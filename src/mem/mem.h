// SPDX-License-Identifier: MIT
//
// Guest physical memory. This folder owns the map from guest-physical pages to host memory; nobody else turns a
// guest address into a pointer. RAM is one memfd, mapped at ZONE_RAM + gpa in the app and in the monitor, so that a
// pointer means the same in both. Below 4 GiB RAM ends at `low_end` (the PCI hole follows); the rest continues at 4
// GiB. Firmware, if there is any, is in ROM that ends at 4 GiB: code runs from there, other reads are a device's
// (vcpu_mmio_read), writes are lost. It stands in the memfd behind all RAM. A display takes 64 KiB of RAM away (the
// window), and has a frame buffer: memory behind the ROM in the memfd, mapped at ZONE_RAM + MEM_FRAME in both programs
// and reached without us wherever the guest has put its base address register. Code does not run from there.
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include "base/types.h"
#include "mem/zone.h"

struct mem {
	uint64_t ram_size; // bytes, all of it
	uint64_t low_end;  // end of RAM below 4 GiB
	uint64_t high_end; // end of RAM above 4 GiB, or 4 GiB if there is none
	uint64_t rom_start; // ROM from here to 4 GiB; 4 GiB if there is none
	uint64_t frame_size; // of the frame buffer, or 0; then there is no window either
	uint64_t frame_at;  // where the guest has it now, 0: nowhere. The monitor's to change
};

enum { MEM_LOW_MAX_MB = 3072 }; // RAM below 4 GiB at most
#define MEM_LOW_MAX ((uint64_t)MEM_LOW_MAX_MB << 20)
#define MEM_HIGH_START (UINT64_C(1) << 32)
#define MEM_WINDOW 0xa0000
#define MEM_WINDOW_END 0xb0000
#define MEM_FRAME UINT64_C(0xe0000000) // where neither RAM nor ROM ever is

// Lay out ram_size bytes (a multiple of 4 KiB) as the board does. Pure.
void mem_layout(struct mem *m, uint64_t ram_size);
void mem_layout_below(struct mem *m, uint64_t ram_size, uint64_t low_max); // with less of it below 4 GiB

// Is [gpa, gpa+size) RAM, whole?
static inline bool mem_is_ram(const struct mem *m, gpa_t gpa, uint64_t size)
{
	if (gpa < m->low_end)
		return size <= m->low_end - gpa &&
		       !(m->frame_size && gpa < MEM_WINDOW_END && gpa + size > MEM_WINDOW);
	return gpa >= MEM_HIGH_START && gpa < m->high_end && size <= m->high_end - gpa;
}

// The host address of RAM at gpa, or NULL if [gpa, gpa+size) is not RAM, whole.
static inline void *mem_host(const struct mem *m, gpa_t gpa, uint64_t size)
{
	return mem_is_ram(m, gpa, size) ? (void *)(ZONE_RAM + gpa) : NULL;
}

// The same of RAM and of the frame buffer: where data may lie.
static inline void *mem_data(const struct mem *m, gpa_t gpa, uint64_t size)
{
	uint64_t at = m->frame_at, off = gpa - at;

	if (at && off < m->frame_size && size <= m->frame_size - off)
		return (void *)(ZONE_RAM + MEM_FRAME + off);
	return mem_host(m, gpa, size);
}

// And back.
static inline gpa_t mem_gpa(const void *host)
{
	return (uintptr_t)host - ZONE_RAM;
}

static inline bool mem_is_rom(const struct mem *m, gpa_t gpa, uint64_t size)
{
	return gpa >= m->rom_start && gpa < MEM_HIGH_START && size <= MEM_HIGH_START - gpa;
}

// The host address of code at gpa, in RAM or ROM, or NULL.
static inline const void *mem_code(const struct mem *m, gpa_t gpa, uint64_t size)
{
	return mem_is_ram(m, gpa, size) || mem_is_rom(m, gpa, size) ? (const void *)(ZONE_RAM + gpa) : NULL;
}

static inline uint64_t mem_rom_size(const struct mem *m)
{
	return MEM_HIGH_START - m->rom_start;
}

static inline uint64_t mem_frame_offset(const struct mem *m)
{
	return m->ram_size + mem_rom_size(m);
}

// The offset of a RAM address in the RAM memfd (low RAM first, then high RAM).
uint64_t mem_file_offset(const struct mem *m, gpa_t gpa);

#endif
