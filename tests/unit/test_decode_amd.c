// SPDX-License-Identifier: MIT
//
// What the decoder says with X86_AMD of the instructions that differ, on any host: as a Zen 4 was seen to run them
// (test_decode_host compares all others there).
#include <stdio.h>

#include "x86/decode.h"

enum { UNDEFINED = -1 };

static const struct {
	uint8_t bytes[10];
	enum x86_mode mode;
	int len[2]; // Intel's, AMD's
	enum x86_class class; // AMD's
	unsigned opsize, size; // AMD's, and of the memory operand
} rows[] = {
	{{0x66, 0xe9, 5, 0, 0, 0}, X86_MODE64, {6, 4}, X86_CLASS_NEAR16, 2, 0},
	{{0x66, 0xe8, 5, 0, 0, 0}, X86_MODE64, {6, 4}, X86_CLASS_NEAR16, 2, 0},
	{{0x66, 0x0f, 0x84, 5, 0, 0, 0}, X86_MODE64, {7, 5}, X86_CLASS_NEAR16, 2, 0},
	{{0x66, 0x48, 0x0f, 0x84, 5, 0, 0, 0}, X86_MODE64, {8, 8}, X86_CLASS_JCC, 8, 0},
	{{0x66, 0xeb, 5}, X86_MODE64, {3, 3}, X86_CLASS_NEAR16, 2, 0},
	{{0x66, 0xe2, 5}, X86_MODE64, {3, 3}, X86_CLASS_NEAR16, 2, 0},
	{{0x66, 0xc2, 8, 0}, X86_MODE64, {4, 4}, X86_CLASS_NEAR16, 2, 0},
	{{0x66, 0xff, 0x20}, X86_MODE64, {3, 3}, X86_CLASS_NEAR16, 2, 2},
	{{0x66, 0x48, 0xff, 0x20}, X86_MODE64, {4, 4}, X86_CLASS_JMP_IND, 8, 8},
	{{0x66, 0xe9, 5, 0, 0, 0}, X86_MODE32, {4, 4}, X86_CLASS_JMP, 2, 0},
	{{0xe9, 5, 0, 0, 0}, X86_MODE64, {5, 5}, X86_CLASS_JMP, 8, 0},
	{{0x48, 0xff, 0x28}, X86_MODE64, {3, 3}, X86_CLASS_JMP_FAR, 8, 6},
	{{0x48, 0x0f, 0xb2, 0x00}, X86_MODE64, {4, 4}, X86_CLASS_LOAD_FAR_PTR, 8, 6},
	{{0x0f, 0x0d, 0xc0}, X86_MODE64, {3, UNDEFINED}, X86_CLASS_INVALID, 0, 0},
	{{0x0f, 0x0d, 0x00}, X86_MODE64, {3, 3}, X86_CLASS_PLAIN, 4, 64},
	{{0xc4, 0xe3, 0xf9, 0x16, 0xc0, 1}, X86_MODE32, {6, UNDEFINED}, X86_CLASS_INVALID, 0, 0},
	{{0xc4, 0xe3, 0xf9, 0x16, 0xc0, 1}, X86_MODE64, {6, 6}, X86_CLASS_AVX, 8, 0},
};

int main(void)
{
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct x86_insn intel, amd;
		int len[2] = {x86_decode(&intel, rows[i].bytes, 10, rows[i].mode),
			x86_decode(&amd, rows[i].bytes, 10, rows[i].mode | X86_AMD)};

		if (len[0] == rows[i].len[0] && len[1] == rows[i].len[1] && amd.class == rows[i].class &&
		    (len[1] < 0 || (amd.opsize == rows[i].opsize && (!amd.mem.access || amd.mem.size == rows[i].size))))
			continue;
		printf("row %zu: lengths %d %d, class %s, operand %u, memory %u\n", i, len[0], len[1],
		       x86_class_name(amd.class), amd.opsize, amd.mem.size);
		failed++;
	}
	return failed != 0;
}
