// SPDX-License-Identifier: MIT
//
// The image that XSAVE makes of the vector registers (SDM, "XSAVE-managed features": standard form; where the parts
// beyond the legacy region lie, CPUID leaf 0DH tells), and what instructions carried out by C name in it.
#include "base/string.h"
#include "bt/vector.h"

enum { // offsets and bits of XSTATE_BV
	FX_MMX = 32, FX_XMM = 160, XSTATE_BV = 512,
	STATE_SSE = BIT(1), STATE_AVX = BIT(2), STATE_AVX512 = BIT(5) | BIT(6) | BIT(7),
};

static uint32_t component_offset(uint32_t n)
{
	uint32_t a = 0xd, b, c = n, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b < XSAVE_AREA_MAX ? b : 0;
}

void vector_init(struct bt *b)
{
	uint64_t have = b->sh->config.host_xcr0;

	if (have & STATE_AVX)
		b->vectors.avx = component_offset(2);
	if ((have & STATE_AVX512) != STATE_AVX512)
		return;
	b->vectors.opmask = component_offset(5);
	b->vectors.zmm_upper = component_offset(6);
	b->vectors.zmm16 = component_offset(7);
}

void vector_put_back(struct vcpu *v, bool evex)
{
	uint64_t bv, touched = STATE_SSE | STATE_AVX | (evex ? STATE_AVX512 : 0);

	__builtin_memcpy(&bv, v->xsave + XSTATE_BV, 8);
	bv |= touched & v->shared->config.host_xcr0;
	__builtin_memcpy(v->xsave + XSTATE_BV, &bv, 8);
	vmm_load_vectors(v);
}

uint8_t *vector_at(struct vcpu *v, unsigned reg, unsigned byte)
{
	const struct bt *b = bt_of(v);

	if (reg >= 16)
		return v->xsave + b->vectors.zmm16 + (reg - 16) * 64 + byte;
	if (byte >= 32)
		return v->xsave + b->vectors.zmm_upper + reg * 32 + byte - 32;
	if (byte >= 16)
		return v->xsave + b->vectors.avx + reg * 16 + byte - 16;
	return v->xsave + FX_XMM + reg * 16 + byte;
}

uint64_t *vector_kmask(struct vcpu *v, unsigned k)
{
	return (uint64_t *)(v->xsave + bt_of(v)->vectors.opmask) + k;
}

uint8_t *vector_mmx(struct vcpu *v, unsigned reg)
{
	return v->xsave + FX_MMX + (reg & 7) * 16; // REX extends no MMX register
}

// Zero the register's bytes from `byte` (a multiple of 4) to its end, as far as the host has them.
void vector_clear_from(struct vcpu *v, unsigned reg, unsigned byte, bool evex)
{
	unsigned end = bt_of(v)->vectors.zmm_upper ? 64 : 32;

	for (; byte < end; byte += 4)
		memset(vector_at(v, reg, byte), 0, 4);
}

struct vector_op vector_op_of(const struct x86_insn *insn, const uint8_t *bytes)
{
	const uint8_t *op = bytes + insn->opcode_off;
	unsigned reg = insn->modrm >> 3 & 7, rm = insn->modrm & 7, k = 0;

	switch ((enum x86_encoding)insn->encoding) {
	case X86_ENC_EVEX:
		reg |= (~op[-3] >> 4 & 8) | (~op[-3] & 16);
		rm |= (~op[-3] >> 2 & 8) | (~op[-3] >> 2 & 16);
		k = op[-1] & 7;
		break;
	case X86_ENC_VEX:
		if (insn->opcode_off >= 3 && op[-3] == 0xc4) {
			reg |= ~op[-2] >> 4 & 8;
			rm |= ~op[-2] >> 2 & 8;
		} else {
			reg |= ~op[-1] >> 4 & 8;
		}
		break;
	default:
		reg |= (insn->rex & 4) << 1;
		rm |= (insn->rex & 1) << 3;
	}
	if (insn->mode != X86_MODE64) {
		reg &= 7;
		rm &= 7;
	}
	return (struct vector_op){.reg = (uint8_t)reg, .rm = (uint8_t)rm, .vvvv = insn->vvvv & 15, .k = (uint8_t)k};
}
