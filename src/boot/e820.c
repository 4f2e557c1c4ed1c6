// SPDX-License-Identifier: MIT
//
// The board's memory map: conventional memory, the EBDA, the BIOS segment with the RSDP, RAM up to the ACPI tables,
// RAM above 4 GiB. The VGA window and the PCI hole are no entries at all, as on a PC.
#include "boot/e820.h"
#include "boot/load.h"

static void e820_add(struct e820 *e, uint64_t from, uint64_t to, enum e820_type type)
{
	if (from < to && e->count < E820_MAX)
		e->entry[e->count++] = (struct e820_entry){ from, to - from, type };
}

void e820_build(struct e820 *e, const struct mem *m, bool ecam)
{
	uint64_t acpi = m->low_end - BOOT_ACPI_SIZE, facs = m->low_end - PAGE_SIZE;

	e->count = 0;
	e820_add(e, 0, BOOT_EBDA, E820_RAM);
	e820_add(e, BOOT_EBDA, 0xa0000, E820_RESERVED);
	e820_add(e, 0xf0000, 0x100000, E820_RESERVED);
	e820_add(e, 0x100000, acpi, E820_RAM);
	e820_add(e, acpi, facs, E820_ACPI);
	e820_add(e, facs, m->low_end, E820_NVS);
	if (ecam)
		e820_add(e, PCI_ECAM_BASE, (uint64_t)PCI_ECAM_BASE + PCI_ECAM_SIZE, E820_RESERVED);
	e820_add(e, BIT64(32), m->high_end, E820_RAM);
}
