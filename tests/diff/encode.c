// SPDX-License-Identifier: MIT
//
// One random encoding of a form: the shape's fixed bits, everything else by chance (registers, addressing mode,
// prefixes without effect, immediates). It counts only if the decoder says it is still the same form.
#include <string.h>
#include "difftest.h"

uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->s += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

bool rng_chance(struct rng *r, uint32_t percent)
{
	return rng_below(r, 100) < percent;
}

// Register numbers and addressing, before they are cut into prefix bits and ModRM.
struct pick {
	uint8_t reg, rm, vvvv; // 5 bits
	uint8_t mode;          // enum addressing
	uint8_t base, index, scale_log2;
	uint8_t disp_size;
	uint8_t seg, addr32;
};

enum addressing { ADDR_BASE, ADDR_BASE_INDEX, ADDR_INDEX, ADDR_ABSOLUTE, ADDR_RIP };

static uint8_t random_gpr(struct rng *r)
{
	uint8_t n = rng_below(r, 16);

	return n == X86_RSP && rng_chance(r, 70) ? rng_below(r, 16) : n;
}

// 32-bit code has eight registers and the old segments; 16-bit addresses only reach anything through GS.
static void restrict_address(struct rng *r, struct pick *p, bool vsib)
{
	static const uint8_t overrides[] = {0, 0, 0, 0, 0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};

	p->base &= 7;
	p->index &= 7;
	if (p->index == X86_RSP && !vsib)
		p->index = X86_RBX;
	p->seg = overrides[rng_below(r, ARRAY_SIZE(overrides))];
	p->addr32 &= !vsib;
	if (p->addr32)
		p->seg = 0x65;
}

static void pick_address(struct rng *r, struct pick *p, bool vsib)
{
	uint32_t how = rng_below(r, 100);

	p->mode = how < 45 ? ADDR_BASE : how < 75 ? ADDR_BASE_INDEX : how < 82 ? ADDR_INDEX :
		  how < 90 ? ADDR_ABSOLUTE : ADDR_RIP;
	if (vsib)
		p->mode = ADDR_BASE_INDEX;
	p->base = rng_chance(r, 12) ? X86_RSP : rng_below(r, 16);
	p->index = vsib ? rng_below(r, 32) : rng_below(r, 16);
	if (!vsib && p->index == X86_RSP)
		p->index = X86_RBX;
	p->scale_log2 = rng_below(r, 4);
	p->disp_size = rng_chance(r, 30) ? 0 : rng_chance(r, 55) ? 1 : 4;
	p->seg = rng_chance(r, 8) ? 0x64 + rng_below(r, 2) : rng_chance(r, 4) ? 0x2e : 0;
	p->addr32 = rng_chance(r, 6);
	if (!is_code64())
		restrict_address(r, p, vsib);
}

static void pick_registers(struct rng *r, struct pick *p, const struct form *form, const struct shape *s)
{
	bool wide = s->encoding == X86_ENC_EVEX;

	memset(p, 0, sizeof(*p));
	p->reg = wide ? rng_below(r, 32) : rng_below(r, 16);
	p->rm = wide ? rng_below(r, 32) : rng_below(r, 16);
	p->vvvv = rng_below(r, 4) ? (wide ? rng_below(r, 32) : rng_below(r, 16)) : 0;
	if (form->key.fields & X86_FIELD_REG_GPR)
		p->reg = random_gpr(r);
	if (form->key.fields & (X86_FIELD_RM_GPR | X86_FIELD_OPCODE_GPR))
		p->rm = random_gpr(r);
	if (!is_code64()) {
		p->reg &= 7;
		p->rm &= 7;
		p->vvvv &= 7;
	}
	pick_address(r, p, form->key.vsib);
}

static bool is_memory(const struct shape *s)
{
	return s->modrm < 0xc0;
}

struct bits {
	uint8_t r, x, b, r2, x2_or_v2;
};

static struct bits extension_bits(const struct pick *p, const struct shape *s)
{
	struct bits b = {.r = p->reg >> 3 & 1, .r2 = p->reg >> 4 & 1};

	if (!is_memory(s)) {
		b.b = p->rm >> 3 & 1;
		b.x = p->rm >> 4 & 1;
		return b;
	}
	if (p->mode == ADDR_BASE || p->mode == ADDR_BASE_INDEX)
		b.b = p->base >> 3 & 1;
	if (p->mode == ADDR_BASE_INDEX || p->mode == ADDR_INDEX) {
		b.x = p->index >> 3 & 1;
		b.x2_or_v2 = p->index >> 4 & 1;
	}
	return b;
}

static uint8_t *put_legacy_prefixes(uint8_t *o, struct rng *r, const struct pick *p, const struct shape *s, bool memory)
{
	if (memory && p->seg)
		*o++ = p->seg;
	if (memory && p->addr32)
		*o++ = 0x67;
	if (s->encoding != X86_ENC_LEGACY)
		return o;
	if (s->lock)
		*o++ = 0xf0;
	if (s->pp & SHAPE_66)
		*o++ = 0x66;
	if (s->pp & SHAPE_F3)
		*o++ = 0xf3;
	if (s->pp & SHAPE_F2)
		*o++ = 0xf2;
	return o;
}

static uint8_t *put_encoding(uint8_t *o, struct rng *r, const struct pick *p, const struct shape *s,
			     const struct form *f)
{
	struct bits b = extension_bits(p, s);
	uint8_t rex = s->w << 3 | b.r << 2 | (b.x & 1) << 1 | b.b;
	uint8_t v2 = f->key.vsib ? b.x2_or_v2 : p->vvvv >> 4 & 1;
	uint8_t masked = s->masked ? 1 + rng_below(r, 7) : 0;

	switch (s->encoding) {
	case X86_ENC_LEGACY:
		if (is_code64() && (rex || rng_chance(r, 15)))
			*o++ = 0x40 | rex;
		if (s->map)
			*o++ = 0x0f;
		if (s->map > 1)
			*o++ = s->map == 2 ? 0x38 : 0x3a;
		return o;
	case X86_ENC_VEX:
	case X86_ENC_XOP:
		if (s->encoding == X86_ENC_VEX && s->map == 1 && !s->w && !b.x && !b.b && rng_chance(r, 70)) {
			*o++ = 0xc5;
			*o++ = !b.r << 7 | (~p->vvvv & 15) << 3 | s->ll << 2 | s->pp;
			return o;
		}
		*o++ = s->encoding == X86_ENC_VEX ? 0xc4 : 0x8f;
		*o++ = !b.r << 7 | !b.x << 6 | !b.b << 5 | s->map;
		*o++ = s->w << 7 | (~p->vvvv & 15) << 3 | s->ll << 2 | s->pp;
		return o;
	default:
		*o++ = 0x62;
		*o++ = !b.r << 7 | !b.x << 6 | !b.b << 5 | !b.r2 << 4 | s->map;
		*o++ = s->w << 7 | (~p->vvvv & 15) << 3 | 4 | s->pp;
		*o++ = (masked && rng_chance(r, 50)) << 7 | s->ll << 5 | s->b << 4 | !v2 << 3 | masked;
		return o;
	}
}

static void put_memory16(uint8_t *o, struct rng *r, uint8_t reg)
{
	*o = rng_below(r, 3) << 6 | reg | rng_below(r, 8);
}

static void put_memory(uint8_t *o, struct rng *r, const struct pick *p, uint8_t reg)
{
	uint8_t scale = p->scale_log2 << 6, index = (p->index & 7) << 3;
	uint8_t mod = p->disp_size == 0 ? 0 : p->disp_size == 1 ? 0x40 : 0x80;
	bool sib = p->mode != ADDR_BASE || (p->base & 7) == 4 || rng_chance(r, 5);

	switch (p->mode) {
	case ADDR_RIP:
		*o++ = reg | 5;
		return;
	case ADDR_ABSOLUTE:
		if (!is_code64()) {
			*o++ = reg | 5;
			return;
		}
		*o++ = reg | 4;
		*o++ = 0x25;
		return;
	case ADDR_INDEX:
		*o++ = reg | 4;
		*o++ = scale | index | 5;
		return;
	default:
		if (!mod && (p->base & 7) == 5)
			mod = 0x40;
		*o++ = mod | reg | (sib ? 4 : p->base & 7);
		if (sib)
			*o++ = scale | (p->mode == ADDR_BASE ? 4 << 3 : index) | (p->base & 7);
	}
}

static bool modrm_reg_is_free(const struct form *form, const struct shape *s)
{
	uint8_t fields = form->key.fields;

	return (fields & X86_FIELD_REG_GPR) || s->encoding != X86_ENC_LEGACY || form->key.class == X86_CLASS_SSE ||
	       form->key.class == X86_CLASS_MMX || form->key.class == X86_CLASS_MOV_FROM_SEG ||
	       form->key.class == X86_CLASS_MOV_TO_SEG;
}

static void encode_once(struct rng *r, const struct form *form, const struct shape *s, bool plain, uint8_t *bytes)
{
	bool memory = form->key.mem == 1 && is_memory(s);
	struct pick p;
	bool free_reg = modrm_reg_is_free(form, s);
	uint8_t *o = bytes;
	uint8_t reg;

	pick_registers(r, &p, form, s);
	if (plain) {
		p.reg = s->modrm >> 3 & 7;
		p.rm = s->modrm & 7;
		p.vvvv = 0;
	}
	random_bytes(r, bytes, 16);
	reg = free_reg && !plain && rng_chance(r, 95) ? (p.reg & 7) << 3 : s->modrm & 0x38;
	o = put_legacy_prefixes(o, r, &p, s, memory || form->key.class == X86_CLASS_STRING);
	o = put_encoding(o, r, &p, s, form);
	*o++ = form->key.fields & X86_FIELD_OPCODE_GPR ? (s->opcode & ~7) | (p.rm & 7) : s->opcode;
	if (memory && p.addr32 && !is_code64())
		put_memory16(o, r, reg);
	else if (memory)
		put_memory(o, r, &p, reg);
	else if (form->has_modrm)
		*o = 0xc0 | reg | ((form->key.fields & X86_FIELD_RM_GPR) || free_reg ? p.rm & 7 : s->modrm & 7);
}

bool encode_form(struct rng *r, const struct form *form, const struct shape *shape, bool plain, uint8_t *bytes,
		 struct x86_insn *insn)
{
	struct form_key key;

	for (int attempt = 0; attempt < 40; attempt++) {
		encode_once(r, form, shape, plain || attempt > 30, bytes);
		if (x86_decode(insn, bytes, 15, code_mode) <= 0)
			continue;
		forms_key(&key, insn, bytes);
		if (!memcmp(&key, &form->key, sizeof(key)))
			return true;
	}
	return false;
}
