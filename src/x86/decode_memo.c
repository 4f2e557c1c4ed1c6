// SPDX-License-Identifier: MIT
//
// See decode_memo.h. Heads that are not kept: of more than seven bytes, EVEX, XOP, 3DNow!, 16-bit addresses. Shifts by
// an immediate have it in the head, since it says which flags they write.
#include "base/string.h"
#include "x86/decode_cursor.h"
#include "x86/decode_memo.h"

enum { HEAD_MAX = 7, HEAD_TAG = 56 };

struct head {
	uint64_t key;  // 0: not one to be kept
	unsigned size;
};

static bool is_prefix(uint8_t byte)
{
	return byte == 0x66 || byte == 0xf3 || byte == 0xf2 || (byte & 0xfe) == 0x64 || byte == 0xf0;
}

static bool shifts_by_imm(unsigned map, uint8_t opcode)
{
	return map == TMAP_LEGACY ? (opcode & 0xfe) == 0xc0 : map == TMAP_0F && (opcode & 0xf7) == 0xa4;
}

// The opcode's map, and where it stands; or TMAP_COUNT.
static unsigned find_opcode(const uint8_t *p, unsigned *at, enum x86_mode mode)
{
	unsigned i = *at;

	if (mode == X86_MODE64 && (p[i] & 0xfe) == 0xc4) { // VEX
		*at += p[i] == 0xc4 ? 3 : 2;
		return TMAP_VEX1;
	}
	if (mode == X86_MODE64 && (p[i] & 0xf0) == 0x40)
		i++;
	*at = i;
	if ((p[i] & 0xfe) == 0xc4 || p[i] == 0x62 || p[i] == 0x8f)
		return TMAP_COUNT;
	if (p[i] != 0x0f)
		return TMAP_LEGACY;
	*at = i + 1;
	if (p[i + 1] != 0x38 && p[i + 1] != 0x3a)
		return p[i + 1] == 0x0f ? TMAP_COUNT : TMAP_0F;
	*at = i + 2;
	return TMAP_0F38;
}

static struct head head_of(const uint8_t *p, enum x86_mode mode_and_rules)
{
	enum x86_mode mode = mode_and_rules & X86_MODE_SIZE;
	unsigned at = 0, map;
	uint64_t key;
	uint8_t opcode;

	while (at < 3 && is_prefix(p[at]))
		at++;
	map = find_opcode(p, &at, mode);
	if (map == TMAP_COUNT || mode == X86_MODE16)
		return (struct head){0, 0};
	opcode = p[at++];
	__builtin_memcpy(&key, p, sizeof(key));
	if (map > TMAP_0F || (x86_has_modrm[map][mode][opcode >> 3] >> (opcode & 7) & 1)) {
		uint8_t modrm = p[at++];

		if (modrm < 0xc0) {
			at += (modrm & 7) == 4;
			if (shifts_by_imm(map, opcode))
				return (struct head){0, 0};
		}
	}
	if (at + shifts_by_imm(map, opcode) > HEAD_MAX)
		return (struct head){0, 0};
	key &= BIT64(8 * (at + shifts_by_imm(map, opcode))) - 1;
	return (struct head){key | (uint64_t)(at << 3 | mode_and_rules) << HEAD_TAG, at};
}

// By small pieces: without SSE, gcc would turn one large assignment into a slow REP MOVS.
static inline void copy(struct x86_insn *to, const struct x86_insn *from)
{
	enum { PIECE = 24 };
	char *d = (char *)to;
	const char *s = (const char *)from;

	_Static_assert(sizeof(*to) >= 3 * PIECE && sizeof(*to) <= 4 * PIECE, "four pieces cover it");
	__builtin_memcpy(d, s, PIECE);
	__builtin_memcpy(d + PIECE, s + PIECE, PIECE);
	__builtin_memcpy(d + 2 * PIECE, s + 2 * PIECE, PIECE);
	__builtin_memcpy(d + sizeof(*to) - PIECE, s + sizeof(*to) - PIECE, PIECE);
}

static inline int64_t value_of(const uint8_t *p, unsigned size)
{
	int64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return (int64_t)((uint64_t)v << (64 - 8 * size)) >> (64 - 8 * size);
}

// Is there nothing behind the head but a displacement and one immediate, where they are expected?
static bool can_be_kept(const struct x86_insn *insn, unsigned head)
{
	return insn->class != X86_CLASS_INVALID && insn->len == head + insn->disp_size + insn->imm_size &&
	       (!insn->disp_size || (insn->has_modrm && insn->disp_off == head && insn->addrsize > 2)) &&
	       (!insn->imm_size || insn->imm_off == head + insn->disp_size) &&
	       !(insn->prefixes & X86_PFX_ADDRSIZE) && insn->encoding <= X86_ENC_VEX;
}

static bool imm_is_signed(const struct x86_insn *insn, const uint8_t *bytes, enum x86_mode mode)
{
	uint8_t negative[X86_INSN_MAX];
	struct x86_insn other;

	memcpy(negative, bytes, sizeof(negative));
	negative[insn->imm_off + insn->imm_size - 1] |= 0x80;
	x86_decode(&other, negative, sizeof(negative), mode);
	return (int64_t)other.imm < 0;
}

int x86_decode_memo(struct x86_memo *m, struct x86_insn *out, const uint8_t *bytes, size_t n, enum x86_mode mode)
{
	struct head h = n < X86_INSN_MAX + sizeof(uint64_t) ? (struct head){0, 0} : head_of(bytes, mode);
	unsigned i = h.key * UINT64_C(0x9e3779b97f4a7c15) >> 53;
	int len;

	_Static_assert(X86_MEMO_SIZE == 1 << (64 - 53), "the hash");
	if (h.key && m->entry[i].head == h.key) {
		copy(out, &m->entry[i].insn);
		if (out->disp_size)
			out->mem.disp = value_of(bytes + out->disp_off, out->disp_size);
		if (out->imm_size) {
			out->imm = (uint64_t)value_of(bytes + out->imm_off, out->imm_size);
			if (!m->entry[i].signed_imm && out->imm_size < 8)
				out->imm &= BIT64(8 * out->imm_size) - 1;
		}
		return out->len;
	}
	len = x86_decode(out, bytes, MIN(n, X86_INSN_MAX), mode);
	if (h.key && len > 0 && can_be_kept(out, h.size)) {
		m->entry[i].head = h.key;
		m->entry[i].signed_imm = out->imm_size && imm_is_signed(out, bytes, mode);
		copy(&m->entry[i].insn, out);
	}
	return len;
}
