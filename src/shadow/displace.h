// SPDX-License-Identifier: MIT
//
// Code of one page put in words that mean the same elsewhere: see displaced.h for what becomes of it.
#ifndef SHADOW_DISPLACE_H
#define SHADOW_DISPLACE_H

#include "bt/emit.h"
#include "shadow/displaced.h"
#include "x86/decode.h"

struct displacer {
	struct displaced *d;
	struct displaced_slot *slot;
	struct emit e;       // state: the world's (vmm_direct_state_at)
	uint64_t index;      // the world's address of it
	const uint8_t *page; // the guest's
	const uint8_t *after; // the one behind it, if it is to be run as well; or NULL
	unsigned rules;      // enum sensitive_rule
	bool all;            // of the page
	uint64_t todo[PAGE_SIZE / 64]; // offsets that are led to
	unsigned patches;
	struct displaced_patch {
		uint8_t *place;      // of a rel32
		uint16_t offset;     // that it is to lead to
	} patch[512];
};

// The instruction at this offset, its bytes, and what x86_decode says.
int displace_decode(const struct displacer *w, unsigned offset, struct x86_insn *insn, uint8_t bytes[2 * X86_INSN_MAX]);

// From this offset on, and what that leads to on the page, as far as there is room; then all.
void displace(struct displacer *w, unsigned offset);

#endif
