// SPDX-License-Identifier: MIT
//
// fw_cfg: numbers about the machine for firmware and test programs, by a selector and a data port. See dev/fw_cfg.c.
#ifndef DEV_FW_CFG_H
#define DEV_FW_CFG_H

#include "bus/bus.h"

enum { FW_CFG_BASE = 0x510, FW_CFG_LEN = 2 };

struct fw_cfg {
	struct dev dev;
	uint16_t key;
	uint32_t at; // next byte of the item
	uint64_t ram_size; // by the owner
	uint16_t cpus;
};

extern const struct dev_class fw_cfg_class;

#endif
