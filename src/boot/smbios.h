// SPDX-License-Identifier: MIT
//
// What the machine says it is (System Management BIOS Reference Specification, "Structure definitions"): names, serial
// numbers, memory, processors, and the strings that -smbios adds, by which cloud images and systemd are told things. In
// the BIOS segment for a kernel that is started directly, as files for firmware.
#ifndef BOOT_SMBIOS_H
#define BOOT_SMBIOS_H

#include "bus/shared.h"

enum { SMBIOS_OEM_MAX = 64, SMBIOS_SIZE = 0xc000, SMBIOS_ENTRY = 31, SMBIOS_ENTRY_64 = 24 };

#define SMBIOS_FILE_TABLES "etc/smbios/smbios-tables"
#define SMBIOS_FILE_ENTRY "etc/smbios/smbios-anchor"

// Texts that -smbios may set: type, name of the property, field.
#define SMBIOS_TEXTS(_) \
	_(0, "vendor", BIOS_VENDOR) _(0, "version", BIOS_VERSION) _(0, "date", BIOS_DATE) \
	_(1, "manufacturer", MAKER) _(1, "product", PRODUCT) _(1, "version", VERSION) _(1, "serial", SERIAL) \
	_(1, "sku", SKU) _(1, "family", FAMILY) \
	_(2, "manufacturer", BOARD_MAKER) _(2, "product", BOARD_PRODUCT) _(2, "version", BOARD_VERSION) \
	_(2, "serial", BOARD_SERIAL) _(2, "asset", BOARD_ASSET) _(2, "location", BOARD_LOCATION) \
	_(3, "manufacturer", CASE_MAKER) _(3, "version", CASE_VERSION) _(3, "serial", CASE_SERIAL) \
	_(3, "asset", CASE_ASSET) _(3, "sku", CASE_SKU)

enum smbios_text {
#define _(type, key, field) SMBIOS_##field,
	SMBIOS_TEXTS(_)
#undef _
	SMBIOS_FIELDS
};

struct smbios_args {
	const char *text[SMBIOS_FIELDS];
	unsigned oems;
	const char *oem[SMBIOS_OEM_MAX]; // strings for the system, type 11
	bool has_board; // type 2 was asked for
	uint8_t uuid[16]; // in the order in which it is written
};

struct smbios {
	uint8_t entry[SMBIOS_ENTRY]; // firmware corrects its address
	uint8_t entry_64[SMBIOS_ENTRY_64];
	uint8_t table[SMBIOS_SIZE];
	uint32_t size, structures, longest;
	bool overflow;
};

// For a table that is to lie at base. False: it does not fit.
bool smbios_build(struct smbios *s, const struct smbios_args *a, const struct config *cfg, uint32_t base);

#endif
