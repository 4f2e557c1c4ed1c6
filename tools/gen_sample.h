// SPDX-License-Identifier: MIT
//
// One question to Zydis: a sample instruction built from a mode, map, opcode and key, and the answer. Shared by the
// generator's files: gen_sample.c asks, gen_row.c and gen_mask.c turn an answer into a row, gen_decode.c walks all
// keys.
#ifndef TOOLS_GEN_SAMPLE_H
#define TOOLS_GEN_SAMPLE_H

#include <Zydis/Zydis.h>

#include "x86/decode_table.h"

enum { MAX_OPERANDS = ZYDIS_MAX_OPERAND_COUNT };

struct sample {
	enum x86_mode mode;
	enum x86_table_map map;
	uint8_t opcode;
	uint16_t key;
	uint8_t reg, rm, vvvv, index;
	bool no_sib, rip;
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand op[MAX_OPERANDS];
};

static inline bool is_evex(enum x86_table_map map)
{
	return map >= TMAP_EVEX1;
}

static inline bool is_vector(enum x86_table_map map)
{
	return map >= TMAP_VEX1;
}

static inline bool is_mem(const struct sample *s)
{
	return !(s->key & KEY_MOD3);
}

static inline bool addr16(const struct sample *s)
{
	bool asize = !is_vector(s->map) && (s->key & KEY_ASIZE);

	return s->mode == X86_MODE16 ? !asize : s->mode == X86_MODE32 && asize;
}

void gen_init(void);
bool gen_ask(struct sample *s); // false: Zydis does not know such an instruction
void gen_row(struct x86_row *row, const struct sample *s);
void gen_mask(struct x86_row *row, const struct sample *s); // after the rest of the row
_Noreturn void gen_die(const char *what);

#endif
