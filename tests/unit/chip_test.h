// SPDX-License-Identifier: MIT
//
// What the tests of chips and devices share: a bus with a clock that the test moves, port and MMIO access, an
// interrupt line that remembers, random bits, and CHECK.
#ifndef CHIP_TEST_H
#define CHIP_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"

static int failures;
static uint64_t test_ns;
static struct bus bus;

_Noreturn void base_panic(const char *file, int line, const char *what);
_Noreturn void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

#define CHECK(x) ((x) ? (void)0 : (void)(failures++, printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #x)))
#define CHECK_IS(x, y)                                                                                                \
	do {                                                                                                          \
		long long got_ = (long long)(x), want_ = (long long)(y);                                              \
		if (got_ != want_) {                                                                                  \
			failures++;                                                                                   \
			printf("%s:%d: %s is %#llx, not %#llx\n", __FILE__, __LINE__, #x, got_, want_);               \
		}                                                                                                     \
	} while (0)

static inline uint32_t random_bits(void) // the same in every run
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

struct probe { // the far end of an irq_line
	bool level;
	unsigned rises;
};

static inline void probe_set(void *opaque, unsigned n, bool level)
{
	struct probe *p = opaque;

	p->rises += level && !p->level;
	p->level = level;
}

static inline struct irq_line probe_line(struct probe *p)
{
	return (struct irq_line){probe_set, p, 0};
}

static inline uint64_t test_now(void *opaque)
{
	return test_ns;
}

static inline void test_bus(void)
{
	bus_init(&bus);
	test_ns = 0;
	bus.now = test_now;
}

// Move the clock, stopping at each deadline on the way.
static inline void run_to(uint64_t ns)
{
	uint64_t next;

	while ((next = bus_run_timers(&bus)) && next <= ns)
		test_ns = next;
	test_ns = ns;
	bus_run_timers(&bus);
}

static inline void run_for(uint64_t ns)
{
	run_to(test_ns + ns);
}

static inline uint64_t bus_in(enum bus_space space, uint64_t addr, unsigned size)
{
	uint64_t v = 0;

	if (!bus_read(&bus, space, addr, size, &v))
		return size == 8 ? UINT64_MAX : BIT64(size * 8) - 1;
	return v;
}

static inline uint32_t inb(unsigned port)
{
	return bus_in(BUS_PORT, port, 1);
}

static inline uint32_t inw(unsigned port)
{
	return bus_in(BUS_PORT, port, 2);
}

static inline uint32_t inl(unsigned port)
{
	return bus_in(BUS_PORT, port, 4);
}

static inline void outb(unsigned port, uint32_t v)
{
	bus_write(&bus, BUS_PORT, port, 1, v);
}

static inline void outw(unsigned port, uint32_t v)
{
	bus_write(&bus, BUS_PORT, port, 2, v);
}

static inline void outl(unsigned port, uint32_t v)
{
	bus_write(&bus, BUS_PORT, port, 4, v);
}

static inline int test_result(void)
{
	if (failures)
		printf("%d failures\n", failures);
	return failures != 0;
}

#endif
