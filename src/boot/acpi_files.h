// SPDX-License-Identifier: MIT
//
// The ACPI tables as files for firmware, which finds them a place itself, and the script by which it does (QEMU's
// "etc/table-loader"). See boot/acpi_files.c.
#ifndef BOOT_ACPI_FILES_H
#define BOOT_ACPI_FILES_H

#include "boot/acpi.h"

enum { ACPI_FILE_SIZE = 64 << 10, ACPI_SCRIPT_ENTRY = 128,
	ACPI_SCRIPT_MAX = ACPI_SCRIPT_ENTRY * (2 + ACPI_LINKS_MAX + 2 + ACPI_TABLES_MAX + 2) };

#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_RSDP "etc/acpi/rsdp"
#define ACPI_FILE_SCRIPT "etc/table-loader"

struct acpi_files {
	uint8_t tables[ACPI_FILE_SIZE];
	uint8_t rsdp[ACPI_RSDP_SIZE];
	uint8_t script[ACPI_SCRIPT_MAX];
	uint32_t script_size;
};

// Pure but for f. False: the tables did not fit.
bool acpi_files_build(struct acpi_files *f, const struct config *cfg);

#endif
