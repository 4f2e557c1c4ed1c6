// SPDX-License-Identifier: MIT
//
// The script is a list of commands of 128 bytes: give a file memory, add a file's address to a field, set a checksum.
// The tables are built for address 0, so that each link is an offset in the file of the tables; the bytes of the
// checksums are zero until the script's end.
#include "boot/acpi_files.h"
#include "boot/bytes.h"

enum { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
enum { NAME = 56, ZONE_HIGH = 1, ZONE_F_SEGMENT = 2, CHECKSUM_AT = 9, RSDP_SHORT = 20, RSDP_CHECKSUM = 8,
	RSDP_RSDT = 16, RSDP_XSDT = 24, RSDP_LONG_CHECKSUM = 32 };

static uint8_t *command(struct acpi_files *f, unsigned kind, const char *file)
{
	uint8_t *p = f->script + f->script_size;

	f->script_size += ACPI_SCRIPT_ENTRY;
	put32(p, kind);
	memcpy(p + 4, file, strlen(file));
	return p + 4 + NAME;
}

static void allocate(struct acpi_files *f, const char *file, uint32_t align, uint8_t zone)
{
	uint8_t *p = command(f, ALLOCATE, file);

	put32(p, align);
	p[4] = zone;
}

static void add_pointer(struct acpi_files *f, const char *file, uint32_t at, uint8_t width)
{
	uint8_t *p = command(f, ADD_POINTER, file);

	memcpy(p, ACPI_FILE_TABLES, sizeof(ACPI_FILE_TABLES));
	put32(p + NAME, at);
	p[NAME + 4] = width;
}

static void add_checksum(struct acpi_files *f, const char *file, uint32_t at, uint32_t start, uint32_t len)
{
	uint8_t *p = command(f, ADD_CHECKSUM, file);

	put32(p, at);
	put32(p + 4, start);
	put32(p + 8, len);
}

bool acpi_files_build(struct acpi_files *f, const struct config *cfg)
{
	struct acpi a = {.cfg = cfg, .mem = f->tables, .size = ACPI_FILE_SIZE};

	memset(f, 0, sizeof(*f));
	acpi_build(&a, f->rsdp);
	allocate(f, ACPI_FILE_TABLES, PAGE_SIZE, ZONE_HIGH);
	allocate(f, ACPI_FILE_RSDP, 16, ZONE_F_SEGMENT);
	for (unsigned i = 0; i < a.links; i++)
		add_pointer(f, ACPI_FILE_TABLES, a.link[i].at, a.link[i].width);
	for (unsigned i = 0; i < a.tables; i++) {
		uint8_t *t = f->tables + a.table[i];

		t[CHECKSUM_AT] = 0;
		add_checksum(f, ACPI_FILE_TABLES, a.table[i] + CHECKSUM_AT, a.table[i], get32(t + 4));
	}
	add_pointer(f, ACPI_FILE_RSDP, RSDP_RSDT, 4);
	add_pointer(f, ACPI_FILE_RSDP, RSDP_XSDT, 8);
	f->rsdp[RSDP_CHECKSUM] = f->rsdp[RSDP_LONG_CHECKSUM] = 0;
	add_checksum(f, ACPI_FILE_RSDP, RSDP_CHECKSUM, 0, RSDP_SHORT);
	add_checksum(f, ACPI_FILE_RSDP, RSDP_LONG_CHECKSUM, 0, ACPI_RSDP_SIZE);
	return !a.overflow;
}
