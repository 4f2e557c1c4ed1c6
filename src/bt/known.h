// SPDX-License-Identifier: MIT
//
// Tables of answers that translated code gives by itself: see known.c. Part of struct bt.
#ifndef BT_KNOWN_H
#define BT_KNOWN_H

#include "cpu/system.h"

enum { KNOWN_LEAVES = 16, KNOWN_LEAF_SHIFT = 5, KNOWN_MSR_BITS = 4, KNOWN_MSRS = 1 << KNOWN_MSR_BITS };
#define KNOWN_FACTOR 0x9e3779b1u

struct known_leaf {
	uint64_t key; // leaf, and subleaf in the upper half
	struct cpuid_regs regs;
	uint64_t unused;
};
_Static_assert(sizeof(struct known_leaf) == 1 << KNOWN_LEAF_SHIFT, "translated code shifts");

struct known_msr {
	uint32_t msr, field; // field: offset in struct vcpu
};

struct known {
	bool empty;
	struct known_leaf leaf[KNOWN_LEAVES];
	struct known_msr msr[KNOWN_MSRS];
};

#endif
