// SPDX-License-Identifier: MIT
//
// x86_decode: parses the bytes itself (prefixes and opcode in decode_opcode.c; ModRM, SIB, displacement and immediates
// here) and takes everything else from the row that the generated decision tree gives for them (decode_table.h).
// The steps stand in the order of the bytes.
#include "x86/decode_cursor.h"

static inline const struct x86_row *find_row(const struct cursor *c, uint8_t opcode)
{
	uint32_t e = x86_roots[x86_roots_of[c->tmap][c->mode]][opcode];

	while (e & NODE)
		e = x86_tree[NODE_CHILDREN(e) + (c->key >> NODE_SHIFT(e) & NODE_MASK(e))];
	return &x86_rows[e];
}

/* Memory operands. */

static void set_base(struct x86_mem *m, uint8_t reg)
{
	m->base = reg;
	m->seg = reg == X86_RSP || reg == X86_RBP ? X86_SS : X86_DS;
}

static enum status take_disp(struct cursor *c, struct x86_insn *out, unsigned size, unsigned shift)
{
	if (!size)
		return OK;
	out->disp_off = c->at;
	out->disp_size = size;
	TRY(fetch_signed(c, size, &out->mem.disp));
	if (size == 1)
		out->mem.disp = (int64_t)((uint64_t)out->mem.disp << shift);
	return OK;
}

static enum status take_mem16(struct cursor *c, struct x86_insn *out, unsigned shift)
{
	static const uint8_t bases[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t indexes[8] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI, X86_REG_NONE, X86_REG_NONE, X86_REG_NONE,
		X86_REG_NONE };
	struct x86_mem *m = &out->mem;
	unsigned mod = out->modrm >> 6, rm = out->modrm & 7;

	if (mod == 0 && rm == 6)
		return take_disp(c, out, 2, 0);
	set_base(m, bases[rm]);
	m->index = indexes[rm];
	return take_disp(c, out, mod, shift);
}

static enum status take_sib(struct cursor *c, struct x86_insn *out, const struct x86_row *row, unsigned mod,
	unsigned *disp)
{
	struct x86_mem *m = &out->mem;
	uint8_t sib;
	unsigned index;

	TRY(fetch(c, &sib));
	index = (sib >> 3 & 7) | c->x;
	if (row->flags & ROW_VSIB)
		index |= c->v2;
	if (index != X86_RSP || (row->flags & ROW_VSIB)) {
		m->index = index;
		m->scale = 1 << (sib >> 6);
	}
	if ((sib & 7) == 5 && mod == 0)
		*disp = 4;
	else
		set_base(m, (sib & 7) | c->b);
	return OK;
}

static enum status take_mem(struct cursor *c, struct x86_insn *out, const struct x86_row *row)
{
	static const uint8_t disp_sizes[3] = { 0, 1, 4 };
	unsigned mod = out->modrm >> 6, rm = out->modrm & 7, disp = disp_sizes[mod];

	if (out->addrsize == 2)
		return row->flags & (ROW_VSIB | ROW_NEED_SIB) ? BAD : take_mem16(c, out, row->disp8_shift);
	if (rm == 4) {
		TRY(take_sib(c, out, row, mod, &disp));
	} else if (row->flags & (ROW_VSIB | ROW_NEED_SIB)) {
		return BAD;
	} else if (rm == 5 && mod == 0) {
		disp = 4;
		if (c->mode == X86_MODE64) {
			if (row->flags & ROW_NO_RIP)
				return BAD;
			out->mem.base = X86_REG_RIP;
		}
	} else {
		set_base(&out->mem, rm | c->b);
	}
	return take_disp(c, out, disp, row->disp8_shift);
}

static enum status take_moffs(struct cursor *c, struct x86_insn *out)
{
	TRY(take_disp(c, out, out->addrsize, 0));
	if (out->addrsize == 2)
		out->mem.disp &= 0xffff;
	else if (out->addrsize == 4)
		out->mem.disp &= 0xffffffff;
	return OK;
}

static void set_mem(const struct cursor *c, struct x86_insn *out, const struct x86_row *row)
{
	struct x86_mem *m = &out->mem;

	m->present = row->flags & ROW_MEM;
	m->access = row->mem_access;
	m->size = row->mem_size;
	m->vsib = row->flags & ROW_VSIB;
	m->mask = row->mask & 15;
	m->mask_unit = 1 << (row->mask >> 4 & 3);
	m->aligned = row->mask & ROW_MASK_ALIGNED && !(c->amd && row->feature == X86_FEATURE_SHA);
	m->bitstring = row->flags & ROW_BITSTRING;
	if (c->seg != X86_REG_NONE)
		m->seg = c->seg;
}

/* Registers. */

static unsigned gpr_of(unsigned id, bool byte, bool rex)
{
	return byte && !rex && id >= 4 && id < 8 ? id - 4 : id & 15;
}

static void use_gpr(struct x86_insn *out, unsigned id, unsigned access)
{
	if (access & X86_READ)
		out->gpr_read |= BIT(id);
	if (access & X86_WRITE)
		out->gpr_written |= BIT(id);
}

static void use_gprs(const struct cursor *c, struct x86_insn *out, const struct x86_row *row, bool mod3)
{
	unsigned fields = row->fields, acts = row->actions, modrm = out->modrm;
	bool rex = out->rex || out->encoding != X86_ENC_LEGACY;

	if (fields & X86_FIELD_REG_GPR)
		use_gpr(out, gpr_of((modrm >> 3 & 7) | c->r, fields & X86_FIELD_REG_BYTE, rex), acts);
	if (mod3 && (fields & X86_FIELD_RM_GPR))
		use_gpr(out, gpr_of((modrm & 7) | c->b, fields & X86_FIELD_RM_BYTE, rex), acts >> 2);
	if (fields & X86_FIELD_VVVV_GPR)
		use_gpr(out, out->vvvv, acts >> 4);
	if (fields & X86_FIELD_OPCODE_GPR)
		use_gpr(out, gpr_of((out->opcode & 7) | c->b, fields & X86_FIELD_OPCODE_BYTE, rex), acts >> 6);
	if (out->mem.base < X86_GPRS)
		out->gpr_read |= BIT(out->mem.base);
	if (out->mem.index < X86_GPRS && !out->mem.vsib)
		out->gpr_read |= BIT(out->mem.index);
}

static bool bad_id(enum x86_reg_kind kind, unsigned id)
{
	switch (kind) {
	case KIND_CR: return id == 1 || (id > 4 && id != 8);
	case KIND_DR: case KIND_MASK: case KIND_TMM: return id > 7;
	default: return false;
	}
}

// #UD for register numbers that do not exist, and for operands that must differ.
static bool has_bad_register(const struct cursor *c, const struct x86_insn *out, const struct x86_row *row, bool mod3)
{
	unsigned reg = (out->modrm >> 3 & 7) | c->r | c->r2;
	unsigned rm = (out->modrm & 7) | c->b | c->x2;

	if (bad_id(row->reg_kind, reg) || (mod3 && row->rm_kind == KIND_TMM && bad_id(KIND_TMM, rm & 15)))
		return true;
	if (row->reg_kind == KIND_GPR && c->r2)
		return true;
	if (row->flags & ROW_VVVV) {
		if (bad_id(row->vvvv_kind, out->vvvv) || (row->vvvv_kind == KIND_GPR && out->vvvv > 15))
			return true;
	} else if (c->vvvv || (c->v2 && !(row->flags & ROW_VSIB))) {
		return true;
	}
	if (row->flags & ROW_VSIB)
		rm = out->mem.index;
	return ((row->flags & ROW_DIFF_REG_RM) && (mod3 || row->flags & ROW_VSIB) && reg == rm) ||
		((row->flags & ROW_DIFF_REG_VVVV) && reg == out->vvvv) ||
		((row->flags & ROW_DIFF_RM_VVVV) && rm == out->vvvv);
}

/* Immediates and flags. */

static enum status take_imm(struct cursor *c, struct x86_insn *out, const struct x86_row *row)
{
	int64_t v;

	if (!row->imm_size)
		return OK;
	out->imm_off = c->at;
	out->imm_size = row->imm_size;
	TRY(fetch_signed(c, row->imm_size, &v));
	out->imm = v;
	if (!(row->flags & ROW_IMM_SIGNED) && row->imm_size < 8)
		out->imm &= BIT64(8 * row->imm_size) - 1;
	if (!row->imm2_size)
		return OK;
	TRY(fetch_signed(c, row->imm2_size, &v));
	out->imm2 = row->imm2_size == 1 ? v & 0xff : v & 0xffff;
	return OK;
}

static void set_flags(struct x86_insn *out, const struct x86_row *row)
{
	out->flags_read = row->rflags_read;
	out->flags_written = row->rflags_written;
	out->flags_undefined = row->rflags_undefined;
	if ((row->flags & ROW_SHIFT_IMM) && !(out->imm & (out->opsize == 8 ? 63 : 31)))
		out->flags_written = out->flags_undefined = 0;
}

static void set_facts(const struct cursor *c, struct x86_insn *out, const struct x86_row *row)
{
	out->class = row->class;
	if (row->class == X86_CLASS_AVX512 && (row->flags & ROW_MEM) && out->encoding == X86_ENC_EVEX &&
			(c->key & KEY_EMASK))
		out->class = X86_CLASS_MASKED;
	out->opsize = row->opsize;
	out->vl = row->vl;
	out->spare_nop = row->flags & ROW_NOP;
	out->fields = row->fields;
	out->cond = out->opcode & 15;
	out->mnemonic = row->mnemonic;
	out->feature = row->feature;
	out->gpr_read = row->gpr_read;
	out->gpr_written = row->gpr_written;
}

static void set_addrsize(const struct cursor *c, struct x86_insn *out)
{
	static const uint8_t sizes[3][2] = { { 2, 4 }, { 4, 2 }, { 8, 4 } };

	out->addrsize = sizes[c->mode][!!(out->prefixes & X86_PFX_ADDRSIZE)];
}

static enum status take_modrm(struct cursor *c, struct x86_insn *out)
{
	if (!out->has_modrm)
		return OK;
	out->modrm_off = c->at;
	TRY(fetch(c, &out->modrm));
	c->key |= (out->modrm >> 3 & 7) << KEY_REG_SHIFT | (out->modrm >= 0xc0 ? KEY_MOD3 : 0);
	if (out->encoding != X86_ENC_EVEX)
		c->key |= (out->modrm & 7) << KEY_RM_SHIFT;
	return OK;
}

// 3DNow! has its opcode after the memory operand, where an immediate would stand.
static enum status take_3dnow(struct cursor *c, struct x86_insn *out, const struct x86_row **row)
{
	static const struct x86_row any = { .flags = ROW_MEM };

	if (out->modrm < 0xc0)
		TRY(take_mem(c, out, &any));
	out->opcode_off = out->imm_off = c->at;
	out->imm_size = 1;
	TRY(fetch(c, &out->opcode));
	*row = find_row(c, out->opcode);
	return (*row)->mnemonic ? OK : BAD;
}

// AMD's processors in 64-bit mode: 66h gives near branches 16-bit operands, REX.W does not make far pointers longer.
static const struct x86_row *row_of_amd(const struct cursor *c, const struct x86_insn *out, const struct x86_row *row,
	struct x86_row *own)
{
	bool narrow = out->prefixes & X86_PFX_OPSIZE && !c->w;

	switch (row->class) {
	case X86_CLASS_JMP: case X86_CLASS_JCC: case X86_CLASS_LOOP: case X86_CLASS_CALL: case X86_CLASS_JMP_IND:
	case X86_CLASS_CALL_IND: case X86_CLASS_RET:
		if (!narrow)
			return row;
		*own = *row;
		own->class = X86_CLASS_NEAR16;
		own->opsize = 2;
		own->imm_size = MIN(own->imm_size, 2);
		own->mem_size = MIN(own->mem_size, 2);
		return own;
	case X86_CLASS_JMP_FAR: case X86_CLASS_CALL_FAR: case X86_CLASS_LOAD_FAR_PTR:
		if (!c->w)
			return row;
		*own = *row;
		own->mem_size = 6;
		return own;
	default:
		return row;
	}
}

// PREFETCH and PREFETCHW of a register, a NOP to Intel's processors; VPEXTRQ and VPINSRQ outside 64-bit code, where
// Intel's do not look at W.
static bool is_refused_by_amd(const struct cursor *c, const struct x86_insn *out)
{
	return (c->tmap == TMAP_0F && out->opcode == 0x0d && out->modrm >= 0xc0) ||
	       (c->tmap == TMAP_VEX3 && c->mode != X86_MODE64 && c->w && (out->opcode == 0x16 || out->opcode == 0x22));
}

static enum status decode(struct cursor *c, struct x86_insn *out)
{
	const struct x86_row *row;
	struct x86_row own;
	bool mod3;

	TRY(decode_take_opcode(c, out));
	set_addrsize(c, out);
	TRY(take_modrm(c, out));
	mod3 = out->modrm >= 0xc0;
	if (c->tmap == TMAP_3DNOW) {
		TRY(take_3dnow(c, out, &row));
	} else {
		row = find_row(c, out->opcode);
		if (!row->mnemonic || (c->amd && is_refused_by_amd(c, out)))
			return BAD;
		if (c->amd && c->mode == X86_MODE64)
			row = row_of_amd(c, out, row, &own);
		if (row->flags & ROW_MODRM_REG_FORM)
			mod3 = true;
		if (row->flags & ROW_MOFFS)
			TRY(take_moffs(c, out));
		else if (out->has_modrm && !mod3)
			TRY(take_mem(c, out, row));
	}
	if ((out->prefixes & X86_PFX_LOCK) && !(row->flags & ROW_LOCKABLE))
		return BAD;
	if (out->encoding == X86_ENC_EVEX && !(row->flags & ROW_VSIB))
		out->vvvv |= c->v2;
	if ((row->reg_kind >= KIND_MASK || out->encoding != X86_ENC_LEGACY) && has_bad_register(c, out, row, mod3))
		return BAD;
	TRY(take_imm(c, out, row));
	set_facts(c, out, row);
	set_flags(out, row);
	set_mem(c, out, row);
	use_gprs(c, out, row, mod3);
	return OK;
}

// Zeroes by small pieces: without SSE, gcc would turn one large assignment into a slow REP STOS.
static void clear(struct x86_insn *out)
{
	enum { PIECE = 24 };
	uint8_t *p = (uint8_t *)out;

	_Static_assert(sizeof(*out) >= 3 * PIECE && sizeof(*out) <= 4 * PIECE, "four pieces cover it");
	__builtin_memset(p, 0, PIECE);
	__builtin_memset(p + PIECE, 0, PIECE);
	__builtin_memset(p + 2 * PIECE, 0, PIECE);
	__builtin_memset(p + sizeof(*out) - PIECE, 0, PIECE);
}

int x86_decode(struct x86_insn *out, const uint8_t *bytes, size_t n, enum x86_mode mode)
{
	struct cursor c = { .bytes = bytes, .limit = MIN(n, X86_INSN_MAX), .mode = mode & X86_MODE_SIZE,
		.amd = mode & X86_AMD, .seg = X86_REG_NONE };
	enum status s;

	clear(out);
	out->mode = c.mode;
	out->mem.base = out->mem.index = X86_REG_NONE;
	out->mem.scale = 1;
	out->mem.seg = X86_DS;
	s = decode(&c, out);
	out->len = c.at;
	if (s == OK)
		return c.at;
	out->class = X86_CLASS_INVALID;
	if (s == SHORT && n < X86_INSN_MAX)
		return 0;
	if (s == SHORT)
		out->len = X86_INSN_MAX + 1;
	return -1;
}

static const char class_names[X86_CLASS_COUNT][16] = {
#define _(name) #name,
	X86_CLASSES(_)
#undef _
};

const char *x86_class_name(enum x86_class class)
{
	return class_names[class < X86_CLASS_COUNT ? class : X86_CLASS_INVALID];
}
