/* SPDX-License-Identifier: MIT */
/*
 * What the hostile processes share: where the world keeps its handler and the memory in which registers are handed over
 * (src/vmm/direct.h), and work that takes a while without a system call, so that direct execution is worth it.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdint.h>
#include <time.h>

#define HANDLER 0x410100001000
#define STATE 0x410320004000
enum { RUN = 0, LEFT = 64 }; /* words of STATE */

static volatile uint64_t sink; /* so that the work is done */

static inline void compute(unsigned ms)
{
	struct timespec from, now;
	uint64_t x = 88172645463325252u;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		for (unsigned i = 0; i < 100000; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		sink = x;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

#endif
