// SPDX-License-Identifier: MIT
//
// A port with nothing behind it: see chip/null_port.h. It reads all ones, as a port that nobody decodes.
#include "chip/null_port.h"

static void null_port_reset(struct dev *d)
{
}

static uint64_t null_port_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static void null_port_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
}

const struct dev_class null_port_class = {"null_port", sizeof(struct null_port), 1, NULL, null_port_reset,
	null_port_read, null_port_write};
