// SPDX-License-Identifier: MIT
//
// Tables of answers that translated code gives by itself: see known.c. Part of struct bt.
#ifndef BT_KNOWN_H
#define BT_KNOWN_H

#include "cpu/system.h"

enum { KNOWN_LEAVES = 16, KNOWN_LEAF_SHIFT = 5, KNOWN_MSRS = 256, KNOWN_MSRS_AT_ONCE = 12 };

struct known_leaf {
	uint64_t key; // leaf, and subleaf in the upper half
	struct cpuid_regs regs;
	uint64_t unused;
};
_Static_assert(sizeof(struct known_leaf) == 1 << KNOWN_LEAF_SHIFT, "translated code shifts");

struct known_msr {
	uint32_t minus, field; // the number's complement to 2^32; field: offset in struct vcpu
};

struct known {
	bool empty;
	struct known_leaf leaf[KNOWN_LEAVES];
	struct known_msr msr[KNOWN_MSRS]; // by the number's low byte
	unsigned nmsrs;
	uint8_t filled[KNOWN_MSRS_AT_ONCE]; // those of them that are not empty
};

#endif
