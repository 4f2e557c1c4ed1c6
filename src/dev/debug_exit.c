// SPDX-License-Identifier: MIT
//
// The status is the value written times two plus one, so that it is never 0; what the shell sees of it is the low byte.
// Reads give zero.
#include "dev/debug_exit.h"

static void debug_exit_reset(struct dev *d)
{
}

static uint64_t debug_exit_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	return 0;
}

static void debug_exit_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct debug_exit *c = (struct debug_exit *)d;

	if (c->exit)
		c->exit(c->opaque, (uint32_t)value << 1 | 1);
}

const struct dev_class debug_exit_class = {"isa-debug-exit", sizeof(struct debug_exit), 4, NULL, debug_exit_reset,
	debug_exit_read, debug_exit_write};
