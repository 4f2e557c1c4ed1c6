// SPDX-License-Identifier: MIT
//
// The shape of the generated tables, shared by tools/gen_decode.c and decode.c.
// One row tells all about one form of an instruction. A row is found by walking a small decision tree: the root is
// chosen by opcode map, mode and opcode byte; a node looks at a few adjacent bits of the key (prefixes and ModRM bits
// that the decoder has gathered) and leads to another node or to a row. Row 0 is "invalid".
#ifndef X86_DECODE_TABLE_H
#define X86_DECODE_TABLE_H

#include "x86/decode.h"

enum x86_table_map { // first index of the roots
	TMAP_LEGACY, TMAP_0F, TMAP_0F38, TMAP_0F3A, TMAP_3DNOW,
	TMAP_VEX1, TMAP_VEX2, TMAP_VEX3,
	TMAP_XOP8, TMAP_XOP9, TMAP_XOPA,
	TMAP_EVEX1, TMAP_EVEX2, TMAP_EVEX3, TMAP_EVEX5, TMAP_EVEX6,
	TMAP_COUNT
};

// Bits of the key. Bits 4-7 mean the same for all encodings; bits 8-10 are ModRM.rm but for EVEX. The bits that most
// instructions depend on are the lowest ones, so that one node tells them apart.
enum x86_key {
	KEY_OSIZE = BIT(0), KEY_W = BIT(1), KEY_REP_SHIFT = 2 /* 0 none, 1 F3, 2 F2 */, // legacy
	KEY_MOD3 = BIT(4), KEY_REG_SHIFT = 5, KEY_RM_SHIFT = 8,
	KEY_ASIZE = BIT(11), KEY_REXB = BIT(12), // legacy
	KEY_PP_SHIFT = 0 /* 0 none, 1 66, 2 F3, 3 F2 */, KEY_VW = BIT(2), KEY_VL = BIT(3), // VEX, XOP
	KEY_EB = BIT(3), KEY_ELL_SHIFT = 8, KEY_EMASK = BIT(10), KEY_EZ = BIT(11), // EVEX
	KEY_BITS = 13,
};

// A tree entry: a row number, or NODE with the bits of the key to look at and where the children stand.
#define NODE (1u << 31)
#define NODE_SHIFT(e) ((e) >> 27 & 15)
#define NODE_MASK(e) ((1u << ((e) >> 23 & 15)) - 1)
#define NODE_CHILDREN(e) ((e)&0x7fffff)

// What a field names, as far as the decoder has rules about it. OTHER: vectors, x87.
enum x86_reg_kind { KIND_NONE, KIND_OTHER, KIND_MMX, KIND_GPR, KIND_SEG, KIND_MASK, KIND_CR, KIND_DR, KIND_TMM };

enum x86_row_action { // who reads and writes which field's register; partial and conditional writes count as reads
	ACT_REG_R = BIT(0), ACT_REG_W = BIT(1), ACT_RM_R = BIT(2), ACT_RM_W = BIT(3),
	ACT_VVVV_R = BIT(4), ACT_VVVV_W = BIT(5), ACT_OPCODE_R = BIT(6), ACT_OPCODE_W = BIT(7),
};

enum x86_row_flag {
	ROW_LOCKABLE = BIT(0),
	ROW_VVVV = BIT(1),        // vvvv names an operand; otherwise it must be 1111
	ROW_MEM = BIT(2),         // has an explicit memory operand
	ROW_VSIB = BIT(3),
	ROW_NEED_SIB = BIT(4),
	ROW_NO_RIP = BIT(5),
	ROW_MOFFS = BIT(6),
	ROW_NOP = BIT(7),
	ROW_IMM_SIGNED = BIT(8),
	ROW_DIFF_REG_RM = BIT(9), // #UD if the two name the same register (for VSIB rm means the index)
	ROW_DIFF_REG_VVVV = BIT(10),
	ROW_DIFF_RM_VVVV = BIT(11),
	ROW_BITSTRING = BIT(12),
	ROW_IS4 = BIT(13),
	ROW_SHIFT_IMM = BIT(14),  // flags stay when the masked count is 0
	ROW_MODRM_REG_FORM = BIT(15), // ModRM.mod is ignored, rm is a register (MOV CR, MOV DR)
};

enum { ROW_MASK_ALIGNED = BIT(6) };

struct x86_row {
	uint16_t mnemonic;
	uint16_t flags; // enum x86_row_flag
	uint16_t gpr_read, gpr_written; // implicit ones
	uint16_t rflags_read, rflags_written, rflags_undefined;
	uint16_t mem_size;
	uint8_t class, feature;
	uint8_t fields, actions;
	uint8_t reg_kind, rm_kind, vvvv_kind; // enum x86_reg_kind
	uint8_t opsize, vl;
	uint8_t mem_access;
	uint8_t imm_size, imm2_size;
	uint8_t disp8_shift;
	uint8_t mask; // enum x86_mask, binary logarithm of mem.mask_unit << 4, ROW_MASK_ALIGNED
};

extern const struct x86_row x86_rows[];
extern const uint32_t x86_tree[];
extern const uint16_t x86_roots_of[TMAP_COUNT][3]; // which group of 256 roots stands for a map in a mode
extern const uint32_t x86_roots[][256];
extern const uint8_t x86_has_modrm[2][3][32]; // [one-byte or 0F][mode]: bit set of opcodes with a ModRM byte

#endif
