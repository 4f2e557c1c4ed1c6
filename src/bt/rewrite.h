// SPDX-License-Identifier: MIT
//
// Re-encode one guest instruction as a 64-bit host instruction with its general registers renamed and its memory
// operand redirected; everything else (opcode, prefixes, immediates, vector operands) is kept. The heart of IDENT
// translation and of widening: input may be 16-, 32- or 64-bit code, output is always 64-bit code. Pure.
#ifndef BT_REWRITE_H
#define BT_REWRITE_H

#include "x86/decode.h"

enum { REWRITE_MAX = 20 }; // bytes an output instruction can take at most (checked: never more than 15 is emitted)

struct rewrite {
	uint8_t map[X86_GPRS]; // host register for each guest register named by an explicit field
	bool has_mem;          // replace the memory operand by the following
	uint8_t base;          // host register, or X86_REG_RIP, or X86_REG_NONE for none (absolute)
	uint8_t index;         // host register or X86_REG_NONE
	uint8_t scale;
	bool addr32;           // the sum of these is cut to 32 bits
	int32_t disp;
	// For byte registers AH CH DH BH that can no longer be named because the output needs a REX prefix the function
	// returns REWRITE_NEED_LOW (see below).
};

enum rewrite_result {
	REWRITE_NEED_LOW = -1,  // names AH..BH and the requested registers need REX (or map moves the register): caller
				// must use another sequence
	REWRITE_CANNOT = -2,    // no 64-bit encoding exists (PUSHA, BCD, ...) or the operand is implicit
};

// Writes the instruction to out; returns its length or enum rewrite_result.
// bytes are the insn->len guest bytes. Segment prefixes, address-size prefixes and redundant legacy prefixes are
// dropped; LOCK, mandatory prefixes, operand size, REX.W / VEX.W, masks, rounding and broadcast are kept. EVEX
// displacements are disp32, or disp8*N where the source shows N and it divides. One-byte INC/DEC (40-4F outside
// 64-bit mode) become FF /0, FF /1. 16-bit operand size in 16-bit code gains a 66 prefix; 32-bit operand size in
// 16-bit code loses it; 32-bit code keeps it.
// moffs forms (A0-A3) become ModRM forms on rAX with the memory operand given.
// Without has_mem the instruction's own memory operand is kept, its registers renamed (for LEA, and for memory mapped
// at the guest's addresses): REWRITE_CANNOT if it is RIP-relative or 16-bit. A base X86_REG_RIP takes disp as it
// stands, relative to the end of the output. Registers the instruction implies (CL of shifts, RAX of MUL) must map to
// themselves, else REWRITE_CANNOT; accumulator forms (05, A8, 90-97) become ModRM forms when RAX has moved.
int rewrite_insn(uint8_t out[REWRITE_MAX], const struct x86_insn *insn, const uint8_t *bytes, const struct rewrite *rw);

// Is this an instruction rewrite_insn handles at all? (No stack, branch, segment or privileged ones.)
bool rewrite_supported(const struct x86_insn *insn);

#endif
