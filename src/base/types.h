// SPDX-License-Identifier: MIT
//
// The types every folder uses. Address spaces are types: a guest virtual (linear) address, a guest
// physical address and a guest frame number are integers; host addresses are always pointers.
#ifndef BASE_TYPES_H
#define BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gva_t; // guest linear address
typedef uint64_t gpa_t; // guest physical address
typedef uint64_t gfn_t; // guest frame number: gpa_t >> 12

enum { PAGE_SHIFT = 12, PAGE_SIZE = 1 << PAGE_SHIFT, PAGE_OFFSET = PAGE_SIZE - 1 };

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1u << (n))
#define BIT64(n) (UINT64_C(1) << (n))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static inline uint64_t align_down(uint64_t x, uint64_t a)
{
	return x & ~(a - 1);
}

static inline uint64_t align_up(uint64_t x, uint64_t a)
{
	return (x + a - 1) & ~(a - 1);
}

#endif
