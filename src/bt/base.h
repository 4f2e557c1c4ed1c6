// SPDX-License-Identifier: MIT
//
// The base tier: small code, quickly made, for what has not proven yet to run often. Between any two instructions of a
// base unit the guest's state is in its homes and its arithmetic flags are in the host's. What an instruction needs
// beyond its own bytes stands in the shared part of the translation cache and is called:
//   routines.c   made by hand: checks of memory operands, calls, returns, polls, exits, the look-up of indirect targets
//   thunk.c      one instruction each, made once for all units that hold the same bytes
//   base.c       units: a row of plain instructions and calls of thunks
//   place.c      from addresses in base code back to the guest's instructions
//   promote.c    who has run often enough to become a hot unit
#ifndef BT_BASE_H
#define BT_BASE_H

#include "bt/trans.h"

enum {
	LOOKUPS_AT = 64, LOOKUP_SIZE = 192,  // TC offsets: look-up routines, one for each mode's table
	ROUTINES_AT = LOOKUPS_AT + MODES_MAX * LOOKUP_SIZE, THUNKS_AT = 32 << 10,
};

enum routine {
	ROUTINE_CHECK,     // of T0, as emit_check: argument is CHECK_ARGUMENT
	ROUTINE_POLL,      // of vcpu.pending, where a loop passes; argument: enum loop_kind
	ROUTINE_COUNT,     // passes of a link from a hot unit; argument: how much each counts for
	ROUTINE_CALL,      // push the guest's return address; argument: CALL_ARGUMENT
	ROUTINE_LAND,      // a return has come to where T1 is the guest's address; argument: 1 for 8 bytes of it, 2 for
			   // one of 32-bit code
	ROUTINE_LAND_GONE, // the same in a unit that has been retired
	ROUTINE_JUMP,      // to the address in T0; argument: mode number
	ROUTINE_EXIT,      // an exit that is not linked
	ROUTINE_TRUST,     // look at the stack pointer before hot code of the mapped form
	ROUTINE_EXIT_CALL, // the same, a call
};

enum loop_kind { LOOP_USER, LOOP_KERNEL, LOOP_SHORT };

// With a landing or not; the address in 8 bytes or 4.
#define CALL_ARGUMENT(tlb, code32, lands, wide) ((uint32_t)(tlb) << 3 | (code32) << 2 | (lands) << 1 | (wide))
#define CHECK_ARGUMENT(tlb, write, size) ((uint32_t)(tlb) << 17 | (uint32_t)(write) << 16 | (size))

// -- routines.c
bool base_has_room(const struct bt *b);
uint32_t base_routine(struct trans *t, enum routine r, uint32_t argument); // its TC offset
void emit_call_shared(struct bt *b, struct emit *e, uint32_t routine);
void base_trust_stack(struct emit *e, uint32_t mode);
void emit_jmp_shared(struct bt *b, struct emit *e, uint32_t routine);
void base_note_site(struct trans *t, const struct emit *e, unsigned access, unsigned size, unsigned seg);
void base_check(struct trans *t, unsigned access, unsigned size, unsigned seg);

// -- thunk.c
struct thunk_key *base_key(struct bt *b, uint64_t lo, uint64_t hi, uint32_t mode); // found or new
const struct base_site *base_site_at(const struct bt *b, uint32_t ra);
uint32_t thunk_of(struct trans *t, const struct x86_insn *insn, bool *given);
void thunk_expect(struct trans *t, unsigned i); // for this instruction: its key comes into the host's caches
const struct thunk *thunk_at(const struct bt *b, uint32_t at);
void base_emit_exit(struct bt *b, struct emit *e, const struct exit *x); // as if it were not linked
void base_note_op(struct trans *t);
void base_note_saved_ax(struct trans *t);

// -- base.c
bool base_goes_on(const struct trans *t, const struct x86_insn *insn); // behind a call
bool base_can(const struct trans *t, const struct x86_insn *insn);
bool base_is_same(const struct x86_insn *insn); // it stands as it is
void base_unit(struct trans *t);

#endif
