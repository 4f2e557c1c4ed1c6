// SPDX-License-Identifier: MIT
//
// The head (see decode_memo.h) of a 64-bit instruction that has no prefix but REX and no operand in memory, found
// without a branch. Of any other what is returned is of no use but to be compared: it is never that of such a one.
#ifndef X86_REGISTER_HEAD_H
#define X86_REGISTER_HEAD_H

#include "x86/decode_table.h"

struct x86_register_head {
	uint64_t key;  // its bytes, and how many: never 0
	unsigned size;
	bool has_imm;  // the immediate is in it, as it says more than a value
};

// Eight bytes can be read.
static inline struct x86_register_head x86_register_head(const uint8_t *p)
{
	unsigned rex = (p[0] & 0xf0) == 0x40, two = p[rex] == 0x0f, opcode = p[rex + two];
	unsigned modrm = x86_has_modrm[two][X86_MODE64][opcode >> 3] >> (opcode & 7) & 1;
	bool shift = two ? (opcode & 0xf7) == 0xa4 : (opcode & 0xfe) == 0xc0;
	unsigned size = rex + two + 1 + modrm + shift;
	uint64_t bytes;

	__builtin_memcpy(&bytes, p, sizeof(bytes));
	return (struct x86_register_head){(bytes & (BIT64(8 * size) - 1)) | (uint64_t)size << 56, size, shift};
}

#endif
