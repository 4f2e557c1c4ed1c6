// SPDX-License-Identifier: MIT
//
// The table of processors, buses and interrupt lines that came before ACPI's (MultiProcessor Specification 1.4, chapter
// 4, "MP Configuration Table"), for kernels that know no other. It says what acpi.c's MADT and _PRT say.
#include "boot/acpi.h"
#include "boot/bytes.h"

enum {
	POINTER_SIZE = 16, TABLE_AT = 16, HEADER_SIZE = 44, SPEC_REVISION = 4,
	ENTRY_PROCESSOR = 0, ENTRY_BUS = 1, ENTRY_IOAPIC = 2, ENTRY_INTERRUPT = 3, ENTRY_LOCAL = 4,
	PROCESSOR_ENABLED = BIT(0), PROCESSOR_BOOT = BIT(1), IOAPIC_ENABLED = BIT(0),
	LAPIC_VERSION = 0x14, IOAPIC_VERSION = 0x11, IOAPIC_ID = 0,
	BUS_PCI = 0, BUS_ISA = 1,
	TYPE_INT = 0, TYPE_NMI = 1, TYPE_EXTINT = 3,
	AS_BUS = 0, LEVEL_HIGH = 0xd,
	ISA_LINES = 16, ISA_TIMER_PIN = 2, ALL_LAPICS = 0xff,
};

struct mptable {
	uint8_t *table, *p; // p: where the next entry goes
	unsigned entries;
};

static uint8_t *add(struct mptable *m, uint8_t type)
{
	uint8_t *e = m->p;

	e[0] = type;
	m->p += type == ENTRY_PROCESSOR ? 20 : 8;
	m->entries++;
	return e;
}

static const struct cpuid_leaf *find_leaf(const struct config *cfg, uint32_t leaf)
{
	for (uint32_t i = 0; i < cfg->cpuid_count; i++)
		if (cfg->cpuid[i].leaf == leaf)
			return &cfg->cpuid[i];
	return NULL;
}

static void add_processors(struct mptable *m, const struct config *cfg)
{
	const struct cpuid_leaf *leaf1 = find_leaf(cfg, 1);

	for (unsigned i = 0; i < cfg->vcpus; i++) {
		uint8_t *e = add(m, ENTRY_PROCESSOR);

		e[1] = (uint8_t)topology_apic_id(&cfg->topology, i);
		e[2] = LAPIC_VERSION;
		e[3] = (uint8_t)(PROCESSOR_ENABLED | (i ? 0 : PROCESSOR_BOOT));
		put32(e + 4, leaf1 ? leaf1->eax : 0);
		put32(e + 8, leaf1 ? leaf1->edx : 0);
	}
}

static void add_bus(struct mptable *m, uint8_t id, const char name[6])
{
	uint8_t *e = add(m, ENTRY_BUS);

	e[1] = id;
	memcpy(e + 2, name, 6);
}

static void add_line(struct mptable *m, uint8_t entry, uint8_t type, uint16_t flags, const uint8_t from_to[4])
{
	uint8_t *e = add(m, entry);

	e[1] = type;
	put16(e + 2, flags);
	memcpy(e + 4, from_to, 4); // bus, its line, APIC, its pin
}

static void add_lines(struct mptable *m)
{
	uint16_t pci = 0;

	for (unsigned slot = 1; slot < BOARD_PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < BOARD_PCI_PINS; pin++) {
			uint8_t gsi = board_pci_gsi(slot, pin);

			add_line(m, ENTRY_INTERRUPT, TYPE_INT, LEVEL_HIGH,
				 (uint8_t[]){BUS_PCI, (uint8_t)(slot << 2 | pin), IOAPIC_ID, gsi});
			pci |= (uint16_t)BIT(gsi);
		}
	}
	for (uint8_t isa = 0; isa < ISA_LINES; isa++)
		if (isa != 2 && !(pci & BIT(isa)))
			add_line(m, ENTRY_INTERRUPT, TYPE_INT, isa == ACPI_SCI ? LEVEL_HIGH : AS_BUS,
				 (uint8_t[]){BUS_ISA, isa, IOAPIC_ID, isa ? isa : ISA_TIMER_PIN});
	add_line(m, ENTRY_LOCAL, TYPE_EXTINT, AS_BUS, (uint8_t[]){BUS_ISA, 0, ALL_LAPICS, 0});
	add_line(m, ENTRY_LOCAL, TYPE_NMI, AS_BUS, (uint8_t[]){BUS_ISA, 0, ALL_LAPICS, 1});
}

void mptable_build(const struct config *cfg, gpa_t base, uint8_t *mem)
{
	struct mptable m = {.table = mem + TABLE_AT, .p = mem + TABLE_AT + HEADER_SIZE};
	uint8_t *t = m.table;

	add_processors(&m, cfg);
	add_bus(&m, BUS_PCI, "PCI   ");
	add_bus(&m, BUS_ISA, "ISA   ");
	uint8_t *ioapic = add(&m, ENTRY_IOAPIC);

	ioapic[1] = IOAPIC_ID;
	ioapic[2] = IOAPIC_VERSION;
	ioapic[3] = IOAPIC_ENABLED;
	put32(ioapic + 4, ACPI_IOAPIC);
	add_lines(&m);

	memcpy(t, "PCMP", 4);
	put16(t + 4, (uint16_t)(m.p - t));
	t[6] = SPEC_REVISION;
	memcpy(t + 8, "RINGER  ", 8);
	memcpy(t + 16, "RINGERPC    ", 12);
	put16(t + 34, (uint16_t)m.entries);
	put32(t + 36, ACPI_LAPIC);
	t[7] = acpi_checksum(t, (size_t)(m.p - t));

	memcpy(mem, "_MP_", 4);
	put32(mem + 4, (uint32_t)(base + TABLE_AT));
	mem[8] = POINTER_SIZE / 16;
	mem[9] = SPEC_REVISION;
	mem[10] = acpi_checksum(mem, POINTER_SIZE);
}
