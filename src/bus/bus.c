// SPDX-License-Identifier: MIT
//
// Port and MMIO dispatch. Ranges lie sorted in one small array; a look-up tries the range that answered last and then
// searches by halves. An access that is wider than its device decodes, or that runs over the end of its range, is split
// into pieces and each is dispatched anew, as the bus of a PC does with 8-bit devices.
#include "bus/bus.h"

#include <errno.h>

#include "base/string.h"

void bus_init(struct bus *b)
{
	memset(b, 0, sizeof(*b));
}

void bus_init_dev(struct bus *b, struct dev *d, const struct dev_class *c)
{
	memset(d, 0, c->size);
	d->class = c;
	d->bus = b;
	if (c->init)
		c->init(d);
	c->reset(d);
}

static bool range_before(const struct bus_range *r, enum bus_space space, uint64_t addr)
{
	return r->space != space ? r->space < space : r->base <= addr;
}

// How many ranges lie at or before addr: the last of them is the only one that can hold it.
static unsigned bus_search(const struct bus *b, enum bus_space space, uint64_t addr)
{
	unsigned low = 0, high = b->nranges;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (range_before(&b->ranges[mid], space, addr))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool range_holds(const struct bus_range *r, enum bus_space space, uint64_t addr)
{
	return r->space == space && addr - r->base < r->len;
}

static const struct bus_range *bus_find(struct bus *b, enum bus_space space, uint64_t addr)
{
	unsigned i = b->last[space];

	if (i < b->nranges && range_holds(&b->ranges[i], space, addr))
		return &b->ranges[i];
	i = bus_search(b, space, addr);
	if (!i || !range_holds(&b->ranges[i - 1], space, addr))
		return NULL;
	b->last[space] = i - 1;
	return &b->ranges[i - 1];
}

bool bus_has(struct bus *b, enum bus_space space, uint64_t addr)
{
	return bus_find(b, space, addr);
}

int bus_add(struct bus *b, enum bus_space space, uint64_t base, uint64_t len, struct dev *d, unsigned range)
{
	unsigned at = bus_search(b, space, base);
	struct bus_range *r = &b->ranges[at];

	if (!len || base + len - 1 < base)
		return -EINVAL;
	if (at && range_holds(r - 1, space, base))
		return -EEXIST;
	if (at < b->nranges && r->space == space && r->base - base < len)
		return -EEXIST;
	if (b->nranges == BUS_RANGES_MAX)
		return -ENOSPC;
	memmove(r + 1, r, (b->nranges - at) * sizeof(*r));
	*r = (struct bus_range){space, base, len, d, range};
	b->nranges++;
	return 0;
}

static void remove_ranges(struct bus *b, const struct dev *d, bool all, unsigned range)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < b->nranges; i++) {
		const struct bus_range *r = &b->ranges[i];

		if (r->dev != d || (!all && r->range != range))
			b->ranges[kept++] = *r;
	}
	b->nranges = kept;
}

void bus_remove(struct bus *b, struct dev *d)
{
	remove_ranges(b, d, true, 0);
}

void bus_remove_range(struct bus *b, struct dev *d, unsigned range)
{
	remove_ranges(b, d, false, range);
}

static uint64_t size_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : BIT64(size * 8) - 1;
}

// The widest piece of an access that its device takes whole.
static unsigned piece_size(const struct bus_range *r, uint64_t addr, unsigned size)
{
	uint64_t left = r->len - (addr - r->base);
	unsigned width = r->dev->class->width;

	while (size > left || (width && size > width))
		size /= 2;
	return size;
}

static void bus_log(struct bus *b, const struct bus_range *r, bool write, uint64_t addr, unsigned size, uint64_t value)
{
	if (b->log)
		b->log(b->opaque, r->dev->class->name, r->space, write, addr, size, value);
}

static uint64_t read_piece(struct bus *b, const struct bus_range *r, uint64_t addr, unsigned size)
{
	struct bus_range at = *r; // a device may move its own ranges while it works
	uint64_t value = at.dev->class->read(at.dev, at.range, addr - at.base, size) & size_mask(size);

	bus_log(b, &at, false, addr, size, value);
	return value;
}

static void write_piece(struct bus *b, const struct bus_range *r, uint64_t addr, unsigned size, uint64_t value)
{
	struct bus_range at = *r;

	bus_log(b, &at, true, addr, size, value & size_mask(size));
	at.dev->class->write(at.dev, at.range, addr - at.base, size, value & size_mask(size));
}

bool bus_read(struct bus *b, enum bus_space space, uint64_t addr, unsigned size, uint64_t *value)
{
	const struct bus_range *r = bus_find(b, space, addr);
	unsigned piece, done;

	if (!r)
		return false;
	piece = piece_size(r, addr, size);
	*value = read_piece(b, r, addr, piece);
	for (done = piece; done < size; done += piece) {
		uint64_t part = size_mask(piece);

		r = bus_find(b, space, addr + done);
		if (r)
			part = read_piece(b, r, addr + done, piece);
		*value |= part << (done * 8);
	}
	return true;
}

bool bus_write(struct bus *b, enum bus_space space, uint64_t addr, unsigned size, uint64_t value)
{
	const struct bus_range *r = bus_find(b, space, addr);
	unsigned piece, done;

	if (!r)
		return false;
	piece = piece_size(r, addr, size);
	write_piece(b, r, addr, piece, value);
	for (done = piece; done < size; done += piece) {
		r = bus_find(b, space, addr + done);
		if (r)
			write_piece(b, r, addr + done, piece, value >> (done * 8));
	}
	return true;
}
