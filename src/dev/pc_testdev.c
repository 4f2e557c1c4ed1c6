// SPDX-License-Identifier: MIT
//
// QEMU's pc-testdev: a latch of four ports (again as single bytes at a second place), 24 ports each of which drives the
// interrupt line of its number, and 64 KiB of device memory that keeps what is written. A third set of ports asks for
// the mapping of a page to be dropped and made again behind the guest's back, which has no effect that it could see.
#include "dev/pc_testdev.h"

#include <string.h>

static uint32_t ones(unsigned size)
{
	return size >= 4 ? UINT32_MAX : BIT(size * 8) - 1;
}

static uint64_t pc_testdev_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct pc_testdev *c = (struct pc_testdev *)d;
	uint64_t value = 0;

	switch ((enum pc_testdev_range)range) {
	case PC_TESTDEV_RANGE_LATCH:
	case PC_TESTDEV_RANGE_BYTES:
		return c->latch >> (off & 3) * 8 & ones(size);
	case PC_TESTDEV_RANGE_WINDOW:
		memcpy(&value, c->window + off, size);
		return value;
	case PC_TESTDEV_RANGE_FLUSH:
	case PC_TESTDEV_RANGE_LINES:
		break;
	}
	return 0;
}

static void pc_testdev_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct pc_testdev *c = (struct pc_testdev *)d;
	unsigned shift = (off & 3) * 8;

	switch ((enum pc_testdev_range)range) {
	case PC_TESTDEV_RANGE_LATCH:
	case PC_TESTDEV_RANGE_BYTES:
		c->latch = (c->latch & ~(ones(size) << shift)) | (uint32_t)value << shift;
		break;
	case PC_TESTDEV_RANGE_WINDOW:
		memcpy(c->window + off, &value, size);
		break;
	case PC_TESTDEV_RANGE_LINES:
		if (c->set_irq)
			c->set_irq(c->opaque, (unsigned)off, value != 0);
		break;
	case PC_TESTDEV_RANGE_FLUSH:
		break;
	}
}

static void pc_testdev_reset(struct dev *d)
{
}

const struct dev_class pc_testdev_class = {"pc-testdev", sizeof(struct pc_testdev), 0, NULL, pc_testdev_reset,
	pc_testdev_read, pc_testdev_write};
