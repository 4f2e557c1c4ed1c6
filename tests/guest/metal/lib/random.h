/* SPDX-License-Identifier: MIT */
/*
 * Random numbers for fuzzers: the same in each run of the suite, from the clock in soaks, which give CASES (soak.sh).
 */
#ifndef METAL_RANDOM_H
#define METAL_RANDOM_H
#include "lib/metal.h"

static u64 random_state;

static inline u64 any(void) /* xorshift */
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static inline unsigned below(unsigned n) { return (unsigned)(any() >> 32) % n; }

static inline void begin_random(bool soak)
{
	random_state = (soak ? rdtsc() : 1) * 0x9e3779b97f4a7c15 | 1;
	print("seed %lx\n", random_state);
}
#endif
