// SPDX-License-Identifier: MIT
//
// The 8254 interval timer at 0x40 and port 0x61, which holds channel 2's gate and the speaker. See chip/i8254.c.
#ifndef CHIP_I8254_H
#define CHIP_I8254_H

#include "bus/bus.h"

enum { I8254_RANGE_COUNTERS, I8254_RANGE_PORT61 };
enum { I8254_HZ = 1193182 };

// A channel's time is counted in clocks of the PIT since the machine started.
struct i8254_channel {
	uint8_t control;        // bits 5-0 of the control word: access, mode, BCD
	bool gate;
	bool loaded;            // a count has been written since the control word (and, where needed, triggered)
	bool triggered;         // modes 1 and 5
	bool first_byte;        // a 16-bit count is half written: low is in written_low
	bool paused;            // the gate holds the count at `elapsed`
	uint8_t written_low;
	bool read_high;         // the next byte read is the high one
	uint8_t latched;        // bytes of the latched count still to be read: 0, 1, 2
	bool status_latched;
	uint8_t status;
	uint16_t latch;
	uint32_t count;         // 1 to 0x10000: what the counting element was loaded with at `start`
	uint32_t next_count;    // modes 2 and 3: taken over at next_at, if not 0; modes 1 and 5: at the next trigger
	bool next_low;          // mode 3: the count taken over starts with its low half
	int64_t start, next_at;
	int64_t elapsed;        // while paused
};

struct i8254 {
	struct dev dev;
	struct i8254_channel channel[3];
	uint8_t port61;         // the writable bits
	struct irq_line irq;    // output of channel 0
	struct timer timer;     // its next rise
};

extern const struct dev_class i8254_class;

// Output of a channel at the present moment.
bool i8254_out(struct i8254 *c, unsigned channel);

#endif
