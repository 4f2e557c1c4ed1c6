// SPDX-License-Identifier: MIT
//
// isa-debugcon: a port that prints. See dev/debugcon.c.
#ifndef DEV_DEBUGCON_H
#define DEV_DEBUGCON_H

#include "bus/bus.h"

enum { DEBUGCON_IOBASE = 0xe9, DEBUGCON_READBACK = 0xe9 };

struct debugcon {
	struct dev dev;
	uint32_t readback; // by the owner
	void (*put)(void *opaque, uint8_t byte);
	void *opaque;
};

extern const struct dev_class debugcon_class;

#endif
