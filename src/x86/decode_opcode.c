// SPDX-License-Identifier: MIT
//
// The first half of decoding: legacy prefixes, REX, VEX, XOP and EVEX, and the opcode with its map. Says which tree is
// to be asked and gathers the key's prefix bits. Rules that need the instruction (is LOCK allowed, is vvvv an operand)
// are left to decode.c.
#include "x86/decode_cursor.h"

enum prefix_kind { PK_NONE, PK_SEG, PK_OSIZE, PK_ASIZE, PK_LOCK, PK_REPNE, PK_REP, PK_REX };

static const uint8_t prefix_kinds[256] = {
	[0x26] = PK_SEG, [0x2e] = PK_SEG, [0x36] = PK_SEG, [0x3e] = PK_SEG, [0x64] = PK_SEG, [0x65] = PK_SEG,
	[0x66] = PK_OSIZE, [0x67] = PK_ASIZE, [0xf0] = PK_LOCK, [0xf2] = PK_REPNE, [0xf3] = PK_REP,
	[0x40 ... 0x4f] = PK_REX,
};

static void take_segment(struct cursor *c, uint8_t prefix)
{
	if (prefix >= 0x64)
		c->seg = X86_FS + (prefix & 1);
	else if (c->mode != X86_MODE64)
		c->seg = prefix >> 3 & 3;
}

// Takes prefixes until the first opcode byte, which it returns. REX counts only when it comes last.
static enum status take_prefixes(struct cursor *c, struct x86_insn *out, uint8_t *opcode)
{
	for (;;) {
		uint8_t byte;

		TRY(fetch(c, &byte));
		if (prefix_kinds[byte] == PK_NONE) {
			*opcode = byte;
			return OK;
		}
		switch (prefix_kinds[byte]) {
		case PK_REX:
			if (c->mode == X86_MODE64) {
				out->rex = byte;
				continue;
			}
			*opcode = byte;
			return OK;
		case PK_SEG: out->prefixes |= X86_PFX_SEG; take_segment(c, byte); break;
		case PK_OSIZE: out->prefixes |= X86_PFX_OPSIZE; break;
		case PK_ASIZE: out->prefixes |= X86_PFX_ADDRSIZE; break;
		case PK_LOCK: out->prefixes |= X86_PFX_LOCK; break;
		case PK_REPNE: out->prefixes |= X86_PFX_REPNE; c->rep = 2; break;
		case PK_REP: out->prefixes |= X86_PFX_REP; c->rep = 1; break;
		}
		out->rex = 0;
	}
}

static enum status take_legacy_opcode(struct cursor *c, struct x86_insn *out, uint8_t opcode)
{
	c->w = out->rex >> 3 & 1;
	c->r = out->rex << 1 & 8;
	c->x = out->rex << 2 & 8;
	c->b = out->rex << 3 & 8;
	c->key = (out->prefixes & X86_PFX_OPSIZE ? KEY_OSIZE : 0) | (c->w ? KEY_W : 0) | c->rep << KEY_REP_SHIFT |
		(out->prefixes & X86_PFX_ADDRSIZE ? KEY_ASIZE : 0) | (c->b ? KEY_REXB : 0);
	c->tmap = TMAP_LEGACY;
	if (opcode == 0x0f) {
		TRY(fetch(c, &opcode));
		c->tmap = TMAP_0F;
		if (opcode == 0x38 || opcode == 0x3a) {
			c->tmap = opcode == 0x38 ? TMAP_0F38 : TMAP_0F3A;
			TRY(fetch(c, &opcode));
		}
	}
	out->encoding = X86_ENC_LEGACY;
	out->map = c->tmap;
	out->opcode = opcode;
	if (c->tmap == TMAP_0F && opcode == 0x0f) {
		out->encoding = X86_ENC_3DNOW;
		c->tmap = TMAP_3DNOW;
	}
	out->has_modrm = c->tmap > TMAP_0F || (x86_has_modrm[c->tmap][c->mode][opcode >> 3] >> (opcode & 7) & 1);
	return OK;
}

// VEX and its kin allow neither REX nor LOCK nor the prefixes that pp stands for.
static bool has_forbidden_prefix(const struct x86_insn *out)
{
	return out->rex || (out->prefixes & (X86_PFX_LOCK | X86_PFX_REP | X86_PFX_REPNE | X86_PFX_OPSIZE));
}

// The second payload byte of VEX and XOP: W vvvv L pp.
static void take_wvvvvlpp(struct cursor *c, uint8_t p)
{
	c->vvvv = ~p >> 3 & 15;
	c->key |= (p & 3) << KEY_PP_SHIFT | (p & 4 ? KEY_VL : 0);
}

static enum status take_vex2(struct cursor *c, struct x86_insn *out)
{
	uint8_t p;

	TRY(fetch(c, &p));
	TRY(fetch(c, &out->opcode));
	c->r = ~p >> 4 & 8;
	take_wvvvvlpp(c, p);
	c->tmap = TMAP_VEX1;
	out->encoding = X86_ENC_VEX;
	out->map = 1;
	return has_forbidden_prefix(out) ? BAD : OK;
}

// Three-byte VEX and XOP.
static enum status take_vex3(struct cursor *c, struct x86_insn *out, enum x86_encoding encoding)
{
	uint8_t p0, p1;
	unsigned first = encoding == X86_ENC_XOP ? 8 : 1;

	TRY(fetch(c, &p0));
	TRY(fetch(c, &p1));
	TRY(fetch(c, &out->opcode));
	c->r = ~p0 >> 4 & 8;
	c->x = ~p0 >> 3 & 8;
	c->b = ~p0 >> 2 & 8;
	c->w = p1 >> 7;
	c->key = c->w ? KEY_VW : 0;
	take_wvvvvlpp(c, p1);
	out->encoding = encoding;
	out->map = p0 & 31;
	if (out->map < first || out->map > first + 2 || has_forbidden_prefix(out))
		return BAD;
	c->tmap = (encoding == X86_ENC_XOP ? TMAP_XOP8 : TMAP_VEX1) + out->map - first;
	return OK;
}

static enum status take_evex(struct cursor *c, struct x86_insn *out)
{
	static const uint8_t tmaps[8] = { 0, TMAP_EVEX1, TMAP_EVEX2, TMAP_EVEX3, 0, TMAP_EVEX5, TMAP_EVEX6, 0 };
	uint8_t p0, p1, p2;

	TRY(fetch(c, &p0));
	TRY(fetch(c, &p1));
	TRY(fetch(c, &p2));
	TRY(fetch(c, &out->opcode));
	c->r = ~p0 >> 4 & 8;
	c->x = ~p0 >> 3 & 8;
	c->x2 = c->x << 1;
	c->b = ~p0 >> 2 & 8;
	c->r2 = ~p0 & 16;
	c->v2 = ~p2 << 1 & 16;
	c->w = p1 >> 7;
	c->vvvv = ~p1 >> 3 & 15;
	out->encoding = X86_ENC_EVEX;
	out->map = p0 & 7;
	c->key = (p1 & 3) << KEY_PP_SHIFT | (c->w ? KEY_VW : 0) | (p2 & 16 ? KEY_EB : 0) | (p2 >> 5 & 3) << KEY_ELL_SHIFT |
		(p2 & 7 ? KEY_EMASK : 0) | (p2 & 0x80 ? KEY_EZ : 0);
	c->tmap = tmaps[out->map];
	if (!c->tmap || (p0 & 8) || !(p1 & 4) || (c->mode != X86_MODE64 && c->v2) || has_forbidden_prefix(out))
		return BAD;
	return OK;
}

// Whether C4 C5 62 8F begin a VEX, EVEX or XOP prefix here: outside 64-bit mode only what would be a register form of
// LES LDS BOUND; everywhere only XOP maps for 8F (lower ones are POP).
static enum status is_vector_prefix(const struct cursor *c, uint8_t byte, bool *yes)
{
	*yes = false;
	if (byte != 0xc4 && byte != 0xc5 && byte != 0x62 && byte != 0x8f)
		return OK;
	*yes = c->mode == X86_MODE64 && byte != 0x8f;
	if (*yes)
		return OK;
	if (c->at >= c->limit)
		return SHORT;
	*yes = byte == 0x8f ? (c->bytes[c->at] & 31) >= 8 : c->bytes[c->at] >= 0xc0;
	return OK;
}

enum status decode_take_opcode(struct cursor *c, struct x86_insn *out)
{
	uint8_t byte;
	bool vector;
	enum status s = OK;

	TRY(take_prefixes(c, out, &byte));
	TRY(is_vector_prefix(c, byte, &vector));
	if (!vector) {
		s = take_legacy_opcode(c, out, byte);
		out->opcode_off = c->at - 1;
		return s;
	}
	switch (byte) {
	case 0xc5: s = take_vex2(c, out); break;
	case 0xc4: s = take_vex3(c, out, X86_ENC_VEX); break;
	case 0x8f: s = take_vex3(c, out, X86_ENC_XOP); break;
	default: s = take_evex(c, out);
	}
	out->opcode_off = c->at - 1;
	out->has_modrm = out->encoding != X86_ENC_VEX || out->map != 1 || out->opcode != 0x77;
	out->vvvv = c->vvvv;
	if (c->mode != X86_MODE64) {
		c->r = c->x = c->b = c->r2 = c->x2 = 0;
		out->vvvv &= 7;
	}
	return s;
}
