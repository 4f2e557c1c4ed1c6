// SPDX-License-Identifier: MIT
//
// Code of one page put in words that mean the same elsewhere: see displaced.h for what becomes of it.
#ifndef SHADOW_DISPLACE_H
#define SHADOW_DISPLACE_H

#include "bt/emit.h"
#include "shadow/displaced.h"

struct displacer {
	struct displaced *d;
	struct displaced_slot *slot;
	struct emit e;       // state: the world's (vmm_direct_state_at)
	const uint8_t *page; // the guest's
	unsigned rules;      // enum sensitive_rule
	uint64_t todo[PAGE_SIZE / 64]; // offsets that are led to
	unsigned patches;
	struct displaced_patch {
		uint8_t *place;      // of a rel32
		uint16_t offset;     // that it is to lead to
	} patch[512];
};

// From this offset on, and what that leads to on the page, as far as there is room.
void displace(struct displacer *w, unsigned offset);

#endif
