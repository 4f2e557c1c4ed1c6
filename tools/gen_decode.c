// SPDX-License-Identifier: MIT
//
// Generates the decoder's tables from Zydis: for every mode, opcode map, opcode and combination of the key bits
// (x86/decode_table.h) it builds a sample instruction, asks Zydis about it and turns the answer into a row. Equal rows
// and equal subtrees are shared, which makes the tables small.
// Usage: gen_decode tables.c mnemonic.h
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_facts.h"
#include "x86/decode_table.h"

enum { KEYS = 1 << KEY_BITS, ROWS_MAX = 32768, TREE_MAX = 1 << 20, HASH_SIZE = 1 << 18, GROUPS_MAX = TMAP_COUNT * 3 };
enum { MAX_OPERANDS = ZYDIS_MAX_OPERAND_COUNT };

static ZydisDecoder decoders[3];
static struct x86_row rows[ROWS_MAX];
static uint32_t row_count = 1;
static uint32_t tree[TREE_MAX];
static uint32_t tree_count;
static uint32_t row_hash[HASH_SIZE];
static uint32_t node_hash[HASH_SIZE];
static uint32_t roots[GROUPS_MAX][256];
static uint16_t roots_of[TMAP_COUNT][3];
static uint8_t has_modrm[2][3][32];

// One question to Zydis: the sample's variable parts and the answer.
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

static void die(const char *what)
{
	fprintf(stderr, "gen_decode: %s\n", what);
	exit(1);
}

static bool is_evex(enum x86_table_map map)
{
	return map >= TMAP_EVEX1;
}

static bool is_vector(enum x86_table_map map)
{
	return map >= TMAP_VEX1;
}

static bool is_mem(const struct sample *s)
{
	return !(s->key & KEY_MOD3);
}

static bool addr16(const struct sample *s)
{
	bool asize = !is_vector(s->map) && (s->key & KEY_ASIZE);

	return s->mode == X86_MODE16 ? !asize : s->mode == X86_MODE32 && asize;
}

/* Building a sample's bytes. */

static size_t put_legacy_prefixes(const struct sample *s, uint8_t *b)
{
	static const uint8_t rep[] = { 0, 0xf3, 0xf2, 0xf2 };
	size_t n = 0;
	unsigned r = s->key >> KEY_REP_SHIFT & 3;
	uint8_t rex = (s->key & KEY_W ? 8 : 0) | (s->key & KEY_REXB ? 1 : 0);

	if (r)
		b[n++] = rep[r];
	if (s->key & KEY_OSIZE)
		b[n++] = 0x66;
	if (s->key & KEY_ASIZE)
		b[n++] = 0x67;
	if (s->mode == X86_MODE64 && rex)
		b[n++] = 0x40 | rex;
	return n;
}

static size_t put_vex(const struct sample *s, uint8_t *b)
{
	static const uint8_t mmmmm[] = { 1, 2, 3, 8, 9, 10 };
	uint8_t pp = s->key >> KEY_PP_SHIFT & 3;

	b[0] = s->map >= TMAP_XOP8 ? 0x8f : 0xc4;
	b[1] = 0xe0 | mmmmm[s->map - TMAP_VEX1];
	b[2] = (s->key & KEY_VW ? 0x80 : 0) | (~s->vvvv & 15) << 3 | (s->key & KEY_VL ? 4 : 0) | pp;
	b[3] = s->opcode;
	return 4;
}

static size_t put_evex(const struct sample *s, uint8_t *b)
{
	static const uint8_t mmm[] = { 1, 2, 3, 5, 6 };

	b[0] = 0x62;
	b[1] = 0xf0 | mmm[s->map - TMAP_EVEX1];
	b[2] = (s->key & KEY_VW ? 0x80 : 0) | (~s->vvvv & 15) << 3 | 4 | (s->key >> KEY_PP_SHIFT & 3);
	b[3] = (s->key & KEY_EZ ? 0x80 : 0) | (s->key >> KEY_ELL_SHIFT & 3) << 5 | (s->key & KEY_EB ? 0x10 : 0) | 8 |
		(s->key & KEY_EMASK ? 1 : 0);
	b[4] = s->opcode;
	return 5;
}

static size_t put_opcode(const struct sample *s, uint8_t *b)
{
	size_t n = put_legacy_prefixes(s, b);

	if (s->map >= TMAP_0F)
		b[n++] = 0x0f;
	if (s->map == TMAP_0F38)
		b[n++] = 0x38;
	if (s->map == TMAP_0F3A)
		b[n++] = 0x3a;
	if (s->map == TMAP_3DNOW)
		b[n++] = 0x0f;
	else
		b[n++] = s->opcode;
	return n;
}

static size_t put_modrm(const struct sample *s, uint8_t *b)
{
	if (!is_mem(s)) {
		b[0] = 0xc0 | s->reg << 3 | s->rm;
		return 1;
	}
	if (s->rip) {
		b[0] = s->reg << 3 | 5;
		memset(b + 1, 0, 4);
		return 5;
	}
	if (addr16(s) || s->no_sib) {
		b[0] = 0x40 | s->reg << 3;
		b[1] = 1;
		return 2;
	}
	b[0] = 0x40 | s->reg << 3 | 4;
	b[1] = s->index << 3 | 3;
	b[2] = 1;
	return 3;
}

// Knights Corner instructions in VEX encoding, which Zydis knows in any mode. No other processor has them.
static bool is_knights_corner(ZydisISASet set)
{
	return set == ZYDIS_ISA_SET_KNCE || set == ZYDIS_ISA_SET_KNCJKBR || set == ZYDIS_ISA_SET_KNCSTREAM ||
		set == ZYDIS_ISA_SET_KNCV || set == ZYDIS_ISA_SET_KNC_MISC || set == ZYDIS_ISA_SET_KNC_PF_HINT;
}

static bool ask(struct sample *s)
{
	uint8_t b[40] = { 0 };
	size_t n = is_evex(s->map) ? put_evex(s, b) : is_vector(s->map) ? put_vex(s, b) : put_opcode(s, b);

	n += put_modrm(s, b + n);
	if (s->map == TMAP_3DNOW)
		b[n] = s->opcode;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[s->mode], b, 15, &s->insn, s->op)) &&
		!is_knights_corner(s->insn.meta.isa_set);
}

/* From Zydis's answer to a row. */

static enum x86_reg_kind reg_kind(ZydisRegister r)
{
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8: case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
		return KIND_GPR;
	case ZYDIS_REGCLASS_MMX: return KIND_MMX;
	case ZYDIS_REGCLASS_MASK: return KIND_MASK;
	case ZYDIS_REGCLASS_SEGMENT: return KIND_SEG;
	case ZYDIS_REGCLASS_CONTROL: return KIND_CR;
	case ZYDIS_REGCLASS_DEBUG: return KIND_DR;
	case ZYDIS_REGCLASS_TMM: return KIND_TMM;
	default: return KIND_OTHER;
	}
}

static uint16_t gpr_mask(ZydisRegister r)
{
	ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

	return full >= ZYDIS_REGISTER_RAX && full <= ZYDIS_REGISTER_R15 ? BIT(full - ZYDIS_REGISTER_RAX) : 0;
}

// The accesses of a register operand, where keeping part of the old value counts as reading.
static unsigned reg_access(const struct sample *s, const ZydisDecodedOperand *op)
{
	unsigned a = 0;

	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		a |= X86_READ;
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		a |= X86_WRITE;
	if (op->actions & ZYDIS_OPERAND_ACTION_CONDWRITE)
		a |= X86_READ;
	if ((a & X86_WRITE) && reg_kind(op->reg.value) == KIND_GPR && ZydisRegisterGetWidth(s->insn.machine_mode, op->reg.value) < 32)
		a |= X86_READ;
	if ((a & X86_WRITE) && (s->insn.mnemonic == ZYDIS_MNEMONIC_BSF || s->insn.mnemonic == ZYDIS_MNEMONIC_BSR))
		a |= X86_READ; // a zero source leaves the destination
	return a;
}

static void add_implicit(struct x86_row *row, uint16_t mask, unsigned access)
{
	if (access & X86_READ)
		row->gpr_read |= mask;
	if (access & X86_WRITE)
		row->gpr_written |= mask;
	if (mask)
		row->fields |= X86_FIELD_IMPLICIT_GPR;
}

static void add_register(struct x86_row *row, const struct sample *s, const ZydisDecodedOperand *op)
{
	enum x86_reg_kind kind = reg_kind(op->reg.value);
	unsigned access = reg_access(s, op);
	bool byte = ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_GPR8;

	switch (op->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG:
		row->reg_kind = kind;
		if (kind == KIND_GPR)
			row->fields |= X86_FIELD_REG_GPR | (byte ? X86_FIELD_REG_BYTE : 0);
		row->actions |= access * ACT_REG_R;
		break;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		row->rm_kind = kind;
		if (kind == KIND_GPR)
			row->fields |= X86_FIELD_RM_GPR | (byte ? X86_FIELD_RM_BYTE : 0);
		row->actions |= access * ACT_RM_R;
		break;
	case ZYDIS_OPERAND_ENCODING_NDSNDD:
		row->vvvv_kind = kind;
		if (kind == KIND_GPR)
			row->fields |= X86_FIELD_VVVV_GPR;
		row->actions |= access * ACT_VVVV_R;
		break;
	case ZYDIS_OPERAND_ENCODING_OPCODE:
		if (kind == KIND_GPR) {
			row->fields |= X86_FIELD_OPCODE_GPR | (byte ? X86_FIELD_OPCODE_BYTE : 0);
			row->actions |= access * ACT_OPCODE_R;
		}
		break;
	case ZYDIS_OPERAND_ENCODING_IS4:
		row->flags |= ROW_IS4;
		break;
	case ZYDIS_OPERAND_ENCODING_MASK:
		break;
	default:
		add_implicit(row, gpr_mask(op->reg.value), access);
	}
}

static bool has_address_operand(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_MOVDIR64B || m == ZYDIS_MNEMONIC_ENQCMD || m == ZYDIS_MNEMONIC_ENQCMDS;
}

static bool moves_pointers(const struct sample *s)
{
	return s->insn.meta.category == ZYDIS_CATEGORY_STRINGOP || s->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

static void add_memory(struct x86_row *row, const struct sample *s, const ZydisDecodedOperand *op)
{
	bool vsib = op->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
	unsigned size = vsib ? op->element_size / 8 : op->size / 8;

	if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && has_address_operand(s->insn.mnemonic))
		return; // what the register points to
	if (op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM && op->encoding != ZYDIS_OPERAND_ENCODING_DISP16_32_64) {
		add_implicit(row, gpr_mask(op->mem.base) | gpr_mask(op->mem.index),
			moves_pointers(s) ? X86_READ | X86_WRITE : X86_READ);
		return;
	}
	row->flags |= ROW_MEM | (vsib ? ROW_VSIB : 0);
	if (op->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64)
		row->flags |= ROW_MOFFS;
	else if (op->mem.disp.value > 1)
		row->disp8_shift = __builtin_ctzll(op->mem.disp.value);
	if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return;
	row->mem_size = size;
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		row->mem_access |= X86_READ;
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		row->mem_access |= X86_WRITE;
}

static bool has_mmx_operand(const struct sample *s)
{
	for (int i = 0; i < s->insn.operand_count; i++)
		if (s->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER && reg_kind(s->op[i].reg.value) == KIND_MMX)
			return true;
	return false;
}

static enum x86_class class_of_branch(const struct sample *s)
{
	bool far = s->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	bool direct = s->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

	switch (s->insn.mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
		return far ? X86_CLASS_JMP_FAR : direct ? X86_CLASS_JMP : X86_CLASS_JMP_IND;
	case ZYDIS_MNEMONIC_CALL:
		return far ? X86_CLASS_CALL_FAR : direct ? X86_CLASS_CALL : X86_CLASS_CALL_IND;
	case ZYDIS_MNEMONIC_RET:
		return far ? X86_CLASS_RET_FAR : X86_CLASS_RET;
	default:
		return X86_CLASS_INVALID;
	}
}

static enum x86_class class_of_operands(const struct sample *s)
{
	enum x86_reg_kind k0 = s->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? reg_kind(s->op[0].reg.value) : KIND_NONE;
	enum x86_reg_kind k1 = s->insn.operand_count > 1 && s->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER ?
		reg_kind(s->op[1].reg.value) : KIND_NONE;

	switch (s->insn.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return k0 == KIND_SEG ? X86_CLASS_PUSH_SEG : X86_CLASS_PUSH;
	case ZYDIS_MNEMONIC_POP:
		return k0 == KIND_SEG ? X86_CLASS_POP_SEG : X86_CLASS_POP;
	case ZYDIS_MNEMONIC_MOV:
		return k0 == KIND_SEG ? X86_CLASS_MOV_TO_SEG : k1 == KIND_SEG ? X86_CLASS_MOV_FROM_SEG :
			k0 == KIND_CR ? X86_CLASS_MOV_TO_CR : k1 == KIND_CR ? X86_CLASS_MOV_FROM_CR :
			k0 == KIND_DR ? X86_CLASS_MOV_TO_DR : k1 == KIND_DR ? X86_CLASS_MOV_FROM_DR :
			k0 == KIND_OTHER || k1 == KIND_OTHER ? X86_CLASS_OTHER_SYSTEM : X86_CLASS_INVALID;
	default:
		return X86_CLASS_INVALID;
	}
}

static enum x86_class class_of_mnemonic(const struct sample *s)
{
	if (s->insn.meta.category == ZYDIS_CATEGORY_STRINGOP)
		return X86_CLASS_STRING;
	switch (s->insn.mnemonic) {
#define _(mnemonic, class_) case ZYDIS_MNEMONIC_##mnemonic: return X86_CLASS_##class_;
	MNEMONIC_CLASSES(_)
#undef _
#define _(mnemonic, feature_) case ZYDIS_MNEMONIC_##mnemonic:
	PLAIN_FEATURES(_)
#undef _
		return X86_CLASS_PLAIN;
	default:
		return X86_CLASS_INVALID;
	}
}

static enum x86_class class_of_isa_set(const struct sample *s)
{
	switch (s->insn.meta.isa_set) {
#define _(set, class_, feature_) case ZYDIS_ISA_SET_##set: return X86_CLASS_##class_;
	ISA_SETS(_)
#undef _
	default:
		fprintf(stderr, "%s: %s\n", ZydisMnemonicGetString(s->insn.mnemonic), ZydisISASetGetString(s->insn.meta.isa_set));
		die("ISA set without a class");
		return X86_CLASS_INVALID;
	}
}

static enum x86_class class_of(const struct sample *s, const struct x86_row *row)
{
	enum x86_class c = class_of_mnemonic(s);

	if (c == X86_CLASS_INVALID)
		c = class_of_branch(s);
	if (c == X86_CLASS_INVALID)
		c = class_of_operands(s);
	if (row->flags & ROW_VSIB)
		return X86_CLASS_VSIB;
	if (c == X86_CLASS_INVALID)
		c = class_of_isa_set(s);
	if (c == X86_CLASS_SSE && has_mmx_operand(s))
		return X86_CLASS_MMX;
	return c;
}

static enum x86_feature feature_of(const struct sample *s)
{
	if (s->insn.mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ && s->insn.meta.isa_set == ZYDIS_ISA_SET_AVX)
		return X86_FEATURE_AVX_PCLMULQDQ;
	switch (s->insn.mnemonic) {
#define _(mnemonic, feature_) case ZYDIS_MNEMONIC_##mnemonic: return X86_FEATURE_##feature_;
	PLAIN_FEATURES(_)
	MNEMONIC_FEATURES(_)
#undef _
	default:
		break;
	}
	switch (s->insn.meta.isa_set) {
#define _(set, class_, feature_) case ZYDIS_ISA_SET_##set: return X86_FEATURE_##feature_;
	ISA_SETS(_)
#undef _
	default:
		return X86_FEATURE_NONE;
	}
}

static bool is_nop(const struct sample *s)
{
	switch (s->insn.mnemonic) {
#define _(mnemonic) case ZYDIS_MNEMONIC_##mnemonic:
	NOP_MNEMONICS(_)
#undef _
		return true;
	default:
		return false;
	}
}

static bool is_shift(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_SHL || m == ZYDIS_MNEMONIC_SHR || m == ZYDIS_MNEMONIC_SAR || m == ZYDIS_MNEMONIC_ROL ||
		m == ZYDIS_MNEMONIC_ROR || m == ZYDIS_MNEMONIC_RCL || m == ZYDIS_MNEMONIC_RCR ||
		m == ZYDIS_MNEMONIC_SHLD || m == ZYDIS_MNEMONIC_SHRD;
}

// Flags that stay as they were when a count is zero: they cannot be called undefined, and the old value counts as read.
static void keep_flags(struct x86_row *row)
{
	row->rflags_written |= row->rflags_undefined;
	row->rflags_undefined = 0;
	row->rflags_read |= row->rflags_written;
}

static void set_flags(struct x86_row *row, const struct sample *s)
{
	const ZydisAccessedFlags *f = s->insn.cpu_flags;
	bool repeated = s->insn.attributes & (ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);

	if (!f)
		return;
	row->rflags_read = f->tested & 0xfff;
	row->rflags_written = (f->modified | f->set_0 | f->set_1) & 0xfff;
	row->rflags_undefined = f->undefined & 0xfff & ~row->rflags_written;
	if (is_shift(s->insn.mnemonic) && row->imm_size)
		row->flags |= ROW_SHIFT_IMM;
	else if (is_shift(s->insn.mnemonic) && (row->gpr_read & BIT(X86_RCX)))
		keep_flags(row);
	else if (row->class == X86_CLASS_STRING && repeated && row->rflags_written)
		keep_flags(row);
}

static void set_immediates(struct x86_row *row, const struct sample *s)
{
	row->imm_size = s->insn.raw.imm[0].size / 8;
	row->imm2_size = s->insn.raw.imm[1].size / 8;
	if (s->insn.raw.imm[0].is_signed)
		row->flags |= ROW_IMM_SIGNED;
	if (row->class == X86_CLASS_JMP_FAR || row->class == X86_CLASS_CALL_FAR)
		row->flags &= ~ROW_IMM_SIGNED;
}

static void set_nop(struct x86_row *row)
{
	row->flags |= ROW_NOP;
	row->mem_access = 0;
	row->actions = 0;
	row->fields &= ~(X86_FIELD_IMPLICIT_GPR | X86_FIELD_REG_BYTE | X86_FIELD_RM_BYTE);
	row->gpr_read = row->gpr_written = 0;
	row->rflags_read = row->rflags_written = row->rflags_undefined = 0;
}

// INVLPG only forms an address; the cache line instructions are checked like the load of one byte.
static void correct_memory(struct x86_row *row, ZydisMnemonic m)
{
	if (m == ZYDIS_MNEMONIC_INVLPG)
		row->mem_access = row->mem_size = 0;
	if (m == ZYDIS_MNEMONIC_CLFLUSH || m == ZYDIS_MNEMONIC_CLFLUSHOPT || m == ZYDIS_MNEMONIC_CLWB) {
		row->mem_access = X86_READ;
		row->mem_size = 1;
	}
	if (row->class == X86_CLASS_XSAVE)
		row->mem_size = 0;
}

static bool is_bit_test(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

// MMX, SSE and AVX forms without a general register have no operand size; saying 4 for all makes more rows equal.
static bool needs_opsize(const struct x86_row *row)
{
	return row->fields || (row->class != X86_CLASS_X87 && row->class != X86_CLASS_MMX && row->class != X86_CLASS_SSE &&
		row->class != X86_CLASS_AVX && row->class != X86_CLASS_AVX512 && row->class != X86_CLASS_VSIB &&
		row->class != X86_CLASS_MASKED);
}

static void set_row(struct x86_row *row, const struct sample *s)
{
	memset(row, 0, sizeof(*row));
	row->mnemonic = s->insn.mnemonic;
	for (int i = 0; i < s->insn.operand_count; i++) {
		if (s->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
			add_register(row, s, &s->op[i]);
		else if (s->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			add_memory(row, s, &s->op[i]);
	}
	if (row->reg_kind != KIND_GPR)
		row->actions &= ~(ACT_REG_R | ACT_REG_W);
	if (row->rm_kind != KIND_GPR)
		row->actions &= ~(ACT_RM_R | ACT_RM_W);
	if (row->vvvv_kind != KIND_GPR)
		row->actions &= ~(ACT_VVVV_R | ACT_VVVV_W);
	row->class = class_of(s, row);
	row->feature = feature_of(s);
	row->opsize = needs_opsize(row) ? s->insn.operand_width / 8 : 4;
	row->vl = s->insn.avx.vector_length / 8;
	set_immediates(row, s);
	set_flags(row, s);
	if (is_nop(s))
		set_nop(row);
	if (s->insn.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK)
		row->flags |= ROW_LOCKABLE;
	correct_memory(row, s->insn.mnemonic);
	if (is_bit_test(s->insn.mnemonic) && (row->flags & ROW_MEM) && row->reg_kind == KIND_GPR)
		row->flags |= ROW_BITSTRING;
	if (row->reg_kind == KIND_CR || row->reg_kind == KIND_DR)
		row->flags |= ROW_MODRM_REG_FORM;
}

/* From a key to a row. */

// Registers for a sample, all different so that no rule about equal registers is met.
static void choose_registers(struct sample *s, bool rm_matters)
{
	s->reg = s->key >> KEY_REG_SHIFT & 7;
	s->rm = rm_matters ? s->key >> KEY_RM_SHIFT & 7 : (s->reg + 1) & 7;
	s->index = (s->reg + 4) & 7;
	s->vvvv = 0;
	s->no_sib = s->rip = false;
}

static uint8_t other_vvvv(const struct sample *s)
{
	uint8_t v = 1;

	while (v == s->reg || v == s->rm || v == s->index)
		v++;
	return v;
}

static bool ask_vvvv(struct sample *s, struct x86_row *row)
{
	s->vvvv = other_vvvv(s);
	if (ask(s)) {
		set_row(row, s);
		row->flags |= ROW_VVVV;
		return true;
	}
	s->vvvv = 0;
	if (!ask(s))
		return false;
	set_row(row, s);
	return true;
}

static bool fails_with(const struct sample *s, uint8_t reg, uint8_t rm, uint8_t index, uint8_t vvvv)
{
	struct sample t = *s;

	t.reg = reg, t.rm = rm, t.index = index, t.vvvv = vvvv;
	return !ask(&t);
}

static void find_register_rules(const struct sample *s, struct x86_row *row)
{
	bool vsib = row->flags & ROW_VSIB;

	if ((vsib || !is_mem(s)) && row->rm_kind != KIND_GPR && fails_with(s, s->reg, s->reg, s->reg, s->vvvv))
		row->flags |= ROW_DIFF_REG_RM;
	if (!(row->flags & ROW_VVVV))
		return;
	if (fails_with(s, s->reg, s->rm, s->index, s->reg))
		row->flags |= ROW_DIFF_REG_VVVV;
	if ((vsib || !is_mem(s)) && fails_with(s, s->reg, s->vvvv, s->vvvv, s->vvvv))
		row->flags |= ROW_DIFF_RM_VVVV;
}

static void find_memory_rules(struct sample *s, struct x86_row *row)
{
	if (!is_mem(s) || !(row->flags & ROW_MEM) || (row->flags & ROW_VSIB) || addr16(s))
		return;
	s->no_sib = true;
	if (!ask(s))
		row->flags |= ROW_NEED_SIB;
	s->no_sib = false;
	s->rip = true;
	if (s->mode == X86_MODE64 && !(row->flags & ROW_NEED_SIB) && !ask(s))
		row->flags |= ROW_NO_RIP;
	s->rip = false;
}

static uint32_t hash_bytes(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *b++) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t intern_row(const struct x86_row *row)
{
	uint32_t h = hash_bytes(row, sizeof(*row)) % HASH_SIZE;

	for (; row_hash[h]; h = (h + 1) % HASH_SIZE)
		if (!memcmp(&rows[row_hash[h]], row, sizeof(*row)))
			return row_hash[h];
	if (row_count == ROWS_MAX)
		die("too many rows");
	rows[row_count] = *row;
	return row_hash[h] = row_count++;
}

// ModRM.rm tells instructions apart only in the legacy maps (HRESET is in 0F3A) and for TILERELEASE and TILEZERO.
static bool rm_matters(const struct sample *s)
{
	return !is_mem(s) && (s->map <= TMAP_0F3A || (s->map == TMAP_VEX2 && s->opcode == 0x49));
}

static uint32_t row_for(struct sample *s)
{
	struct x86_row row;

	choose_registers(s, rm_matters(s));
	if (is_vector(s->map) ? !ask_vvvv(s, &row) : !ask(s))
		return 0;
	if (!is_vector(s->map))
		set_row(&row, s);
	else
		find_register_rules(s, &row);
	find_memory_rules(s, &row);
	return intern_row(&row);
}

// Key bits that a map, mode and opcode does not have; the row of such a key is that of the key without them.
static uint16_t unused_bits(const struct sample *s)
{
	uint16_t unused = 0;

	if (is_evex(s->map))
		return KEY_REXB;
	if (is_vector(s->map))
		return KEY_REXB | KEY_ASIZE;
	if (s->mode != X86_MODE64)
		unused |= KEY_W;
	if (s->map != TMAP_LEGACY || s->opcode != 0x90 || s->mode != X86_MODE64)
		unused |= KEY_REXB;
	if (s->map != TMAP_LEGACY || (s->opcode & 0xfc) != 0xe0)
		unused |= KEY_ASIZE;
	return unused;
}

static void fill_keys(struct sample *s, uint32_t *f)
{
	uint16_t unused = unused_bits(s);

	for (unsigned key = 0; key < KEYS; key++) {
		uint16_t like = key & ~unused;

		if (!is_vector(s->map) && (key >> KEY_REP_SHIFT & 3) == 3)
			like &= ~(1u << KEY_REP_SHIFT);
		s->key = like;
		if (!is_evex(s->map) && !rm_matters(s))
			like &= ~(7u << KEY_RM_SHIFT);
		s->key = like;
		f[key] = like == key ? row_for(s) : f[like];
	}
}

/* From the function key -> row to a decision tree. */

static uint32_t intern_children(const uint32_t *child, unsigned n)
{
	uint32_t h = hash_bytes(child, n * sizeof(*child)) % HASH_SIZE;

	for (; node_hash[h]; h = (h + 1) % HASH_SIZE) {
		uint32_t at = node_hash[h] - 1;

		if (at + n <= tree_count && !memcmp(tree + at, child, n * sizeof(*child)))
			return at;
	}
	if (tree_count + n > TREE_MAX)
		die("tree too large");
	memcpy(tree + tree_count, child, n * sizeof(*child));
	node_hash[h] = tree_count + 1;
	tree_count += n;
	return tree_count - n;
}

// Bits of the key, among those in free, that the function depends on; the others are taken from at.
static uint16_t needed_bits(const uint32_t *f, uint16_t at, uint16_t free)
{
	uint16_t needed = 0;

	for (unsigned sub = free;; sub = (sub - 1) & free) {
		for (unsigned bit = 1; bit < KEYS; bit <<= 1)
			if ((free & ~needed & bit) && f[at | sub] != f[(at | sub) ^ bit])
				needed |= bit;
		if (!sub || needed == free)
			return needed;
	}
}

static uint32_t build_tree(const uint32_t *f, uint16_t at, uint16_t free)
{
	static const uint16_t groups[] = { 0x00ff, 0x1f00 };
	uint16_t needed = needed_bits(f, at, free), group = 0;
	uint32_t child[256];
	unsigned shift, width;

	if (!needed)
		return f[at];
	for (unsigned i = 0; i < ARRAY_SIZE(groups) && !group; i++)
		group = needed & groups[i];
	shift = __builtin_ctz(group);
	width = 32 - __builtin_clz(group) - shift;
	for (unsigned i = 0; i < 1u << width; i++) {
		uint16_t bits = i << shift & free;

		child[i] = build_tree(f, at | bits, free & ~(((1u << width) - 1) << shift));
	}
	return NODE | shift << 27 | width << 23 | intern_children(child, 1u << width);
}

static void note_modrm(struct sample *s)
{
	if (s->map > TMAP_0F)
		return;
	for (unsigned key = 0; key < KEYS; key++) { // any form will do
		if (key & (KEY_W | KEY_ASIZE | KEY_REXB))
			continue;
		s->key = key;
		choose_registers(s, !is_mem(s));
		if (ask(s) && s->insn.raw.modrm.offset)
			has_modrm[s->map][s->mode][s->opcode >> 3] |= 1 << (s->opcode & 7);
	}
}

static void build_map(enum x86_table_map map, enum x86_mode mode, uint32_t *root)
{
	static uint32_t f[KEYS];
	struct sample s = { .map = map, .mode = mode };

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		s.opcode = opcode;
		note_modrm(&s);
		fill_keys(&s, f);
		root[opcode] = build_tree(f, 0, KEYS - 1);
	}
}

static unsigned build_all(void)
{
	unsigned n = 0;

	for (int map = 0; map < TMAP_COUNT; map++) {
		for (int mode = X86_MODE64; mode >= X86_MODE16; mode--) {
			if (mode == X86_MODE16 && map >= TMAP_VEX1) {
				roots_of[map][mode] = roots_of[map][X86_MODE32];
				continue;
			}
			build_map(map, mode, roots[n]);
			roots_of[map][mode] = n++;
		}
	}
	return n;
}

/* Printing. */

static void print_row(FILE *f, const struct x86_row *r)
{
	fprintf(f, "{%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,0},\n", r->mnemonic, r->flags,
		r->gpr_read, r->gpr_written, r->rflags_read, r->rflags_written, r->rflags_undefined, r->mem_size,
		r->class, r->feature, r->fields, r->actions, r->reg_kind, r->rm_kind, r->vvvv_kind, r->opsize, r->vl,
		r->mem_access, r->imm_size, r->imm2_size, r->disp8_shift);
}

static void print_words(FILE *f, const uint32_t *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%#x,%s", w[i], i % 16 == 15 ? "\n" : "");
}

static void print_has_modrm(FILE *f)
{
	fprintf(f, "const uint8_t x86_has_modrm[2][3][32] = {\n");
	for (int map = 0; map < 2; map++) {
		fprintf(f, "{\n");
		for (int mode = 0; mode < 3; mode++) {
			fprintf(f, "{");
			for (int i = 0; i < 32; i++)
				fprintf(f, "%u,", has_modrm[map][mode][i]);
			fprintf(f, "},\n");
		}
		fprintf(f, "},\n");
	}
	fprintf(f, "};\n");
}

static void print_tables(FILE *f, unsigned groups)
{
	fprintf(f, "// Generated by tools/gen_decode.c from Zydis.\n#include \"x86/decode_table.h\"\n\n");
	fprintf(f, "const struct x86_row x86_rows[] = {\n");
	for (uint32_t i = 0; i < row_count; i++)
		print_row(f, &rows[i]);
	fprintf(f, "};\n\nconst uint32_t x86_tree[] = {\n");
	print_words(f, tree, tree_count);
	fprintf(f, "};\n\nconst uint32_t x86_roots[][256] = {\n");
	for (unsigned g = 0; g < groups; g++) {
		fprintf(f, "{\n");
		print_words(f, roots[g], 256);
		fprintf(f, "},\n");
	}
	fprintf(f, "};\n\nconst uint16_t x86_roots_of[TMAP_COUNT][3] = {\n");
	for (int map = 0; map < TMAP_COUNT; map++)
		fprintf(f, "{%u,%u,%u},\n", roots_of[map][0], roots_of[map][1], roots_of[map][2]);
	fprintf(f, "};\n\n");
	print_has_modrm(f);
}

static void print_mnemonics(FILE *f)
{
	fprintf(f, "// Generated by tools/gen_decode.c: the mnemonics, numbered as Zydis numbers them.\n"
		"#ifndef X86_MNEMONIC_H\n#define X86_MNEMONIC_H\n\nenum x86_mnemonic {\n");
	for (int m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		fprintf(f, "\tX86_MNEM_");
		for (const char *c = m ? ZydisMnemonicGetString(m) : "invalid"; *c; c++)
			fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, f);
		fprintf(f, " = %d,\n", m);
	}
	fprintf(f, "};\n\n#endif\n");
}

static FILE *open_output(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		die(path);
	return f;
}

int main(int argc, char **argv)
{
	FILE *tables, *mnemonics;
	unsigned groups;

	if (argc != 3)
		die("usage: gen_decode tables.c mnemonic.h");
	ZydisDecoderInit(&decoders[X86_MODE16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoders[X86_MODE32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoders[X86_MODE64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (int i = 0; i < 3; i++) {
		ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
	}
	tables = open_output(argv[1]);
	mnemonics = open_output(argv[2]);
	groups = build_all();
	print_tables(tables, groups);
	print_mnemonics(mnemonics);
	fprintf(stderr, "gen_decode: %u rows, %u tree entries, %u groups of roots\n", row_count, tree_count, groups);
	return fclose(tables) || fclose(mnemonics);
}
