/* SPDX-License-Identifier: MIT */
/*
 * Operands that reach the corners of floating point: zeros, ones, halves at every rounding distance, denormals, the
 * largest and least normals, infinities, quiet and signalling NaNs, the limits of the integer conversions.
 */
#ifndef FP_VALUES_H
#define FP_VALUES_H

#include <stdint.h>

static const uint32_t float_values[] = {
	0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x3f000000, 0x3fc00000, 0xc0200000, 0x40490fdb,
	0x3eaaaaab, 0x00000001, 0x807fffff, 0x00800000, 0x80800001, 0x7f7fffff, 0xff7fffff, 0x7f800000,
	0xff800000, 0x7fc00000, 0xffc12345, 0x7f812345, 0x4b000001, 0x4effffff, 0x4f000000, 0xcf000000,
	0x5f000000, 0xdf000000, 0x3f7fffff, 0x3f800001, 0x33800000, 0x42f6e979, 0x1f123456, 0x60abcdef,
};

static const uint64_t double_values[] = {
	0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3fe0000000000000,
	0x3ff8000000000000, 0xc004000000000000, 0x400921fb54442d18, 0x3fd5555555555555, 0x0000000000000001,
	0x800fffffffffffff, 0x0010000000000000, 0x8010000000000001, 0x7fefffffffffffff, 0xffefffffffffffff,
	0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8123456789abc, 0x7ff0123456789abc,
	0x4330000000000001, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000, 0x43dfffffffffffff,
	0x43e0000000000000, 0x36a0000000000000, 0x380fffffe0000000, 0x47efffffffffffff, 0x3fefffffffffffff,
	0x2123456789abcdef, 0x5edcba9876543210,
};

/* Extended precision: sign and exponent, significand with its explicit integer bit. */
struct extended {
	uint64_t significand;
	uint16_t exponent;
} __attribute__((packed));

static const struct extended extended_values[] = {
	{ 0, 0 },				/* +0 */
	{ 0, 0x8000 },				/* -0 */
	{ 0x8000000000000000, 0x3fff },		/* 1 */
	{ 0x8000000000000000, 0xbfff },		/* -1 */
	{ 0x8000000000000000, 0x3ffe },		/* 1/2 */
	{ 0xc000000000000000, 0x3fff },		/* 1.5 */
	{ 0xa000000000000000, 0xc000 },		/* -2.5 */
	{ 0xc90fdaa22168c235, 0x4000 },		/* pi */
	{ 0xaaaaaaaaaaaaaaab, 0x3ffd },		/* 1/3 */
	{ 0xfffffffffffffc00, 0x3ffe },		/* just under 1, a double */
	{ 0x8000000000000001, 0x3fff },		/* just over 1, no double */
	{ 0x8000008000000001, 0x3fff },		/* just over half a float's last place */
	{ 1, 0 },				/* least denormal */
	{ 0x7fffffffffffffff, 0x8000 },		/* largest denormal, negative */
	{ 0x8000000000000000, 0 },		/* pseudo-denormal */
	{ 0x8000000000000000, 1 },		/* least normal */
	{ 0xffffffffffffffff, 0x7ffe },		/* largest */
	{ 0xffffffffffffffff, 0xfffe },		/* its negative */
	{ 0x8000000000000000, 0x7fff },		/* +infinity */
	{ 0x8000000000000000, 0xffff },		/* -infinity */
	{ 0xc000000000000000, 0xffff },		/* the default NaN */
	{ 0xc123456789abcdef, 0x7fff },		/* quiet NaN */
	{ 0xa123456789abcdef, 0x7fff },		/* signalling NaN */
	{ 0x0000000000000001, 0x7fff },		/* pseudo-NaN */
	{ 0x4000000000000000, 0x3fff },		/* unnormal */
	{ 0xfffe000000000000, 0x400d },		/* 32767.5 */
	{ 0xfffffffe00000000, 0x401d },		/* 2^31 - 1/2 */
	{ 0x8000000000000000, 0xc01e },		/* -2^31 */
	{ 0x8000000000000000, 0xc03e },		/* -2^63 */
	{ 0x8000000000000000, 0x403e },		/* 2^63 */
	{ 0xde0b6b3a763ffff0, 0x403a },		/* about 10^18 */
	{ 0x9876543210abcdef, 0x2345 },
	{ 0xfedcba9876543211, 0x5abc },
	{ 0xd3c21bcecceda100, 0x404e },		/* 10^24: argument reduction */
};

#endif
