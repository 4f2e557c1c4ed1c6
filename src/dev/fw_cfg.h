// SPDX-License-Identifier: MIT
//
// fw_cfg: what firmware and test programs ask the machine - numbers and files, by a selector and a data port or by
// DMA. See dev/fw_cfg.c.
#ifndef DEV_FW_CFG_H
#define DEV_FW_CFG_H

#include "bus/bus.h"
#include "mem/mem.h"

enum { FW_CFG_BASE = 0x510, FW_CFG_LEN = 2, FW_CFG_DMA = 0x514, FW_CFG_DMA_LEN = 8 };
enum fw_cfg_range { FW_CFG_RANGE_PORTS, FW_CFG_RANGE_DMA };
enum { FW_CFG_FILES = 32, FW_CFG_NAME = 56, FW_CFG_DIRECTORY = 4 + FW_CFG_FILES * 64 };

struct fw_cfg {
	struct dev dev;
	uint16_t key;
	uint32_t at; // next byte of the item
	uint64_t dma_address; // as far as it has been written
	uint8_t number[8]; // an item that is a number, while it is read
	unsigned files;
	struct {
		const void *data;
		uint32_t size;
	} file[FW_CFG_FILES];
	uint8_t directory[FW_CFG_DIRECTORY];

	// by the owner
	uint64_t ram_size;
	uint16_t cpus;
	const struct mem *mem; // NULL: there is no DMA
	void (*will_write)(void *opaque, gpa_t gpa, uint64_t size); // before guest RAM is written
	void *opaque;
};

extern const struct dev_class fw_cfg_class;

// Another file, which stays the caller's. A name that is there already gets the new contents. False: no room.
bool fw_cfg_add_file(struct fw_cfg *c, const char *name, const void *data, uint32_t size);

#endif
