// SPDX-License-Identifier: MIT
//
// Displaced code: code on pages that have a sensitive instruction somewhere is not run in place, but its other
// instructions run elsewhere in the same world, as if they were in place (displaced.c). Each world has an area for it,
// which the monitor writes and the world can only read: an index by page number, made of addresses that the guest
// chooses, then, to be executed, too, the slots, each a table by the offset in the page, and code.
#ifndef SHADOW_DISPLACED_H
#define SHADOW_DISPLACED_H

#define DISPLACED_SLOTS 32
#define DISPLACED_INDEX 512
#define DISPLACED_SLOT_SHIFT 16
#define DISPLACED_SLOT_SIZE (1 << DISPLACED_SLOT_SHIFT)
#define DISPLACED_INDEX_SIZE DISPLACED_SLOT_SIZE
#define DISPLACED_SIZE (DISPLACED_INDEX_SIZE + (DISPLACED_SLOTS << DISPLACED_SLOT_SHIFT))
#define DISPLACED_TABLE_SIZE 0x4000 // uint32_t by offset: where its code begins, from the slot's beginning; or 0

#ifndef __ASSEMBLER__
#include "base/types.h"

struct displaced_area { // as the world's signal handler reads it, and follows it (vmm/direct.S)
	uint64_t index[DISPLACED_INDEX]; // by page number, folded: page's address + slot + 1, or 0
	uint8_t rest[DISPLACED_INDEX_SIZE - 8 * DISPLACED_INDEX];
	struct displaced_slot {
		uint32_t code[DISPLACED_TABLE_SIZE / 4];
		uint8_t bytes[DISPLACED_SLOT_SIZE - DISPLACED_TABLE_SIZE];
	} slot[DISPLACED_SLOTS];
};

// For the monitor: what a place in a slot stands for.
struct displaced_note {
	uint16_t at;     // from there on, from the slot's beginning
	uint16_t offset; // in the page: the instruction, none of which has been done yet, but for
	uint8_t saved;   // this register being kept in the world's state, or X86_REG_NONE
	bool saved_rdx;  // and RDX
	int8_t pushed;   // so many bytes having been pushed, or (< 0) popped
};

enum { DISPLACED_NOTES = 6144 };

struct displaced {
	gva_t page;          // whose it is
	uint32_t used;       // of the slot, its table included
	uint32_t notes;
	unsigned stops;      // at what cannot be displaced, since:
	uint64_t stops_began; // (TSC)
	struct displaced_note note[DISPLACED_NOTES]; // in the order of their places
};

struct vcpu;
struct direct_left;
struct shadow_space;

// All of the present space, which has a world. The address in the world of the code displaced from this one, or 0.
uint64_t displaced_find(const struct vcpu *v, gva_t rip);
bool displaced_add(struct vcpu *v, gva_t rip); // code on a sensitive page; false: it has to be translated
// Registers of a world that has stopped in displaced code become what they would be in place.
void displaced_undo(struct vcpu *v, const struct direct_left *left);
bool displaced_is_all_cpuids(struct vcpu *v); // all that there is: of pages where CPUID alone is why
void displaced_note_stop(struct vcpu *v);    // at an instruction that could not be displaced
// Of any space that has a world: the mappings of these pages change.
void displaced_forget(struct vcpu *v, const struct shadow_space *p, gva_t gva, uint64_t size);
#endif
#endif
