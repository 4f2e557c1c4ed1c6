// SPDX-License-Identifier: MIT
//
// Re-encoding of one instruction: first everything an encoding can name is gathered into plain numbers
// (struct operands), whatever prefix they came from; then registers and memory operand are replaced; then the prefix
// of the same family, the opcode, ModRM, SIB, displacement and immediate are written anew. Nothing depends on where
// in the guest's prefix a bit stood, so 16-, 32- and 64-bit sources take the same path.
#include "bt/rewrite.h"

enum { INSN_LIMIT = 15 };

struct operands {
	uint8_t opcode;
	uint8_t reg, rm, vvvv; // five-bit numbers; rm only when !mem
	bool modrm, mem;
	bool w;
	bool rex;        // a byte register 4-7 that is SPL..DIL
	bool high;       // AH..BH is named: no REX allowed
	bool unnameable; // AH..BH of a register that has no high byte
	bool addr32;     // keep the 67 prefix
	bool vsib;
	uint8_t base, index, scale; // index of VSIB: vector register
	int32_t disp;
	uint8_t disp8_scale; // EVEX: N, or 0 for never disp8
};

static bool is_legacy(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_LEGACY;
}

static bool is_long(const struct x86_insn *insn)
{
	return insn->mode == X86_MODE64;
}

// Instructions of other classes imply a stack, a branch or privileged state and are not a matter of encoding.
static bool class_is_rewritable(enum x86_class c)
{
	switch (c) {
	case X86_CLASS_PLAIN:
	case X86_CLASS_X87:
	case X86_CLASS_MMX:
	case X86_CLASS_SSE:
	case X86_CLASS_AVX:
	case X86_CLASS_AVX512:
	case X86_CLASS_FWAIT:
	case X86_CLASS_VSIB:
	case X86_CLASS_MASKED:
	case X86_CLASS_FXSAVE:
	case X86_CLASS_XSAVE:
	case X86_CLASS_XGETBV:
	case X86_CLASS_STRING:
	case X86_CLASS_RDRAND:
	case X86_CLASS_RDPID:
	case X86_CLASS_RDTSC:
	case X86_CLASS_RDTSCP:
	case X86_CLASS_CPUID:
	case X86_CLASS_RDFSBASE:
	case X86_CLASS_RDGSBASE:
	case X86_CLASS_WRFSBASE:
	case X86_CLASS_WRGSBASE:
	case X86_CLASS_RDPKRU:
	case X86_CLASS_WRPKRU:
		return true;
	default:
		return false;
	}
}

// One-byte opcodes that 64-bit mode took away or gave to others (BCD, BOUND, ARPL, SALC; the stack ones have classes).
static bool opcode_is_gone(uint8_t opcode)
{
	switch (opcode) {
	case 0x27: case 0x2f: case 0x37: case 0x3f: case 0x62: case 0x63: case 0xd4: case 0xd5: case 0xd6:
		return true;
	default:
		return false;
	}
}

bool rewrite_supported(const struct x86_insn *insn)
{
	if (!class_is_rewritable(insn->class) || insn->encoding == X86_ENC_3DNOW)
		return false;
	if (is_long(insn))
		return true;
	return insn->encoding != X86_ENC_XOP && !(is_legacy(insn) && insn->map == 0 && opcode_is_gone(insn->opcode));
}

// Is the legacy 66 prefix an operand size here (rather than part of the opcode, or nothing)?
static bool opsize_prefix_counts(const struct x86_insn *insn)
{
	uint8_t op = insn->opcode;
	uint8_t reg = (insn->modrm >> 3) & 7;

	switch (insn->map) {
	case 0:
		if (op >= 0xd8 && op <= 0xdf) // only the environment and state images have two sizes
			return (op == 0xd9 || op == 0xdd) && insn->modrm < 0xc0 && (reg == 4 || reg == 6);
		return true;
	case 1:
		if (op == 0xc7)
			return insn->modrm >= 0xc0 && !(insn->prefixes & X86_PFX_REP); // RDRAND, RDSEED; not RDPID
		return (op >= 0x40 && op <= 0x4f) || (op >= 0xa3 && op <= 0xad) ||
		       (op >= 0xaf && op <= 0xc1) || (op >= 0xc8 && op <= 0xcf);
	case 2:
		return op == 0xf0 || op == 0xf1; // MOVBE, CRC32
	default:
		return false;
	}
}

static bool wants_opsize_prefix(const struct x86_insn *insn)
{
	bool given = insn->prefixes & X86_PFX_OPSIZE;

	if (insn->mode != X86_MODE16 || !opsize_prefix_counts(insn))
		return given;
	return !given && insn->opsize != 1;
}

// VEX.W and EVEX.W outside 64-bit mode do not make a general register or its memory form 64 bits wide.
static bool w_is_gpr_size(const struct x86_insn *insn, const uint8_t *bytes)
{
	uint8_t op = insn->opcode;
	uint8_t pp = bytes[insn->opcode_off - (insn->encoding == X86_ENC_EVEX ? 2 : 1)] & 3;

	if (insn->fields & (X86_FIELD_REG_GPR | X86_FIELD_RM_GPR | X86_FIELD_VVVV_GPR))
		return true;
	switch (insn->map) {
	case 1:
	case 5:
		if (op == 0x6e || op == 0x7e)
			return pp == 1;
		if (op == 0x2a || op == 0x2c || op == 0x2d)
			return pp >= 2;
		return insn->encoding == X86_ENC_EVEX && pp >= 2 && (op == 0x78 || op == 0x79 || op == 0x7b);
	case 3:
		return op == 0x16 || op == 0x22 || op == 0x60 || op == 0x61;
	default:
		return false;
	}
}


struct source {
	uint8_t reg_ext, rm_ext, index_ext, vvvv; // to be added to the three-bit numbers
	bool w;
};

static struct source source_legacy(const struct x86_insn *insn)
{
	return (struct source){
		.reg_ext = (insn->rex & 4) << 1, .rm_ext = (insn->rex & 1) << 3, .index_ext = (insn->rex & 2) << 2,
		.w = insn->rex & 8,
	};
}

static struct source source_vex(const struct x86_insn *insn, const uint8_t *bytes)
{
	const uint8_t *op = bytes + insn->opcode_off;
	uint8_t escape3 = insn->encoding == X86_ENC_XOP ? 0x8f : 0xc4;
	struct source s = {.vvvv = (~op[-1] >> 3) & 15};

	if (insn->opcode_off >= 3 && op[-3] == escape3) {
		s.reg_ext = (~op[-2] >> 4) & 8;
		s.index_ext = (~op[-2] >> 3) & 8;
		s.rm_ext = (~op[-2] >> 2) & 8;
		s.w = op[-1] & 0x80;
	} else {
		s.reg_ext = (~op[-1] >> 4) & 8;
	}
	return s;
}

static struct source source_evex(const struct x86_insn *insn, const uint8_t *bytes)
{
	const uint8_t *op = bytes + insn->opcode_off;
	uint8_t index_ext = (~op[-3] >> 3) & 8;

	return (struct source){
		.reg_ext = ((~op[-3] >> 4) & 8) | (~op[-3] & 16),
		.rm_ext = ((~op[-3] >> 2) & 8) | index_ext << 1,
		.index_ext = index_ext,
		.vvvv = ((~op[-2] >> 3) & 15) | ((~op[-1] & 8) << 1),
		.w = op[-2] & 0x80,
	};
}

static struct source read_source(const struct x86_insn *insn, const uint8_t *bytes)
{
	struct source s;

	if (is_legacy(insn))
		s = source_legacy(insn);
	else if (insn->encoding == X86_ENC_EVEX)
		s = source_evex(insn, bytes);
	else
		s = source_vex(insn, bytes);
	if (!is_long(insn)) {
		s.reg_ext = s.rm_ext = s.index_ext = 0;
		s.vvvv &= 7;
		s.w = s.w && !w_is_gpr_size(insn, bytes);
	}
	return s;
}

static uint8_t rename_gpr(struct operands *o, const struct x86_insn *insn, const struct rewrite *rw, uint8_t number,
			  bool byte)
{
	uint8_t host;

	if (byte && number >= 4 && number < 8 && !insn->rex) {
		host = rw->map[number - 4];
		o->high = true;
		o->unnameable |= host >= 4;
		return (host & 3) + 4;
	}
	host = rw->map[number & 15];
	if (byte && host >= 4)
		o->rex = true;
	return host;
}

// Registers an instruction uses without naming them in a field; they must stay where they are.
static uint16_t forced_implicit(const struct x86_insn *insn)
{
	enum { A = BIT(X86_RAX), C = BIT(X86_RCX), D = BIT(X86_RDX), B = BIT(X86_RBX) };
	uint8_t reg = (insn->modrm >> 3) & 7;

	if (insn->class == X86_CLASS_XSAVE)
		return A | D;
	if (insn->map == 3 && insn->opcode >= 0x60 && insn->opcode <= 0x63) // PCMPxSTRx
		return A | C | D;
	if (!is_legacy(insn))
		return insn->map == 2 && insn->opcode == 0xf6 ? D : 0; // MULX
	switch (insn->map << 8 | insn->opcode) {
	case 0x0f6: return reg >= 4 ? A : 0;
	case 0x0f7: return reg >= 4 ? A | D : 0;
	case 0x0d2: case 0x0d3: case 0x1a5: case 0x1ad: return C;
	case 0x1b0: case 0x1b1: return A;
	case 0x1c7: return reg == 1 ? A | B | C | D : 0;
	default: return 0;
	}
}

static bool implicit_moved(const struct x86_insn *insn, const struct rewrite *rw, uint16_t named)
{
	uint16_t fixed;

	if (!(insn->fields & X86_FIELD_IMPLICIT_GPR))
		return false;
	if (insn->mem.present && insn->mem.base < X86_GPRS)
		named |= BIT(insn->mem.base);
	if (insn->mem.present && !insn->mem.vsib && insn->mem.index < X86_GPRS)
		named |= BIT(insn->mem.index);
	fixed = ((insn->gpr_read | insn->gpr_written) & ~named) | forced_implicit(insn);
	for (int r = 0; r < X86_GPRS; r++)
		if ((fixed & BIT(r)) && rw->map[r] != r)
			return true;
	return false;
}

// The guest register a field of number n means: AH..BH belong to the first four.
static uint16_t named_gpr(const struct x86_insn *insn, uint8_t number, bool byte)
{
	return BIT((byte && number >= 4 && number < 8 && !insn->rex ? number - 4 : number) & 15);
}

// mod=3 forms that replace a one-byte form: opcode, /reg, rm.
static void become_modrm(struct operands *o, uint8_t opcode, uint8_t reg, uint8_t rm)
{
	o->opcode = opcode;
	o->modrm = true;
	o->reg = reg;
	o->rm = rm;
}

// One-byte forms with a register in the opcode or an accumulator. Returns whether the accumulator has become explicit.
static bool take_short_form(struct operands *o, const struct x86_insn *insn, const struct rewrite *rw, uint16_t *named)
{
	uint8_t op = insn->opcode;
	uint8_t number = (op & 7) | (insn->rex & 1) << 3;
	bool byte = insn->fields & X86_FIELD_OPCODE_BYTE;
	bool moved = rw->map[X86_RAX] != X86_RAX;

	if (insn->map == 0 && op >= 0xa0 && op <= 0xa3) {
		o->opcode = op < 0xa2 ? op - 0xa0 + 0x8a : op - 0xa2 + 0x88;
		o->modrm = true;
		o->reg = rename_gpr(o, insn, rw, X86_RAX, !(op & 1));
		return true;
	}
	if (insn->map == 0 && moved && ((op < 0x40 && (op & 6) == 4) || op == 0xa8 || op == 0xa9)) {
		uint8_t long_op = (op < 0x40 ? 0x80 : 0xf6) | (op & 1);

		become_modrm(o, long_op, op < 0x40 ? op >> 3 : 0, rename_gpr(o, insn, rw, X86_RAX, !(op & 1)));
		return true;
	}
	if (!(insn->fields & X86_FIELD_OPCODE_GPR))
		return false;
	*named |= named_gpr(insn, number, byte);
	o->rm = rename_gpr(o, insn, rw, number, byte);
	if (insn->map == 0 && op >= 0x90 && op <= 0x97 && (moved || o->rm == X86_RAX)) {
		become_modrm(o, 0x87, rw->map[X86_RAX], o->rm);
		return true;
	}
	if (insn->map == 0 && op >= 0x40 && op <= 0x4f)
		become_modrm(o, 0xff, (op >> 3) & 1, o->rm);
	else
		o->opcode = (op & ~7) | (o->rm & 7);
	return false;
}

static void take_modrm(struct operands *o, const struct x86_insn *insn, const struct rewrite *rw,
		       const struct source *s, uint16_t *named)
{
	bool reg_byte = insn->fields & X86_FIELD_REG_BYTE;
	bool rm_byte = insn->fields & X86_FIELD_RM_BYTE;

	o->modrm = true;
	o->reg = ((insn->modrm >> 3) & 7) | s->reg_ext;
	o->rm = (insn->modrm & 7) | s->rm_ext;
	if (insn->spare_nop) // its fields choose among hints
		return;
	if (insn->fields & X86_FIELD_REG_GPR) {
		*named |= named_gpr(insn, o->reg, reg_byte);
		o->reg = rename_gpr(o, insn, rw, o->reg, reg_byte);
	}
	if ((insn->fields & X86_FIELD_RM_GPR) && insn->modrm >= 0xc0) {
		*named |= named_gpr(insn, o->rm, rm_byte);
		o->rm = rename_gpr(o, insn, rw, o->rm, rm_byte);
	}
}

// The N of EVEX disp8*N, as far as the source shows it.
static uint8_t disp8_scale(const struct x86_insn *insn, const uint8_t *bytes)
{
	int8_t disp8;
	int64_t n;

	if (insn->encoding != X86_ENC_EVEX)
		return 1;
	if (insn->disp_size != 1 || !bytes[insn->disp_off])
		return 0;
	disp8 = (int8_t)bytes[insn->disp_off];
	n = insn->mem.disp / disp8;
	return n >= 1 && n <= 64 && n * disp8 == insn->mem.disp ? n : 0;
}

static bool take_given_mem(struct operands *o, const struct rewrite *rw)
{
	o->addr32 = rw->addr32;
	o->base = rw->base;
	o->disp = rw->disp;
	if (o->vsib)
		return rw->base != X86_REG_RIP;
	o->index = rw->index;
	o->scale = rw->scale;
	return true;
}

// No operand given: the guest's own, renamed. Exists for LEA and for memory that the host maps at guest addresses.
static bool take_own_mem(struct operands *o, const struct x86_insn *insn, const struct rewrite *rw)
{
	const struct x86_mem *mem = &insn->mem;

	o->addr32 = insn->addrsize == 4;
	if (insn->addrsize == 2 || mem->base == X86_REG_RIP || (!o->addr32 && mem->disp != (int32_t)mem->disp))
		return false;
	o->base = mem->base < X86_GPRS ? rw->map[mem->base] : X86_REG_NONE;
	if (!o->vsib)
		o->index = mem->index < X86_GPRS ? rw->map[mem->index] : X86_REG_NONE;
	o->disp = mem->disp;
	return true;
}

static bool take_mem(struct operands *o, const struct x86_insn *insn, const uint8_t *bytes, const struct rewrite *rw)
{
	o->mem = true;
	o->vsib = insn->mem.vsib;
	o->index = insn->mem.index;
	o->scale = insn->mem.scale;
	o->disp8_scale = disp8_scale(insn, bytes);
	if (!(rw->has_mem ? take_given_mem(o, rw) : take_own_mem(o, insn, rw)))
		return false;
	if (!o->vsib && o->index == X86_RSP) {
		if (o->scale > 1 || o->base == X86_RSP || o->base >= X86_GPRS)
			return false;
		o->index = o->base;
		o->base = X86_RSP;
	}
	return true;
}

// The prefix that counts of F2 and F3 is the last one.
static uint8_t last_rep(const struct x86_insn *insn, const uint8_t *bytes)
{
	for (int i = insn->opcode_off - 1; i >= 0; i--)
		if (bytes[i] == 0xf2 || bytes[i] == 0xf3)
			return bytes[i];
	return 0;
}

static bool rep_counts(const struct x86_insn *insn)
{
	if (!(insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE)))
		return false;
	if (insn->map)
		return !(insn->prefixes & X86_PFX_LOCK); // XACQUIRE and XRELEASE are hints
	return insn->class == X86_CLASS_STRING || insn->opcode == 0x90;
}

static uint8_t ext_bits(const struct operands *o)
{
	uint8_t bits = (o->reg & 8) >> 1;

	if (!o->mem)
		return bits | (o->rm & 8) >> 3;
	if (o->base < X86_GPRS)
		bits |= o->base >> 3;
	if (o->index < 32)
		bits |= (o->index & 8) >> 2;
	return bits;
}

static uint8_t *emit_legacy(uint8_t *p, const struct operands *o, const struct x86_insn *insn, const uint8_t *bytes)
{
	uint8_t rex = ext_bits(o) | (o->w ? 8 : 0);

	if (insn->prefixes & X86_PFX_LOCK)
		*p++ = 0xf0;
	if (wants_opsize_prefix(insn))
		*p++ = 0x66;
	if (rep_counts(insn))
		*p++ = last_rep(insn, bytes);
	if (rex || o->rex)
		*p++ = 0x40 | rex;
	if (insn->map)
		*p++ = 0x0f;
	if (insn->map > 1)
		*p++ = insn->map == 2 ? 0x38 : 0x3a;
	return p;
}

static uint8_t *emit_vex(uint8_t *p, const struct operands *o, const struct x86_insn *insn, const uint8_t *bytes)
{
	uint8_t ext = ext_bits(o);
	uint8_t last = (bytes[insn->opcode_off - 1] & 7) | (~o->vvvv & 15) << 3; // L and pp stay

	if (insn->encoding == X86_ENC_VEX && insn->map == 1 && !o->w && !(ext & 3)) {
		*p++ = 0xc5;
		*p++ = last | (ext & 4 ? 0 : 0x80);
		return p;
	}
	*p++ = insn->encoding == X86_ENC_XOP ? 0x8f : 0xc4;
	*p++ = (~ext & 7) << 5 | insn->map;
	*p++ = last | (o->w ? 0x80 : 0);
	return p;
}

static uint8_t *emit_evex(uint8_t *p, const struct operands *o, const struct x86_insn *insn, const uint8_t *bytes)
{
	const uint8_t *op = bytes + insn->opcode_off;
	uint8_t ext = ext_bits(o);
	uint8_t vvvv = o->vvvv;

	if (!o->mem)
		ext |= (o->rm & 16) >> 3; // X is the fifth bit of a vector register in rm
	if (o->mem && o->vsib)
		vvvv = (vvvv & 15) | (o->index & 16);
	*p++ = 0x62;
	*p++ = (op[-3] & 15) | (~ext & 7) << 5 | (~o->reg & 16);
	*p++ = (op[-2] & 7) | (~vvvv & 15) << 3 | (o->w ? 0x80 : 0);
	*p++ = (op[-1] & ~8) | ((~vvvv & 16) >> 1);
	return p;
}

static uint8_t *emit_disp32(uint8_t *p, int32_t disp)
{
	for (int shift = 0; shift < 32; shift += 8)
		*p++ = (uint32_t)disp >> shift;
	return p;
}

// ModRM, SIB and displacement of a memory operand.
static uint8_t *emit_mem(uint8_t *p, const struct operands *o)
{
	uint8_t reg = (o->reg & 7) << 3;
	bool indexed = o->index != X86_REG_NONE;
	uint8_t scale = o->scale == 8 ? 3 : o->scale == 4 ? 2 : o->scale == 2 ? 1 : 0;
	uint8_t sib = (indexed ? scale << 6 | (o->index & 7) << 3 : 4 << 3) | (o->base < X86_GPRS ? o->base & 7 : 5);
	int n = o->disp8_scale;
	uint8_t mod;

	if (o->base == X86_REG_RIP) {
		*p++ = reg | 5;
		return emit_disp32(p, o->disp);
	}
	if (o->base == X86_REG_NONE) {
		*p++ = reg | 4;
		*p++ = sib;
		return emit_disp32(p, o->disp);
	}
	if (!o->disp && (o->base & 7) != 5)
		mod = 0x00;
	else if (!o->disp || (n && o->disp % n == 0 && o->disp / n >= -128 && o->disp / n <= 127))
		mod = 0x40;
	else
		mod = 0x80;
	if (indexed || (o->base & 7) == 4) {
		*p++ = mod | reg | 4;
		*p++ = sib;
	} else {
		*p++ = mod | reg | (o->base & 7);
	}
	if (mod == 0x40)
		*p++ = o->disp ? o->disp / n : 0;
	return mod == 0x80 ? emit_disp32(p, o->disp) : p;
}

// The fourth vector register in an immediate has three bits outside 64-bit mode.
static bool imm_names_register(const struct x86_insn *insn)
{
	uint8_t op = insn->opcode;

	return insn->encoding == X86_ENC_VEX && insn->map == 3 &&
	       ((op >= 0x48 && op <= 0x4c) || (op >= 0x5c && op <= 0x5f) || (op >= 0x68 && op <= 0x6f) ||
		(op >= 0x78 && op <= 0x7f));
}

static uint8_t *emit_imm(uint8_t *p, const struct x86_insn *insn, const uint8_t *bytes)
{
	if (!insn->imm_size)
		return p;
	for (int i = insn->imm_off; i < insn->len; i++) // a second immediate (EXTRQ) included
		*p++ = bytes[i];
	if (insn->imm_size == 1 && !is_long(insn) && imm_names_register(insn))
		p[-1] &= 0x7f;
	return p;
}

static int gather(struct operands *o, const struct x86_insn *insn, const uint8_t *bytes, const struct rewrite *rw)
{
	struct source s = read_source(insn, bytes);
	uint16_t named = 0;
	bool accumulator = false;

	*o = (struct operands){.opcode = insn->opcode, .vvvv = s.vvvv, .w = s.w, .base = X86_REG_NONE,
			       .index = X86_REG_NONE, .scale = 1};
	if (insn->has_modrm)
		take_modrm(o, insn, rw, &s, &named);
	else if (is_legacy(insn))
		accumulator = take_short_form(o, insn, rw, &named);
	if (insn->fields & X86_FIELD_VVVV_GPR) {
		named |= BIT(s.vvvv & 15);
		o->vvvv = rw->map[s.vvvv & 15];
	}
	if (!accumulator && implicit_moved(insn, rw, named))
		return REWRITE_CANNOT;
	if (insn->mem.present && !take_mem(o, insn, bytes, rw))
		return REWRITE_CANNOT;
	if (insn->class == X86_CLASS_STRING || (insn->class == X86_CLASS_MASKED && !insn->mem.present)) {
		if (insn->addrsize == 2)
			return REWRITE_CANNOT;
		o->addr32 = insn->addrsize == 4;
	}
	if (!is_long(insn) && is_legacy(insn) && insn->map == 0 && insn->opcode == 0x82)
		o->opcode = 0x80;
	if (o->high && (o->unnameable || o->rex || o->w || ext_bits(o)))
		return REWRITE_NEED_LOW;
	return 0;
}

int rewrite_insn(uint8_t out[REWRITE_MAX], const struct x86_insn *insn, const uint8_t *bytes, const struct rewrite *rw)
{
	struct operands o;
	uint8_t *p = out;
	int rc;

	if (!rewrite_supported(insn))
		return REWRITE_CANNOT;
	rc = gather(&o, insn, bytes, rw);
	if (rc)
		return rc;
	if (o.addr32)
		*p++ = 0x67;
	if (is_legacy(insn))
		p = emit_legacy(p, &o, insn, bytes);
	else if (insn->encoding == X86_ENC_EVEX)
		p = emit_evex(p, &o, insn, bytes);
	else
		p = emit_vex(p, &o, insn, bytes);
	*p++ = o.opcode;
	if (o.modrm && o.mem)
		p = emit_mem(p, &o);
	else if (o.modrm)
		*p++ = 0xc0 | (o.reg & 7) << 3 | (o.rm & 7);
	p = emit_imm(p, insn, bytes);
	return p - out <= INSN_LIMIT ? p - out : REWRITE_CANNOT;
}
