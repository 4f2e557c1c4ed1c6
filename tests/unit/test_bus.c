// SPDX-License-Identifier: MIT
//
// The bus: overlaps, look-up, splitting of wide accesses, removal, timers in order; and the byte rings.
#include <errno.h>

#include "bus/ring.h"
#include "chip_test.h"

struct cell { // a device that remembers what it saw
	struct dev dev;
	uint8_t byte[16];
	unsigned accesses, range;
};

static void cell_reset(struct dev *d)
{
}

static uint64_t cell_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct cell *c = (struct cell *)d;
	uint64_t v = 0;

	c->accesses++;
	c->range = range;
	memcpy(&v, c->byte + off, size);
	return v | ~UINT64_C(0) << 63; // junk above the size must be cut
}

static void cell_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct cell *c = (struct cell *)d;

	c->accesses++;
	memcpy(c->byte + off, &value, size);
}

static const struct dev_class narrow_class = {"narrow", sizeof(struct cell), 1, NULL, cell_reset, cell_read,
	cell_write};
static const struct dev_class wide_class = {"wide", sizeof(struct cell), 0, NULL, cell_reset, cell_read, cell_write};

static void test_ranges(void)
{
	struct cell a, b;
	uint64_t v;

	test_bus();
	bus_init_dev(&bus, &a.dev, &narrow_class);
	bus_init_dev(&bus, &b.dev, &wide_class);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x20, 2, &a.dev, 7), 0);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x21, 1, &b.dev, 0), -EEXIST);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x1f, 2, &b.dev, 0), -EEXIST);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x10, 0x40, &b.dev, 0), -EEXIST);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x10, 0, &b.dev, 0), -EINVAL);
	CHECK_IS(bus_add(&bus, BUS_MMIO, 0x20, 8, &b.dev, 1), 0);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x22, 8, &b.dev, 2), 0);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x10, 0x10, &b.dev, 3), 0);
	CHECK(!bus_read(&bus, BUS_PORT, 0x2a, 1, &v));
	CHECK(!bus_write(&bus, BUS_PORT, 0x0f, 1, 0));
	CHECK(bus_read(&bus, BUS_MMIO, 0x27, 1, &v) && b.range == 1);
	CHECK(!bus_read(&bus, BUS_MMIO, 0x28, 1, &v));
	CHECK(bus_read(&bus, BUS_PORT, 0x20, 1, &v) && a.range == 7);
	outw(0x20, 0xbeef); // split for a narrow device
	CHECK_IS(a.accesses, 3);
	CHECK_IS(inw(0x20), 0xbeef);
	a.accesses = b.accesses = 0;
	outl(0x20, 0x44332211); // over the end: two bytes for a, then the rest for b, in pieces of one
	CHECK_IS(a.accesses, 2);
	CHECK_IS(b.byte[0] | b.byte[1] << 8, 0x4433);
	CHECK_IS(inl(0x26) & 0xffffffff, 0);
	CHECK_IS(inl(0x28), 0xffff0000); // half of it is nobody's
	bus_remove(&bus, &b.dev);
	CHECK(!bus_read(&bus, BUS_MMIO, 0x20, 1, &v) && !bus_read(&bus, BUS_PORT, 0x10, 1, &v));
	CHECK(bus_read(&bus, BUS_PORT, 0x21, 1, &v));
	for (unsigned i = 1; i < BUS_RANGES_MAX; i++)
		CHECK_IS(bus_add(&bus, BUS_PORT, 0x8000 - i * 4, 4, &b.dev, 0), 0);
	CHECK_IS(bus_add(&bus, BUS_PORT, 0x9000, 1, &b.dev, 0), -ENOSPC);
	for (unsigned i = 1; i < BUS_RANGES_MAX; i++)
		CHECK(bus_read(&bus, BUS_PORT, 0x8000 - i * 4 + 3, 1, &v));
}

static struct timer first, second;
static char order[16];
static uint64_t told;

static void fire_first(void *opaque, uint64_t now)
{
	strcat(order, "1");
	if (now < 300)
		timer_set(&bus, &first, now + 100);
}

static void fire_second(void *opaque, uint64_t now)
{
	strcat(order, "2");
}

static void on_deadline(void *opaque, uint64_t deadline)
{
	told = deadline;
}

static void test_timers(void)
{
	test_bus();
	bus.deadline_changed = on_deadline;
	timer_init(&bus, &first, fire_first, NULL);
	timer_init(&bus, &second, fire_second, NULL);
	timer_set(&bus, &second, 250);
	CHECK_IS(told, 250);
	timer_set(&bus, &first, 100);
	CHECK_IS(told, 100);
	CHECK_IS(bus_run_timers(&bus), 100);
	CHECK_IS(order[0], 0);
	run_to(260);
	CHECK(!strcmp(order, "112"));
	run_to(1000);
	CHECK(!strcmp(order, "1121"));
	CHECK_IS(told, 0);
	timer_set(&bus, &first, 1100);
	timer_set(&bus, &first, 0);
	CHECK_IS(told, 0);
}

static void test_ring(void)
{
	static struct ring r;
	static uint8_t in[RING_SIZE], out[RING_SIZE];

	for (unsigned i = 0; i < RING_SIZE; i++)
		in[i] = i * 7 + i / 256;
	r.head = r.tail = UINT32_MAX - 100; // indices wrap
	CHECK_IS(ring_push(&r, in, 1000), 1000);
	CHECK_IS(ring_used(&r), 1000);
	CHECK_IS(ring_push(&r, in + 1000, RING_SIZE), RING_SIZE - 1000);
	CHECK_IS(ring_space(&r), 0);
	CHECK_IS(ring_push(&r, in, 1), 0);
	CHECK(!ring_wait_space(&r, 1));
	CHECK_IS(ring_pop(&r, out, 10), 10);
	CHECK(ring_writer_waits(&r) && !ring_writer_waits(&r));
	CHECK(ring_wait_space(&r, 10) && !ring_writer_waits(&r));
	CHECK_IS(ring_peek(&r, out + 10, 5), 5);
	CHECK_IS(ring_pop(&r, out + 10, RING_SIZE), RING_SIZE - 10);
	CHECK(!memcmp(in, out, 1000));
	CHECK_IS(ring_pop(&r, out, 1), 0);
	r.head = r.tail + 5 * RING_SIZE; // nonsense from the other side
	CHECK_IS(ring_pop(&r, out, UINT32_MAX), RING_SIZE);
	CHECK_IS(ring_space(&r), 0);
}

int main(void)
{
	test_ranges();
	test_timers();
	test_ring();
	return test_result();
}
