// SPDX-License-Identifier: MIT
//
// ACPI tables of the board (ACPI specification 6.x, "ACPI Software Programming Model"): RSDP, RSDT, XSDT, FADT, FACS,
// MADT, HPET, SRAT, SLIT and a DSDT. Built into a buffer that the guest sees at `base`; its last page is the FACS.
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H

#include "boot/aml.h"
#include "bus/shared.h"

enum { ACPI_RSDP_SIZE = 36, MPTABLE_SIZE = 2048, ACPI_TABLES_MAX = 10, ACPI_LINKS_MAX = 24 };

enum acpi_board { // where the board's fixed hardware is; the chips' side of it is chip/acpi_pm.c
	ACPI_PM1_EVENT = 0x600,
	ACPI_PM1_CONTROL = 0x604,
	ACPI_PM_TIMER = 0x608,
	ACPI_GPE0 = 0xafe0,
	ACPI_RESET_PORT = 0xcf9,
	ACPI_RESET_VALUE = 6,
	ACPI_SCI = 9,
	ACPI_SMI_COMMAND = 0xb2,
	ACPI_SMI_ENABLE = 0xf1,
	ACPI_SMI_DISABLE = 0xf0,
	ACPI_IOAPIC = 0xfec00000,
	ACPI_LAPIC = 0xfee00000,
	ACPI_HPET = 0xfed00000,
	ACPI_SLP_TYP_S5 = 0,
};

struct acpi {
	const struct config *cfg;
	gpa_t base;    // where the guest sees mem
	uint8_t *mem;  // zeroed
	size_t size;
	size_t used;
	bool overflow; // the tables did not fit

	// what there is, for who moves it: offsets in mem
	uint32_t table[ACPI_TABLES_MAX]; // with a checksum in byte 9
	struct acpi_link {
		uint32_t at;
		uint8_t width;
	} link[ACPI_LINKS_MAX]; // fields that hold a table's address
	unsigned tables, links;
};

// Interrupt pins of the PCI slots are spread over four lines, slot by slot.
enum { BOARD_PCI_SLOTS = 32, BOARD_PCI_PINS = 4 };
static inline uint8_t board_pci_gsi(unsigned slot, unsigned pin)
{
	static const uint8_t gsi[BOARD_PCI_PINS] = {10, 10, 11, 11};

	return gsi[(slot + pin - 1) % BOARD_PCI_PINS];
}

// What makes the sum of len bytes zero.
uint8_t acpi_checksum(const uint8_t *p, size_t len);

// Build all tables; rsdp gets ACPI_RSDP_SIZE bytes. Pure but for these two buffers.
void acpi_build(struct acpi *a, uint8_t *rsdp);

// The body of the DSDT, without the table header (dsdt.c).
void dsdt_build(struct aml *b, const struct config *cfg);

// The MP configuration table for those who know no ACPI, MPTABLE_SIZE bytes that the guest sees at base (mptable.c).
void mptable_build(const struct config *cfg, gpa_t base, uint8_t *mem);

// Slots that devices come to and go from (hotplug.c): within PCI0; and, at the root, the method that is told of it.
void hotplug_put_slots(struct aml *b);
void hotplug_put_event(struct aml *b);

#endif
