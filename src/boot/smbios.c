// SPDX-License-Identifier: MIT
//
// A structure is a formatted area, whose texts are numbers, and behind it the texts in that order. Handles are the
// order of the structures. There are two entry points for the same table: kernels look for either.
#include "boot/smbios.h"

#include "boot/bytes.h"

enum { UNKNOWN_HANDLE = 0xfffe, TEXTS = SMBIOS_OEM_MAX };

struct writer { // of one structure
	struct smbios *s;
	uint8_t *at;
	const char *text[TEXTS];
	unsigned texts;
	uint16_t handle;
};

static uint8_t *room(struct smbios *s, size_t n)
{
	uint8_t *at = s->table + s->size;

	if (s->overflow || n > sizeof(s->table) - s->size) {
		s->overflow = true;
		return NULL;
	}
	s->size += (uint32_t)n;
	return at;
}

// Its formatted area, zeroes but for the header. The table starts as zeroes; without room, a scratch area.
static struct writer begin(struct smbios *s, uint8_t type, uint8_t length)
{
	struct writer w = {.s = s, .at = room(s, length), .handle = (uint16_t)s->structures};

	s->structures++;
	if (!w.at)
		w.at = s->table;
	w.at[0] = type;
	w.at[1] = length;
	put16(w.at + 2, w.handle);
	return w;
}

static void text(struct writer *w, unsigned field, const char *what)
{
	if (!what || !*what || w->texts == TEXTS)
		return;
	w->text[w->texts++] = what;
	w->at[field] = (uint8_t)w->texts;
}

static uint16_t finish(struct writer *w)
{
	uint8_t *to;

	for (unsigned i = 0; i < w->texts; i++) {
		size_t n = strlen(w->text[i]) + 1;

		to = room(w->s, n);
		if (to)
			memcpy(to, w->text[i], n);
	}
	room(w->s, w->texts ? 1 : 2);
	w->s->longest = MAX(w->s->longest, (uint32_t)(w->s->table + w->s->size - w->at));
	return w->handle;
}

// What was said of a field, or what it is otherwise.
static const char *or_else(const struct smbios_args *a, enum smbios_text field, const char *otherwise)
{
	return a->text[field] ? a->text[field] : otherwise;
}

static const char *board_name(const struct config *cfg, bool version)
{
	if (cfg->board == BOARD_Q35)
		return version ? "pc-q35-7.2" : "Standard PC (Q35 + ICH9, 2009)";
	if (cfg->board == BOARD_MICROVM)
		return "microvm";
	return version ? "pc-i440fx-7.2" : "Standard PC (i440FX + PIIX, 1996)";
}

static void put_bios(struct smbios *s, const struct smbios_args *a)
{
	struct writer w = begin(s, 0, 0x18);

	text(&w, 4, or_else(a, SMBIOS_BIOS_VENDOR, "ringer"));
	text(&w, 5, or_else(a, SMBIOS_BIOS_VERSION, "0.1.0"));
	put16(w.at + 6, 0xf000);
	text(&w, 8, or_else(a, SMBIOS_BIOS_DATE, "01/01/2026"));
	w.at[0xa] = BIT(3);            // characteristics are not told
	w.at[0x13] = BIT(2) | BIT(4);  // but that this is a virtual machine
	put16(w.at + 0x16, 0xffff);    // no embedded controller
	finish(&w);
}

static void put_system(struct smbios *s, const struct smbios_args *a, const struct config *cfg)
{
	static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	struct writer w = begin(s, 1, 0x1b);

	text(&w, 4, or_else(a, SMBIOS_MAKER, "QEMU"));
	text(&w, 5, or_else(a, SMBIOS_PRODUCT, board_name(cfg, false)));
	text(&w, 6, or_else(a, SMBIOS_VERSION, board_name(cfg, true)));
	text(&w, 7, a->text[SMBIOS_SERIAL]);
	for (unsigned i = 0; i < sizeof(order); i++)
		w.at[8 + i] = a->uuid[order[i]];
	w.at[0x18] = 6; // by the power switch
	text(&w, 0x19, a->text[SMBIOS_SKU]);
	text(&w, 0x1a, a->text[SMBIOS_FAMILY]);
	finish(&w);
}

static void put_board(struct smbios *s, const struct smbios_args *a, const struct config *cfg, uint16_t chassis)
{
	struct writer w = begin(s, 2, 0xf);

	text(&w, 4, or_else(a, SMBIOS_BOARD_MAKER, "QEMU"));
	text(&w, 5, or_else(a, SMBIOS_BOARD_PRODUCT, board_name(cfg, false)));
	text(&w, 6, or_else(a, SMBIOS_BOARD_VERSION, board_name(cfg, true)));
	text(&w, 7, a->text[SMBIOS_BOARD_SERIAL]);
	text(&w, 8, a->text[SMBIOS_BOARD_ASSET]);
	w.at[9] = 1; // it hosts the processor
	text(&w, 0xa, a->text[SMBIOS_BOARD_LOCATION]);
	put16(w.at + 0xb, chassis);
	w.at[0xd] = 0xa; // motherboard
	finish(&w);
}

static uint16_t put_chassis(struct smbios *s, const struct smbios_args *a, const struct config *cfg)
{
	struct writer w = begin(s, 3, 0x16);

	text(&w, 4, or_else(a, SMBIOS_CASE_MAKER, "QEMU"));
	w.at[5] = 1; // of another kind
	text(&w, 6, or_else(a, SMBIOS_CASE_VERSION, board_name(cfg, true)));
	text(&w, 7, a->text[SMBIOS_CASE_SERIAL]);
	text(&w, 8, a->text[SMBIOS_CASE_ASSET]);
	memset(w.at + 9, 3, 3); // safe
	w.at[0xc] = 2;          // security unknown
	text(&w, 0x15, a->text[SMBIOS_CASE_SKU]);
	return finish(&w);
}

static void put_processor(struct smbios *s, const struct config *cfg, unsigned socket)
{
	const struct topology *t = &cfg->topology;
	char name[16] = "CPU 0";
	struct writer w = begin(s, 4, 0x2a);

	name[4] = (char)('0' + socket % 10);
	text(&w, 4, name);
	w.at[5] = 3; // central processor
	w.at[6] = 1; // family: other
	text(&w, 7, "QEMU");
	text(&w, 0x10, board_name(cfg, true));
	put16(w.at + 0x14, 2000);
	put16(w.at + 0x16, 2000);
	w.at[0x18] = 0x41; // populated, enabled
	w.at[0x19] = 1;
	memset(w.at + 0x1a, 0xff, 6); // no caches are told of
	w.at[0x23] = w.at[0x24] = (uint8_t)(t->dies * t->cores);
	w.at[0x25] = (uint8_t)(t->dies * t->cores * t->threads);
	put16(w.at + 0x26, 2);
	put16(w.at + 0x28, 1);
	finish(&w);
}

static void put_oem_strings(struct smbios *s, const struct smbios_args *a)
{
	struct writer w = begin(s, 11, 5);

	w.at[4] = (uint8_t)a->oems;
	for (unsigned i = 0; i < a->oems; i++)
		w.text[w.texts++] = a->oem[i];
	finish(&w);
}

static uint16_t put_memory_array(struct smbios *s, const struct config *cfg)
{
	struct writer w = begin(s, 16, 0x17);

	w.at[4] = 1; // of another kind
	w.at[5] = 3; // system memory
	w.at[6] = 6; // multi-bit ECC, as nothing is ever lost
	put32(w.at + 7, (uint32_t)(cfg->mem.ram_size >> 10));
	put16(w.at + 0xb, UNKNOWN_HANDLE);
	put16(w.at + 0xd, 1);
	return finish(&w);
}

static void put_memory_device(struct smbios *s, const struct config *cfg, uint16_t array)
{
	uint64_t mib = cfg->mem.ram_size >> 20;
	struct writer w = begin(s, 17, 0x28);

	put16(w.at + 4, array);
	put16(w.at + 6, UNKNOWN_HANDLE);
	put32(w.at + 8, UINT32_MAX); // widths unknown
	put16(w.at + 0xc, (uint16_t)MIN(mib, UINT64_C(0x7fff)));
	w.at[0xe] = 9; // a DIMM
	text(&w, 0x10, "DIMM 0");
	w.at[0x12] = 7; // RAM
	put16(w.at + 0x13, 2);
	text(&w, 0x17, "QEMU");
	put32(w.at + 0x1c, mib >= 0x7fff ? (uint32_t)mib : 0);
	finish(&w);
}

static void put_memory_range(struct smbios *s, uint64_t start, uint64_t end, uint16_t array)
{
	struct writer w = begin(s, 19, 0x1f);

	put32(w.at + 4, (uint32_t)(start >> 10));
	put32(w.at + 8, (uint32_t)((end >> 10) - 1));
	put16(w.at + 0xc, array);
	w.at[0xe] = 1;
	finish(&w);
}

static void put_memory(struct smbios *s, const struct config *cfg)
{
	uint16_t array = put_memory_array(s, cfg);
	uint64_t high = cfg->mem.ram_size - MIN(cfg->mem.ram_size, cfg->mem.low_end);

	put_memory_device(s, cfg, array);
	put_memory_range(s, 0, cfg->mem.low_end, array);
	if (high)
		put_memory_range(s, UINT64_C(1) << 32, (UINT64_C(1) << 32) + high, array);
}

static uint8_t checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum += *p++;
	return (uint8_t)-sum;
}

static void put_entries(struct smbios *s, uint32_t base)
{
	uint8_t *e = s->entry, *w = s->entry_64;

	memcpy(e, "_SM_", 4);
	e[5] = SMBIOS_ENTRY;
	e[6] = 2;
	e[7] = 8;
	put16(e + 8, (uint16_t)s->longest);
	memcpy(e + 0x10, "_DMI_", 5);
	put16(e + 0x16, (uint16_t)s->size);
	put32(e + 0x18, base);
	put16(e + 0x1c, (uint16_t)s->structures);
	e[0x1e] = 0x28;
	e[0x15] = checksum(e + 0x10, 0xf);
	e[4] = checksum(e, SMBIOS_ENTRY);
	memcpy(w, "_SM3_", 5);
	w[6] = SMBIOS_ENTRY_64;
	w[7] = 3;
	w[0xa] = 1;
	put32(w + 0xc, s->size);
	put32(w + 0x10, base);
	w[5] = checksum(w, SMBIOS_ENTRY_64);
}

bool smbios_build(struct smbios *s, const struct smbios_args *a, const struct config *cfg, uint32_t base)
{
	struct writer w;
	uint16_t chassis;

	memset(s, 0, sizeof(*s));
	put_bios(s, a);
	put_system(s, a, cfg);
	chassis = put_chassis(s, a, cfg);
	if (a->has_board)
		put_board(s, a, cfg, chassis);
	for (unsigned i = 0; i < cfg->topology.sockets; i++)
		put_processor(s, cfg, i);
	if (a->oems)
		put_oem_strings(s, a);
	put_memory(s, cfg);
	w = begin(s, 32, 0xb);
	finish(&w);
	w = begin(s, 127, 4);
	finish(&w);
	put_entries(s, base);
	return !s->overflow;
}
