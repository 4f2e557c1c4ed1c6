// SPDX-License-Identifier: MIT
//
// Flash memory with Intel's command set (Common Flash Interface; Intel StrataFlash data sheet, "Command definitions"),
// in which UEFI firmware keeps its variables. It reads as memory until a command is written to it. Every byte that is
// written goes to the image at once. Writes to a buffer are not built: they end with the status of an error.
#ifndef DEV_PFLASH_H
#define DEV_PFLASH_H

#include "bus/bus.h"
#include "io/block.h"

enum { PFLASH_BLOCK = 4096 };

struct pflash {
	struct dev dev;
	struct block *image;
	uint8_t *bytes;   // the image's
	uint32_t size;
	uint8_t command;  // the one under way: PFLASH_ARRAY, it reads as memory
	uint8_t status;
	int (*run)(struct block *b, struct block_request *r, unsigned worker); // block_run
};

extern const struct dev_class pflash_class;

#endif
