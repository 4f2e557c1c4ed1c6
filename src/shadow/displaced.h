// SPDX-License-Identifier: MIT
//
// Displaced code: code on pages that have a sensitive instruction somewhere is not run in place, but its other
// instructions run elsewhere in the same world, as if they were in place (displaced.c). Each world has an area for it,
// which the monitor writes and the world can only read: an index by page number, made of addresses that the guest
// chooses, then, to be executed, too, the slots, each a table by the offset in the page, and code.
//
// By --memory=displaced nothing is run in place: a test of all this by whatever runs in the guest.
#ifndef SHADOW_DISPLACED_H
#define SHADOW_DISPLACED_H

#define DISPLACED_SLOTS 192 // of which the first has no page, and nothing in its table
#define DISPLACED_INDEX_BITS 16
#define DISPLACED_INDEX_SIZE (16 << DISPLACED_INDEX_BITS)
#define DISPLACED_SLOT_SHIFT 16
#define DISPLACED_SLOT_SIZE (1 << DISPLACED_SLOT_SHIFT)
#define DISPLACED_SIZE (DISPLACED_INDEX_SIZE + (DISPLACED_SLOTS << DISPLACED_SLOT_SHIFT))
#define DISPLACED_TABLE_SIZE 0x2000 // uint16_t by offset: where its code begins, from the slot's beginning; or 0

#ifndef __ASSEMBLER__
#include "base/types.h"

struct displaced_area { // as the world's signal handler and displaced code read it (vmm/direct.S, displace.c)
	struct displaced_place { // by page number, folded
		uint64_t minus_page; // that and an address is the offset, if it is on this page; 0: none
		uint64_t slot;       // its address in the world
	} index[1 << DISPLACED_INDEX_BITS];
	struct displaced_slot {
		uint16_t code[DISPLACED_TABLE_SIZE / 2];
		uint8_t bytes[DISPLACED_SLOT_SIZE - DISPLACED_TABLE_SIZE];
	} slot[DISPLACED_SLOTS];
};

// What is to be undone for an instruction not to have begun. Registers are kept in the world's state.
enum displaced_undo { UNDO_NONE, UNDO_PUSH, UNDO_POP, UNDO_LOOK_UP, UNDO_SAVE }; // + the register - R8: up to R11

// For the monitor: what a place in a slot stands for.
struct displaced_note {
	uint32_t at : 16;     // from there on, from the slot's beginning
	uint32_t offset : 13; // in the page: the instruction, none of which has been done yet, but for
	uint32_t undo : 3;    // enum displaced_undo
};

// A jump to another page: it leads there in place until that is displaced as well.
struct displaced_link {
	uint32_t at;    // of its target's address, from the slot's beginning
	gva_t target;
};

enum { DISPLACED_NOTES = 4096, DISPLACED_LINKS = 256 };

struct displaced {
	gva_t page;          // whose it is
	uint32_t used;       // of the slot, its table included
	uint16_t notes, links;
	bool crosses;        // an instruction of it ends on the next page
	unsigned visits;     // where there was no code yet
	unsigned stops;      // at what cannot be displaced, since:
	uint64_t stops_began; // (TSC)
	struct displaced_note note[DISPLACED_NOTES]; // in the order of their places
	struct displaced_link link[DISPLACED_LINKS];
};

struct displaced_slots { // of a world
	uint64_t used[DISPLACED_SLOTS / 64];
	struct displaced slot[DISPLACED_SLOTS];
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
