// SPDX-License-Identifier: MIT
//
// isa-debug-exit: a write to its ports ends ringer, with a status that the guest chooses. See dev/debug_exit.c.
#ifndef DEV_DEBUG_EXIT_H
#define DEV_DEBUG_EXIT_H

#include "bus/bus.h"

enum { DEBUG_EXIT_IOBASE = 0x501, DEBUG_EXIT_IOSIZE = 2 }; // what -device isa-debug-exit means by itself

struct debug_exit {
	struct dev dev;
	void (*exit)(void *opaque, int status);
	void *opaque;
};

extern const struct dev_class debug_exit_class;

#endif
