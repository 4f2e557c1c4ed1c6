// SPDX-License-Identifier: MIT
//
// The decoder's place in the bytes and what it has gathered from them; shared by decode_opcode.c and decode.c. Fetching
// never goes beyond the bytes given. Each step returns OK to go on, or SHORT (bytes missing) or BAD (#UD).
#ifndef X86_DECODE_CURSOR_H
#define X86_DECODE_CURSOR_H

#include "x86/decode.h"
#include "x86/decode_table.h"

enum status { OK, SHORT, BAD };

struct cursor {
	const uint8_t *bytes;
	unsigned at, limit;
	enum x86_mode mode;
	bool amd;     // X86_AMD
	uint8_t rep;  // last of F3 (1) and F2 (2), or 0
	uint8_t seg;  // override, or X86_REG_NONE
	uint8_t w, r, x, b; // register extensions in place: r, x and b are 0 or 8, w is 0 or 1
	uint8_t r2, v2, x2; // EVEX: 0 or 16
	uint8_t vvvv; // as encoded, uninverted; outside 64-bit mode the operand ignores bit 3
	enum x86_table_map tmap;
	uint16_t key;
};

#define TRY(e) \
	do { \
		enum status s_ = (e); \
		if (s_ != OK) \
			return s_; \
	} while (0)

static inline enum status fetch(struct cursor *c, uint8_t *v)
{
	if (c->at >= c->limit)
		return SHORT;
	*v = c->bytes[c->at++];
	return OK;
}

// Little-endian value of 1, 2, 4 or 8 bytes, sign-extended.
static inline enum status fetch_signed(struct cursor *c, unsigned size, int64_t *v)
{
	const uint8_t *p = c->bytes + c->at;

	if (c->at + size > c->limit)
		return SHORT;
	c->at += size;
	switch (size) {
	case 1: *v = (int8_t)*p; break;
	case 2: *v = (int16_t)(p[0] | p[1] << 8); break;
	case 4: {
		int32_t d;

		__builtin_memcpy(&d, p, 4);
		*v = d;
		break;
	}
	default: __builtin_memcpy(v, p, 8);
	}
	return OK;
}

// Prefixes of all kinds and the opcode: fills the cursor's key but for the ModRM bits.
enum status decode_take_opcode(struct cursor *c, struct x86_insn *out);

#endif
