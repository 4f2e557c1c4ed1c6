// SPDX-License-Identifier: MIT
//
// a * b / c with a 128-bit product, for conversions between clocks. The quotient must fit into 64 bits. The compiler's
// own 128-bit division is a library call, which the monitor does not have.
#ifndef BASE_MULDIV_H
#define BASE_MULDIV_H

#include "base/assert.h"
#include "base/types.h"

static inline uint64_t muldiv64(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t low, high, rest;

	__asm__("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "rm"(b) : "cc");
	ASSERT(high < c);
	__asm__("divq %4" : "=a"(low), "=d"(rest) : "a"(low), "d"(high), "rm"(c) : "cc");
	return low;
}

// The same, rounded up.
static inline uint64_t muldiv64_up(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t low, high, rest;

	__asm__("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "rm"(b) : "cc");
	ASSERT(high < c);
	__asm__("divq %4" : "=a"(low), "=d"(rest) : "a"(low), "d"(high), "rm"(c) : "cc");
	return low + (rest != 0);
}

#endif
