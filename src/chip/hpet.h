// SPDX-License-Identifier: MIT
//
// High precision event timers: one block, 64-bit counter at 100 MHz, three comparators, at 0xfed00000. See chip/hpet.c.
#ifndef CHIP_HPET_H
#define CHIP_HPET_H

#include "bus/bus.h"

enum { HPET_TIMERS = 3, HPET_SIZE = 0x400, HPET_NS_PER_TICK = 10,
	HPET_GSI = 2 /* the one input all can be routed to */ };
#define HPET_BASE UINT64_C(0xfed00000)

struct hpet;

struct hpet_timer {
	struct hpet *hpet;
	uint64_t config, comparator, period, fsb;
	uint64_t since; // the counter when it was armed, or has caught up
	struct timer timer;
};

struct hpet {
	struct dev dev;
	uint64_t config, status;
	uint64_t counter;  // while halted; else the counter at virtual time 0, modulo 2^64
	struct hpet_timer timers[HPET_TIMERS];
	// Interrupt of timer n: input = GSI. legacy: PIT's place for timer 0, the RTC's for timer 1.
	void (*set_gsi)(void *opaque, unsigned gsi, bool level);
	void (*legacy_changed)(void *opaque, bool legacy);
	void *opaque;
};

extern const struct dev_class hpet_class;

bool hpet_legacy(const struct hpet *c);

#endif
