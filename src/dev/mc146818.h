// SPDX-License-Identifier: MIT
//
// The real-time clock and CMOS memory at ports 0x70 and 0x71, interrupt line 8. See dev/mc146818.c.
#ifndef DEV_MC146818_H
#define DEV_MC146818_H

#include "bus/bus.h"

enum { MC146818_BASE = 0x70, MC146818_LEN = 2, MC146818_IRQ = 8, CMOS_SIZE = 128 };

struct mc146818 {
	struct dev dev;
	uint8_t index;
	uint8_t cmos[CMOS_SIZE]; // alarm, control, status and memory bytes; not the time, which is computed
	int64_t offset;          // ns: the guest's clock less the host's, from what the guest has set
	int64_t stopped_at;      // ns: the guest's clock while SET or the divider holds it
	bool stopped;
	int64_t seen;            // ns: events up to here stand in register C
	struct irq_line irq;
	struct timer timer;
	int64_t (*realtime)(void *opaque); // ns since 1970, in the time zone that the clock shows
	void *opaque;
};

extern const struct dev_class mc146818_class; // after bus_init_dev: set realtime, then mc146818_start

// The clock runs from here on.
void mc146818_start(struct mc146818 *c);

void mc146818_set_byte(struct mc146818 *c, unsigned index, uint8_t value);

// The bytes in which a PC's firmware keeps the memory size: RAM below and above 4 GiB, in bytes; and the CPU count.
void mc146818_set_memory(struct mc146818 *c, uint64_t below_4g, uint64_t above_4g);
void mc146818_set_cpus(struct mc146818 *c, unsigned cpus);

#endif
