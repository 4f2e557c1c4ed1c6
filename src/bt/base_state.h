// SPDX-License-Identifier: MIT
//
// The base tier's state: its thunks, sites, look-up of indirect targets, and the counters by which units become hot.
// See base.h.
#ifndef BT_BASE_STATE_H
#define BT_BASE_STATE_H

#include "bt/tu.h"

enum {
	LOOKUPS = 1 << 15, THUNKS_MAX = 96 << 10, KEYS_MAX = THUNKS_MAX + 8192,
	THUNK_HASH = 1 << 17, BASE_SITES_MAX = 6 << 14,
	SEEN = 1 << 20, BASE_SITE_HASH = 1 << 16,
	BASE_MAPS_SEGMENT = 3 << 17, BASE_EXITS_MAX = 1 << 14, BASE_INSNS_MAX = 1 << 14,
	PASSES = 1 << 18, PASSES_SHIFT = 3,
	PASSES_HOT = 8000, PASSES_KERNEL = 2, PASSES_USER = 5, PASSES_APART = 16, PASSES_SHORT = 8,
	RETIRED = 1 << 12,
};

struct base_map { // of each guest instruction of a base unit: how far behind the one before it begins
	uint8_t host, guest; // of the first: from tu.start, tu.pc
};

struct thunk_key { // an instruction's bytes and length, and the mode; or a routine
	uint64_t lo, hi; // hi is never 0
	uint32_t mode;
	uint32_t code; // TC offset, 0: not made yet
};

struct thunk {
	uint32_t start;      // TC offset
	uint8_t victim[3];   // of r9, r10, r11: the register whose place each takes, or X86_REG_NONE
	uint8_t flags : 3;   // enum flag_state at its operation
	bool saved_ax : 1;   // as in struct insn_map
};

struct base_site { // a call of ROUTINE_CHECK
	uint32_t ra;         // TC offset behind the call
	uint32_t next;       // in the hash chain
	uint8_t victim[3];   // as in struct thunk
	uint8_t on_stack;    // bytes on the host's stack above the return address into the unit
	struct site site;    // unit and instruction to be filled in
};

struct place { // in base code
	uint32_t tu, exit; // exit: the one that begins or ends there, or of a counted link, or 0
	uint16_t guest;    // offset of the instruction
	bool ends;         // the exit has just been taken
};

struct base_lookup { // an indirect target
	uint64_t tag;
	const uint8_t *held;  // its footing's byte
	const uint8_t *entry;
	uint64_t needs_flags; // as in struct tu
};
enum { LOOKUP_SHIFT = 5 }; // log of that size

struct verbatim { // an instruction without an operand in memory that has been met: see verbatim.h
	uint64_t head;
	uint8_t len;
	uint8_t operand;     // bytes of an immediate at its end that can be taken over from patched code, or 0
	uint16_t flags_read; // all if it may fault
	uint16_t flags_set;
};
enum { VERBATIM_LOG = 10 };

struct base {
	uint32_t routines, thunks, thunks_end, cold, cold_end; // TC offsets
	uint32_t nthunks, nkeys, nsites, nmaps, nexits, ninsns;
	uint8_t map[X86_GPRS];    // as in struct tu, where recover.c is asked about
	uint64_t tag[MODES_MAX];  // of entries in lookup, xor their address
	uint8_t always;           // 1: as a footing that is held
	struct base_lookup lookup[LOOKUPS];
	uint16_t passes[PASSES];  // counters of places and targets by hash; hot when one becomes 0
	uint64_t seen[SEEN / 64]; // by hash: instructions met once, which have no thunk of their own yet
	uint8_t retired[RETIRED]; // by guest frame, hashed: how many hot units have been
	uint32_t key_hash[THUNK_HASH];    // number of a key, or 0
	struct thunk_key key[KEYS_MAX];
	struct thunk thunk[THUNKS_MAX];
	struct base_site site[BASE_SITES_MAX];
	uint32_t site_hash[BASE_SITE_HASH];
	struct verbatim verbatim[1 << VERBATIM_LOG];
	struct base_map bmap[TC_SEGMENTS * BASE_MAPS_SEGMENT];
};

#endif
