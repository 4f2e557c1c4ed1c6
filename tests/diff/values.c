// SPDX-License-Identifier: MIT
//
// What registers and memory hold at the start: plain random bits are rarely interesting to arithmetic, so integers
// near the edges and floating-point numbers of every class are mixed in.
#include <string.h>
#include "difftest.h"

static const uint32_t floats32[] = {
	0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fa00001, 0xffc12345, 1, 0x80000001,
	0x007fffff, 0x00800000, 0x7f7fffff, 0x4b000000, 0x4f000000, 0x5f000000, 0xcf000001, 0x3f000000, 0x40490fdb,
	0x3effffff, 0x4b7fffff, 0x42c80000, 0x33800000,
};

static const uint64_t floats64[] = {
	0, UINT64_C(0x8000000000000000), UINT64_C(0x3ff0000000000000), UINT64_C(0xbff0000000000000),
	UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000), UINT64_C(0x7ff8000000000000),
	UINT64_C(0x7ff4000000000001), UINT64_C(0xfff8000012345678), 1, UINT64_C(0x800fffffffffffff),
	UINT64_C(0x0010000000000000), UINT64_C(0x7fefffffffffffff), UINT64_C(0x41dfffffffc00000),
	UINT64_C(0x43e0000000000000), UINT64_C(0x3fe0000000000000), UINT64_C(0x400921fb54442d18),
	UINT64_C(0x4330000000000001), UINT64_C(0x36a0000000000000), UINT64_C(0x47efffffe0000000),
};

static const uint16_t floats16[] = {
	0, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0x7d01, 1, 0x83ff, 0x400, 0x7bff, 0x3555, 0x5640,
};

void random_bytes(struct rng *r, uint8_t *p, unsigned int n)
{
	for (unsigned int i = 0; i < n; i += 8) {
		uint64_t v = rng_next(r);

		memcpy(p + i, &v, n - i < 8 ? n - i : 8);
	}
}

uint64_t random_value(struct rng *r)
{
	uint64_t v = rng_next(r);

	switch (rng_below(r, 8)) {
	case 0: return rng_below(r, 16);
	case 1: return -(uint64_t)rng_below(r, 16);
	case 2: return (BIT64(rng_below(r, 64))) - rng_below(r, 2);
	case 3: return (uint32_t)v;
	case 4: return (uint64_t)(int64_t)(int32_t)v;
	case 5: return rng_below(r, 0x10000);
	default: return v;
	}
}

// n bytes as an operand: one kind of number throughout, some lanes odd.
void random_operand(struct rng *r, uint8_t *p, unsigned int n)
{
	uint32_t kind = rng_below(r, 6);

	random_bytes(r, p, n);
	for (unsigned int i = 0; kind == 0 && i + 4 <= n; i += 4)
		if (rng_chance(r, 70))
			memcpy(p + i, &floats32[rng_below(r, ARRAY_SIZE(floats32))], 4);
	for (unsigned int i = 0; kind == 1 && i + 8 <= n; i += 8)
		if (rng_chance(r, 70))
			memcpy(p + i, &floats64[rng_below(r, ARRAY_SIZE(floats64))], 8);
	for (unsigned int i = 0; kind == 2 && i + 2 <= n; i += 2)
		if (rng_chance(r, 70))
			memcpy(p + i, &floats16[rng_below(r, ARRAY_SIZE(floats16))], 2);
	for (unsigned int i = 0; kind == 3 && i + 8 <= n; i += 8) {
		uint64_t v = random_value(r);

		memcpy(p + i, &v, 8);
	}
	for (unsigned int i = 0; kind == 4 && i + 4 <= n; i += 4) { // ordinary numbers in single precision
		uint32_t v = (rng_next(r) & 0x807fffff) | (0x78 + rng_below(r, 16)) << 23;

		memcpy(p + i, &v, 4);
	}
}

static void random_extended(struct rng *r, uint8_t *p)
{
	static const uint16_t exponents[] = {0, 0x3fff, 0xbfff, 0x7fff, 0xffff, 0x4000, 1, 0x7ffe, 0x403e, 0x3fbf, 0xc01e};
	uint64_t significand = rng_next(r);
	uint16_t exponent = exponents[rng_below(r, ARRAY_SIZE(exponents))];

	if (rng_chance(r, 40))
		exponent = 0x3fff - 20 + rng_below(r, 40) + (rng_below(r, 2) << 15);
	if (rng_chance(r, 30))
		significand = 0;
	if ((exponent & 0x7fff) && rng_chance(r, 95))
		significand |= BIT64(63);
	memcpy(p, &significand, 8);
	memcpy(p + 8, &exponent, 2);
}

static void random_x87(struct rng *r, uint8_t *area)
{
	uint16_t fcw = 0x37f, fsw = rng_below(r, 8) << 11;
	uint8_t ftw = rng_chance(r, 60) ? 0xff : rng_next(r);

	if (rng_chance(r, 40))
		fcw = 0x7f | rng_below(r, 16) << 8;
	if (rng_chance(r, 10))
		fcw = 0x340 | rng_below(r, 64);
	if (rng_chance(r, 30))
		fsw |= rng_next(r) & 0x4700;
	if (rng_chance(r, 20))
		fsw |= rng_next(r) & 0x7f;
	if ((fsw & ~fcw & 0x3f) && rng_chance(r, 60))
		fsw &= ~0x3f;
	memcpy(area, &fcw, 2);
	memcpy(area + 2, &fsw, 2);
	area[4] = ftw;
	for (int i = 0; i < 8; i++)
		random_extended(r, area + 32 + 16 * i);
}

static uint32_t random_mxcsr(struct rng *r)
{
	uint32_t mxcsr = 0x1f80;

	if (rng_chance(r, 40))
		mxcsr |= rng_below(r, 4) << 13;
	if (rng_chance(r, 20))
		mxcsr |= rng_below(r, 2) << 15 | rng_below(r, 2) << 6;
	if (rng_chance(r, 25))
		mxcsr |= rng_below(r, 64);
	if (rng_chance(r, 12))
		mxcsr &= ~(rng_below(r, 64) << 7);
	return mxcsr;
}

void generate_vectors(struct rng *r, struct cpu_state *in, uint64_t mask)
{
	uint8_t *area = in->xsave;
	uint32_t mxcsr = random_mxcsr(r);

	memset(area, 0, XSAVE_SIZE);
	random_x87(r, area);
	memcpy(area + 24, &mxcsr, 4);
	for (unsigned int i = 0; i < 16; i++)
		random_operand(r, area + 160 + 16 * i, 16);
	for (unsigned int c = 2; c < 8; c++) {
		unsigned int unit = c == 7 ? 64 : c == 6 ? 32 : c == 5 ? 8 : 16;

		if (!(mask & BIT(c)))
			continue;
		for (unsigned int i = 0; i < xsave_size[c]; i += unit)
			random_operand(r, area + xsave_offset[c] + i, unit);
	}
	memcpy(area + 512, &mask, 8);
}

// Memory between cases. The last scratch page begins with an image for FXRSTOR and XRSTOR.
void fill_template(void)
{
	struct rng r = {.s = 4711};
	static struct cpu_state image;

	for (unsigned int i = 0; i < SCRATCH_SIZE; i += 64)
		random_operand(&r, template_scratch + i, 64);
	for (unsigned int i = 0; i < STACK_SIZE; i += 64)
		random_operand(&r, template_stack + i, 64);
	for (unsigned int i = 0; i < sizeof(template_readonly); i += 64)
		random_operand(&r, template_readonly + i, 64);
	generate_vectors(&r, &image, execute_xsave_mask());
	memset(image.xsave + 28, 0xff, 2);
	memset(image.xsave + 30, 0, 2);
	memcpy(template_scratch + 3 * PAGE_SIZE, image.xsave, 3072);
}
