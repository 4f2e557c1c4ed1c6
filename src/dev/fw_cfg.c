// SPDX-License-Identifier: MIT
//
// QEMU's firmware configuration device (its documentation, "QEMU Firmware Configuration (fw_cfg) Device"): which
// machine this is, its memory and its processors, and files for firmware, such as the ACPI tables. An item's bytes come
// one by one from the data port, or many at once by DMA; past its end, and for a key that is not there, they are zeros.
// Nothing can be written.
#include "dev/fw_cfg.h"

#include <string.h>

enum { REG_SELECT = 0, REG_DATA = 1, DMA_HIGH = 0, DMA_LOW = 4 };
enum fw_cfg_key {
	KEY_SIGNATURE = 0, KEY_ID = 1, KEY_RAM_SIZE = 3, KEY_NOGRAPHIC = 4, KEY_NB_CPUS = 5, KEY_MAX_CPUS = 15,
	KEY_FILE_DIR = 0x19, KEY_FILE_FIRST = 0x20,
};
enum { ID_PORTS = BIT(0), ID_DMA = BIT(1) };
enum { DMA_ERROR = BIT(0), DMA_READ = BIT(1), DMA_SKIP = BIT(2), DMA_SELECT = BIT(3), DMA_WRITE = BIT(4) };
enum { DMA_CONTROL_SIZE = 16, ENTRY_SIZE = 64, ENTRY_KEY = 4, ENTRY_NAME = 8 };

// "QEMU" and "QEMU CFG", as the bytes come.
static const char signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

static void put_be(uint8_t *p, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}

static uint64_t get_be(const uint8_t *p, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value = value << 8 | p[i];
	return value;
}

bool fw_cfg_add_file(struct fw_cfg *c, const char *name, const void *data, uint32_t size)
{
	unsigned n = 0;
	uint8_t *entry;

	while (n < c->files && strcmp((char *)c->directory + 4 + n * ENTRY_SIZE + ENTRY_NAME, name))
		n++;
	if (n == FW_CFG_FILES || strlen(name) >= FW_CFG_NAME)
		return false;
	if (n == c->files)
		c->files++;
	c->file[n].data = data;
	c->file[n].size = size;
	entry = c->directory + 4 + n * ENTRY_SIZE;
	put_be(c->directory, c->files, 4);
	put_be(entry, size, 4);
	put_be(entry + ENTRY_KEY, KEY_FILE_FIRST + n, 2);
	strcpy((char *)entry + ENTRY_NAME, name);
	return true;
}

static const uint8_t *number(struct fw_cfg *c, uint64_t value)
{
	for (unsigned i = 0; i < sizeof(c->number); i++)
		c->number[i] = (uint8_t)(value >> 8 * i);
	return c->number;
}

static const uint8_t *item(struct fw_cfg *c, uint32_t *size)
{
	unsigned file = c->key - (unsigned)KEY_FILE_FIRST;

	*size = 2;
	switch (c->key) {
	case KEY_SIGNATURE:
		*size = 4;
		return (const uint8_t *)signature;
	case KEY_ID:
		*size = 4;
		return number(c, ID_PORTS | (c->mem ? ID_DMA : 0));
	case KEY_RAM_SIZE:
		*size = 8;
		return number(c, c->ram_size);
	case KEY_NOGRAPHIC:
		return number(c, 1);
	case KEY_NB_CPUS:
	case KEY_MAX_CPUS:
		return number(c, c->cpus);
	case KEY_FILE_DIR:
		*size = 4 + c->files * ENTRY_SIZE;
		return c->directory;
	}
	*size = file < c->files ? c->file[file].size : 0;
	return file < c->files ? c->file[file].data : c->number;
}

// The next bytes of the item that is selected; to may be NULL.
static void take(struct fw_cfg *c, uint8_t *to, uint32_t size)
{
	uint32_t all, part;
	const uint8_t *from = item(c, &all);

	part = MIN(size, all - MIN(c->at, all));
	if (to) {
		memcpy(to, from + MIN(c->at, all), part);
		memset(to + part, 0, size - part);
	}
	c->at += part;
}

static void select_item(struct fw_cfg *c, uint16_t key)
{
	c->key = key;
	c->at = 0;
}

static bool dma_read(struct fw_cfg *c, gpa_t gpa, uint32_t size)
{
	uint8_t *to = mem_host(c->mem, gpa, size);

	if (!to)
		return false;
	if (c->will_write)
		c->will_write(c->opaque, gpa, size);
	take(c, to, size);
	return true;
}

// A request in guest memory: control, length and address, big-endian. The answer replaces control.
static void dma_run(struct fw_cfg *c)
{
	gpa_t at = c->dma_address;
	uint8_t *request = c->mem ? mem_host(c->mem, at, DMA_CONTROL_SIZE) : NULL;
	uint32_t control, size;
	bool ok = true;

	c->dma_address = 0;
	if (!request)
		return;
	control = (uint32_t)get_be(request, 4);
	size = (uint32_t)get_be(request + 4, 4);
	if (control & DMA_SELECT)
		select_item(c, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		ok = !size || dma_read(c, get_be(request + 8, 8), size);
	else if (control & DMA_WRITE)
		ok = false;
	else if (control & DMA_SKIP)
		take(c, NULL, size);
	if (c->will_write)
		c->will_write(c->opaque, at, 4);
	put_be(request, ok ? 0 : DMA_ERROR, 4);
}

static uint64_t fw_cfg_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct fw_cfg *c = (struct fw_cfg *)d;
	uint64_t value = 0;
	uint8_t byte = 0;

	if (range == FW_CFG_RANGE_DMA) {
		for (unsigned i = 0; i < size && off + i < sizeof(signature); i++)
			value |= (uint64_t)(uint8_t)signature[off + i] << 8 * i;
		return value;
	}
	if (off == REG_SELECT)
		return size == 2 ? c->key : 0;
	take(c, &byte, 1);
	return byte;
}

static void fw_cfg_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct fw_cfg *c = (struct fw_cfg *)d;

	if (range == FW_CFG_RANGE_PORTS) {
		if (off == REG_SELECT && size == 2)
			select_item(c, (uint16_t)value);
	} else if (size == 4 && off == DMA_HIGH) {
		c->dma_address = (uint64_t)__builtin_bswap32((uint32_t)value) << 32;
	} else if (size == 4 && off == DMA_LOW) {
		c->dma_address |= __builtin_bswap32((uint32_t)value);
		dma_run(c);
	}
}

static void fw_cfg_reset(struct dev *d)
{
	struct fw_cfg *c = (struct fw_cfg *)d;

	select_item(c, 0);
	c->dma_address = 0;
}

const struct dev_class fw_cfg_class = {"fw_cfg", sizeof(struct fw_cfg), 4, NULL, fw_cfg_reset, fw_cfg_read,
	fw_cfg_write};
