// SPDX-License-Identifier: MIT
//
// QEMU's firmware configuration device (its documentation, "QEMU Firmware Configuration (fw_cfg) Device"), as far as
// numbers go: which machine this is, its memory and its processors. There are no files, and no DMA interface; writes to
// data are dropped. An item's bytes come one by one from the data port; past its end, and for a key that is not there,
// they are zeros.
#include "dev/fw_cfg.h"

enum { REG_SELECT = 0, REG_DATA = 1 };
enum fw_cfg_key {
	KEY_SIGNATURE = 0, KEY_ID = 1, KEY_RAM_SIZE = 3, KEY_NOGRAPHIC = 4, KEY_NB_CPUS = 5, KEY_MAX_CPUS = 15,
	KEY_FILE_DIR = 0x19,
};

static uint64_t item(const struct fw_cfg *c, unsigned *size)
{
	*size = 2;
	switch (c->key) {
	case KEY_SIGNATURE:
		*size = 4;
		return 0x554d4551; // "QEMU"
	case KEY_ID:
		*size = 4;
		return 1; // the interface of ports alone
	case KEY_RAM_SIZE:
		*size = 8;
		return c->ram_size;
	case KEY_NOGRAPHIC:
		return 1;
	case KEY_NB_CPUS:
	case KEY_MAX_CPUS:
		return c->cpus;
	case KEY_FILE_DIR: // a count of files: none
		*size = 4;
		return 0;
	}
	*size = 0;
	return 0;
}

static uint64_t fw_cfg_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct fw_cfg *c = (struct fw_cfg *)d;
	uint64_t value, byte = 0;
	unsigned bytes;

	if (off == REG_SELECT)
		return size == 2 ? c->key : 0;
	value = item(c, &bytes);
	if (c->at < bytes)
		byte = value >> (c->at++ * 8) & 0xff;
	return byte;
}

static void fw_cfg_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct fw_cfg *c = (struct fw_cfg *)d;

	if (off != REG_SELECT || size != 2)
		return;
	c->key = (uint16_t)value;
	c->at = 0;
}

static void fw_cfg_reset(struct dev *d)
{
	struct fw_cfg *c = (struct fw_cfg *)d;

	c->key = 0;
	c->at = 0;
}

const struct dev_class fw_cfg_class = {"fw_cfg", sizeof(struct fw_cfg), 2, NULL, fw_cfg_reset, fw_cfg_read,
	fw_cfg_write};
