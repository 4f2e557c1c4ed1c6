// SPDX-License-Identifier: MIT
//
// One port: each byte written goes to the host, in order and none lost; a read gives a constant by which a guest finds
// out that the port is there.
#include "dev/debugcon.h"

static void debugcon_reset(struct dev *d)
{
}

static uint64_t debugcon_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	return ((struct debugcon *)d)->readback;
}

static void debugcon_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct debugcon *c = (struct debugcon *)d;

	if (c->put)
		c->put(c->opaque, (uint8_t)value);
}

const struct dev_class debugcon_class = {"isa-debugcon", sizeof(struct debugcon), 1, NULL, debugcon_reset,
	debugcon_read, debugcon_write};
