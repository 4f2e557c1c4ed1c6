// SPDX-License-Identifier: MIT
//
// From Zydis's answer about a sample to a row of the decoder's table: which fields name which registers, what is read
// and written, class and feature (gen_facts.h), memory, immediates and flags.
#include <stdio.h>
#include <string.h>

#include "gen_facts.h"
#include "gen_sample.h"

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
	if ((a & X86_WRITE) && reg_kind(op->reg.value) == KIND_GPR &&
			ZydisRegisterGetWidth(s->insn.machine_mode, op->reg.value) < 32)
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
		fprintf(stderr, "%s: %s\n", ZydisMnemonicGetString(s->insn.mnemonic),
			ZydisISASetGetString(s->insn.meta.isa_set));
		gen_die("ISA set without a class");
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
	if (m == ZYDIS_MNEMONIC_MOVSXD && row->mem_size && row->opsize == 2) // r16, r/m16
		row->mem_size = 2;
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

void gen_row(struct x86_row *row, const struct sample *s)
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
	gen_mask(row, s);
}
