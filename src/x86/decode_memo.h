// SPDX-License-Identifier: MIT
//
// Decoding with a memory. Everything about an instruction but its displacement, its immediate and what follows from
// them is told by its *head*: the bytes up to ModRM and SIB. A memo keeps what was found for heads; one that is met
// again costs a copy. Its results are those of x86_decode, to the byte (tests/unit/test_decode_memo.c).
#ifndef X86_DECODE_MEMO_H
#define X86_DECODE_MEMO_H

#include "x86/decode.h"

enum { X86_MEMO_SIZE = 2048 };

struct x86_memo { // zeroed: empty
	struct {
		uint64_t head;    // its bytes, number of bytes and mode (X86_AMD too); 0: none
		bool signed_imm;
		struct x86_insn insn;
	} entry[X86_MEMO_SIZE];
};

int x86_decode_memo(struct x86_memo *m, struct x86_insn *out, const uint8_t *bytes, size_t n, enum x86_mode mode);

#endif
