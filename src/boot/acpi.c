// SPDX-License-Identifier: MIT
//
// The static ACPI tables. Each is written field by field at the specification's offsets; a table is opened, filled and
// closed, and closing it sets its length and checksum.
#include "boot/acpi.h"
#include "base/assert.h"
#include "boot/bytes.h"

enum {
	HEADER_SIZE = 36,
	FADT_SIZE = 244, // revision 3
	FACS_SIZE = 64,

	FADT_WBINVD = BIT(0),
	FADT_PROC_C1 = BIT(2),
	FADT_SLP_BUTTON = BIT(5),
	FADT_FIX_RTC = BIT(6),
	FADT_RESET_REG = BIT(10),
	ARCH_LEGACY = BIT(0),
	ARCH_8042 = BIT(1),
	ARCH_NO_VGA = BIT(2),
	ARCH_NO_RTC = BIT(5),
	SPACE_MEMORY = 0,
	SPACE_IO = 1,
	SRAT_PROCESSOR = 0,
	SRAT_MEMORY = 1,
	SRAT_MEMORY_SIZE = 40,
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_LEVEL_HIGH = 0xd,
	CPU_ALL = 0xff,
};

uint8_t acpi_checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return -sum;
}

static gpa_t address_of(const struct acpi *a, const uint8_t *table)
{
	return a->base + (table - a->mem);
}

// Room for len bytes at an alignment of 64; on overflow a place that nobody will look at.
static uint8_t *take(struct acpi *a, size_t len)
{
	size_t at = align_up(a->used, 64);

	if (at + len > a->size - PAGE_SIZE) {
		a->overflow = true;
		at = 0;
	}
	a->used = at + len;
	return a->mem + at;
}

static void put_header(uint8_t *t, const char *signature, uint8_t revision)
{
	memcpy(t, signature, 4);
	t[8] = revision;
	memcpy(t + 10, "RINGER", 6);
	memcpy(t + 16, "RINGERPC", 8);
	put32(t + 24, 1);
	memcpy(t + 28, "RNGR", 4);
	put32(t + 32, 1);
}

static void close_table(struct acpi *a, uint8_t *t, size_t len)
{
	put32(t + 4, len);
	t[9] = 0;
	t[9] = acpi_checksum(t, len);
	ASSERT(a->tables < ACPI_TABLES_MAX);
	a->table[a->tables++] = t - a->mem;
}

// A field with the address of a table: who moves the tables has to add to it.
static void put_link(struct acpi *a, uint8_t *field, unsigned width, const uint8_t *table)
{
	uint64_t address = address_of(a, table);

	memcpy(field, &address, width);
	ASSERT(a->links < ACPI_LINKS_MAX);
	a->link[a->links++] = (struct acpi_link){field - a->mem, width};
}

static uint8_t *build_facs(struct acpi *a)
{
	uint8_t *t = a->mem + a->size - PAGE_SIZE;

	memcpy(t, "FACS", 4);
	put32(t + 4, FACS_SIZE);
	t[32] = 2; // version
	return t;
}

static uint8_t *build_dsdt(struct acpi *a)
{
	size_t at = align_up(a->used, 64), room = a->size - PAGE_SIZE - at;
	struct aml b = { .p = a->mem + at, .len = HEADER_SIZE, .cap = room };

	dsdt_build(&b, a->cfg);
	a->overflow |= b.overflow;
	put_header(b.p, "DSDT", 2);
	close_table(a, b.p, b.len);
	a->used = at + b.len;
	return b.p;
}

// Generic address structure.
static void put_gas(uint8_t *p, uint8_t space, uint8_t bits, uint8_t access, uint64_t address)
{
	p[0] = space;
	p[1] = bits;
	p[3] = access;
	put64(p + 4, address);
}

static uint16_t arch_flags(const struct config *cfg)
{
	return ARCH_LEGACY | ARCH_NO_VGA | (cfg->i8042 ? ARCH_8042 : 0) | (cfg->rtc ? 0 : ARCH_NO_RTC);
}

static uint8_t *build_fadt(struct acpi *a, const uint8_t *facs, const uint8_t *dsdt)
{
	uint8_t *t = take(a, FADT_SIZE);

	put_header(t, "FACP", 3);
	put_link(a, t + 36, 4, facs);
	put_link(a, t + 40, 4, dsdt);
	put16(t + 46, ACPI_SCI);
	put32(t + 48, ACPI_SMI_COMMAND);
	t[52] = ACPI_SMI_ENABLE;
	t[53] = ACPI_SMI_DISABLE;
	put32(t + 56, ACPI_PM1_EVENT);
	put32(t + 64, ACPI_PM1_CONTROL);
	put32(t + 76, ACPI_PM_TIMER);
	put32(t + 80, ACPI_GPE0);
	t[88] = 4; // lengths: PM1 event, PM1 control, PM timer, GPE0
	t[89] = 2;
	t[91] = 4;
	t[92] = 4;
	put16(t + 96, 0xfff); // C2 and C3 do not exist
	put16(t + 98, 0xfff);
	t[108] = a->cfg->rtc ? 0x32 : 0; // century in CMOS
	put16(t + 109, arch_flags(a->cfg));
	put32(t + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET_REG);
	put_gas(t + 116, SPACE_IO, 8, 1, ACPI_RESET_PORT);
	t[128] = ACPI_RESET_VALUE;
	put_link(a, t + 132, 8, facs);
	put_link(a, t + 140, 8, dsdt);
	put_gas(t + 148, SPACE_IO, 32, 2, ACPI_PM1_EVENT);
	put_gas(t + 172, SPACE_IO, 16, 2, ACPI_PM1_CONTROL);
	put_gas(t + 208, SPACE_IO, 32, 3, ACPI_PM_TIMER);
	put_gas(t + 220, SPACE_IO, 32, 1, ACPI_GPE0);
	close_table(a, t, FADT_SIZE);
	return t;
}

static uint8_t *put_override(uint8_t *p, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	p[0] = MADT_OVERRIDE;
	p[1] = 10;
	p[3] = irq;
	put32(p + 4, gsi);
	put16(p + 8, flags);
	return p + 10;
}

// Processors that are there, and those that -smp maxcpus= leaves room for.
static unsigned madt_places(const struct config *cfg)
{
	return MAX(cfg->vcpus, cfg->topology.places);
}

// The PIT is wired to input 2; the SCI and the PCI interrupts are level-triggered and active high, as on the PIIX.
static uint8_t *build_madt(struct acpi *a)
{
	static const uint8_t level[] = { 5, ACPI_SCI, 10, 11 };
	uint8_t *t = take(a, 44 + madt_places(a->cfg) * 8 + 12 + 5 * 10 + 6), *p = t + 44;

	put_header(t, "APIC", 3);
	put32(t + 36, ACPI_LAPIC);
	put32(t + 40, a->cfg->pic ? 1 : 0);
	for (unsigned i = 0; i < madt_places(a->cfg); i++, p += 8) {
		p[0] = MADT_LAPIC;
		p[1] = 8;
		p[2] = i;
		p[3] = topology_apic_id(&a->cfg->topology, i);
		put32(p + 4, i < a->cfg->vcpus); // enabled
	}
	p[0] = MADT_IOAPIC;
	p[1] = 12;
	put32(p + 4, ACPI_IOAPIC);
	p = put_override(p + 12, 0, 2, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(level); i++)
		p = put_override(p, level[i], level[i], MADT_LEVEL_HIGH);
	p[0] = MADT_LAPIC_NMI;
	p[1] = 6;
	p[2] = CPU_ALL;
	p[5] = 1; // LINT1
	close_table(a, t, p + 6 - t);
	return t;
}

static uint8_t *build_mcfg(struct acpi *a)
{
	uint8_t *t = take(a, 60);

	put_header(t, "MCFG", 1);
	put64(t + 44, a->cfg->ecam);
	t[55] = PCI_ECAM_SIZE / (1 << 20) - 1; // the last bus
	close_table(a, t, 60);
	return t;
}

static uint8_t *build_hpet(struct acpi *a)
{
	uint8_t *t = take(a, 56);

	put_header(t, "HPET", 1);
	put32(t + 36, 0x8086a201);
	put_gas(t + 40, SPACE_MEMORY, 0, 0, ACPI_HPET);
	close_table(a, t, 56);
	return t;
}

// -- nodes of memory --------------------------------------------------------------------------------------------------

static uint8_t *put_memory(uint8_t *p, unsigned node, uint64_t from, uint64_t to)
{
	if (from >= to)
		return p;
	p[0] = SRAT_MEMORY;
	p[1] = SRAT_MEMORY_SIZE;
	put32(p + 2, node);
	put64(p + 8, from);
	put64(p + 16, to - from);
	put32(p + 28, 1); // enabled
	return p + SRAT_MEMORY_SIZE;
}

// Nodes follow one another in RAM, which has holes at the VGA window and below 4 GiB.
static uint8_t *put_memories(uint8_t *p, const struct config *cfg)
{
	static const uint64_t low_hole = 0xa0000, low_go_on = 0x100000;
	const uint64_t low = cfg->mem.low_end, move = BIT64(32) - low;
	uint64_t from = 0, to;

	for (unsigned n = 0; n < cfg->numa.nodes; n++, from = to) {
		to = from + cfg->numa.memory[n];
		p = put_memory(p, n, from, MIN(to, low_hole));
		p = put_memory(p, n, MAX(from, low_go_on), MIN(to, low));
		p = put_memory(p, n, MAX(from, low) + move, MAX(to, low) + move);
	}
	return p;
}

static uint8_t *build_srat(struct acpi *a)
{
	const struct config *cfg = a->cfg;
	uint8_t *t = take(a, 48 + madt_places(cfg) * 16 + cfg->numa.nodes * 3 * SRAT_MEMORY_SIZE), *p = t + 48;

	put_header(t, "SRAT", 3);
	put32(t + 36, 1);
	for (unsigned i = 0; i < madt_places(cfg); i++, p += 16) {
		p[0] = SRAT_PROCESSOR;
		p[1] = 16;
		p[2] = cfg->numa.of_cpu[i];
		p[3] = topology_apic_id(&cfg->topology, i);
		put32(p + 4, 1); // enabled
	}
	p = put_memories(p, cfg);
	close_table(a, t, p - t);
	return t;
}

static uint8_t *build_slit(struct acpi *a)
{
	const struct numa *numa = &a->cfg->numa;
	uint8_t *t = take(a, 44 + numa->nodes * numa->nodes), *p = t + 44;

	put_header(t, "SLIT", 1);
	put64(t + 36, numa->nodes);
	for (unsigned i = 0; i < numa->nodes; i++, p += numa->nodes)
		memcpy(p, numa->distance[i], numa->nodes);
	close_table(a, t, p - t);
	return t;
}

// The directory of tables, with entries of 4 (RSDT) or 8 bytes (XSDT).
static uint8_t *build_directory(struct acpi *a, const char *signature, unsigned width, uint8_t *const *tables,
				unsigned n)
{
	uint8_t *t = take(a, HEADER_SIZE + n * width);

	put_header(t, signature, 1);
	for (unsigned i = 0; i < n; i++)
		put_link(a, t + HEADER_SIZE + i * width, width, tables[i]);
	close_table(a, t, HEADER_SIZE + n * width);
	return t;
}

void acpi_build(struct acpi *a, uint8_t *rsdp)
{
	uint8_t *tables[ACPI_TABLES_MAX], *facs = build_facs(a), *dsdt = build_dsdt(a);
	unsigned n = 0;

	tables[n++] = build_fadt(a, facs, dsdt);
	tables[n++] = build_madt(a);
	if (a->cfg->hpet)
		tables[n++] = build_hpet(a);
	if (a->cfg->numa.nodes)
		tables[n++] = build_srat(a);
	if (a->cfg->numa.distances)
		tables[n++] = build_slit(a);
	if (a->cfg->board == BOARD_Q35)
		tables[n++] = build_mcfg(a);

	memset(rsdp, 0, ACPI_RSDP_SIZE);
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "RINGER", 6);
	rsdp[15] = 2; // revision
	put32(rsdp + 16, address_of(a, build_directory(a, "RSDT", 4, tables, n)));
	put32(rsdp + 20, ACPI_RSDP_SIZE);
	put64(rsdp + 24, address_of(a, build_directory(a, "XSDT", 8, tables, n)));
	rsdp[8] = acpi_checksum(rsdp, 20);
	rsdp[32] = acpi_checksum(rsdp, ACPI_RSDP_SIZE);
}
