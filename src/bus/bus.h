// SPDX-License-Identifier: MIT
//
// Port and MMIO dispatch, interrupt lines, the virtual clock and its timers. One instance a machine, owned by the
// program that links it: the monitor has one for its chips, the app one for its devices. An access that finds no device
// in the monitor becomes a world switch (vmm/world.c); one that finds none in the app either reads all ones.
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include "base/types.h"

enum { BUS_DEVS_MAX = 48, BUS_RANGES_MAX = 128, TIMERS_MAX = 32 };

struct dev;
struct bus;

// A device class: const, one file per chip. read and write see offsets within the range only.
struct dev_class {
	const char *name;
	size_t size;                     // of the device's own struct, whose first member is struct dev
	unsigned width;                  // widest access it decodes, bytes; 0: any. The bus splits wider ones, as ISA does
	void (*init)(struct dev *d);     // once: timers and what outlives a reset; may be NULL
	void (*reset)(struct dev *d);
	uint64_t (*read)(struct dev *d, unsigned range, uint64_t off, unsigned size);
	void (*write)(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value);
};

struct dev {
	const struct dev_class *class;
	struct bus *bus;
};

enum bus_space { BUS_PORT, BUS_MMIO };

struct bus_range {
	enum bus_space space;
	uint64_t base, len;
	struct dev *dev;
	unsigned range; // handed to read and write: which of the device's ranges this is
};

// An interrupt line as an object: level-style; edges are made by the receiver.
struct irq_line {
	void (*set)(void *opaque, unsigned n, bool level);
	void *opaque;
	unsigned n;
};

static inline void irq_set(const struct irq_line *l, bool level)
{
	if (l->set)
		l->set(l->opaque, l->n, level);
}

// The virtual clock: nanoseconds since the machine started; from the host's TSC in the monitor.
struct timer {
	void (*fire)(void *opaque, uint64_t now);
	void *opaque;
	uint64_t deadline; // ns; 0 = off
};

struct bus {
	struct bus_range ranges[BUS_RANGES_MAX];
	unsigned nranges;                // sorted by space, then base
	unsigned last[2];                // a space: the range that answered last, looked at first
	struct timer *timers[TIMERS_MAX];
	unsigned ntimers;
	bool in_timers;                  // bus_run_timers is at work: it tells the owner once, at its end
	uint64_t earliest;               // what the owner was told last
	uint64_t (*now)(void *opaque);                   // ns, supplied by the owner
	void (*deadline_changed)(void *opaque, uint64_t); // the earliest deadline (0: none): owner arms the host timer
	void (*log)(void *opaque, const char *dev, enum bus_space s, bool write, uint64_t addr, unsigned size,
		uint64_t value); // -d dev; may be NULL
	void *opaque;
};

void bus_init(struct bus *b); // clears everything, the owner's functions too: set those afterwards
// Make a device of class c, in its reset state, without any ranges. Its own hooks and lines are set after this.
void bus_init_dev(struct bus *b, struct dev *d, const struct dev_class *c);
static inline uint64_t bus_now(struct bus *b)
{
	return b->now ? b->now(b->opaque) : 0;
}
// Register a range. Returns 0, or -EEXIST when it overlaps one, -ENOSPC.
int bus_add(struct bus *b, enum bus_space space, uint64_t base, uint64_t len, struct dev *d, unsigned range);
void bus_remove(struct bus *b, struct dev *d); // all its ranges
void bus_remove_range(struct bus *b, struct dev *d, unsigned range);
bool bus_has(struct bus *b, enum bus_space space, uint64_t addr); // is there a device?
// Dispatch. False: nobody there. What of a wide access falls on ports of nobody reads all ones. Values are cut to size.
bool bus_read(struct bus *b, enum bus_space space, uint64_t addr, unsigned size, uint64_t *value);
bool bus_write(struct bus *b, enum bus_space space, uint64_t addr, unsigned size, uint64_t value);

void timer_init(struct bus *b, struct timer *t, void (*fire)(void *, uint64_t), void *opaque);
void timer_set(struct bus *b, struct timer *t, uint64_t deadline); // 0: off
// Fire what is due, in order; tells the owner the next deadline (also if it did not change) and returns it, or 0.
uint64_t bus_run_timers(struct bus *b);

#endif
