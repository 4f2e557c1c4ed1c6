// SPDX-License-Identifier: MIT
//
// Builds a sample instruction's bytes and asks Zydis about them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_sample.h"

static ZydisDecoder decoders[3];

_Noreturn void gen_die(const char *what)
{
	fprintf(stderr, "gen_decode: %s\n", what);
	exit(1);
}

void gen_init(void)
{
	ZydisDecoderInit(&decoders[X86_MODE16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoders[X86_MODE32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoders[X86_MODE64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (int i = 0; i < 3; i++) {
		ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
	}
}

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

bool gen_ask(struct sample *s)
{
	uint8_t b[40] = { 0 };
	size_t n = is_evex(s->map) ? put_evex(s, b) : is_vector(s->map) ? put_vex(s, b) : put_opcode(s, b);

	n += put_modrm(s, b + n);
	if (s->map == TMAP_3DNOW)
		b[n] = s->opcode;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[s->mode], b, 15, &s->insn, s->op)) &&
		!is_knights_corner(s->insn.meta.isa_set);
}
