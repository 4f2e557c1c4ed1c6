// SPDX-License-Identifier: MIT
//
// pc-testdev: what processor test programs want of a board beside a PC's own devices. See dev/pc_testdev.c.
#ifndef DEV_PC_TESTDEV_H
#define DEV_PC_TESTDEV_H

#include "bus/bus.h"

enum {
	PC_TESTDEV_LATCH = 0xe0,
	PC_TESTDEV_FLUSH = 0xe4,
	PC_TESTDEV_BYTES = 0xe8,
	PC_TESTDEV_LINES = 0x2000,
	PC_TESTDEV_LINES_LEN = 24,
	PC_TESTDEV_WINDOW_LEN = 0x10000,
};
#define PC_TESTDEV_WINDOW UINT64_C(0xff000000)

enum pc_testdev_range {
	PC_TESTDEV_RANGE_LATCH, PC_TESTDEV_RANGE_FLUSH, PC_TESTDEV_RANGE_BYTES, PC_TESTDEV_RANGE_LINES,
	PC_TESTDEV_RANGE_WINDOW,
};

struct pc_testdev {
	struct dev dev;
	uint32_t latch;
	uint8_t window[PC_TESTDEV_WINDOW_LEN];
	void (*set_irq)(void *opaque, unsigned gsi, bool level);
	void *opaque;
};

extern const struct dev_class pc_testdev_class;

#endif
