// SPDX-License-Identifier: MIT
//
// The emitter: host encodings, and nothing else. Reads as assembly: emit_lea(e, 8, T0, mem). Hex opcodes stand only
// here and in rewrite.c. Code is written through the writable twin of the translation cache; `delta` leads to where it
// runs. The caller has checked that there is room (EMIT_ROOM bytes).
#ifndef BT_EMIT_H
#define BT_EMIT_H

#include "base/assert.h"
#include "base/types.h"
#include "x86/regs.h"

struct emit {
	uint8_t *p;     // next byte, writable mapping
	uint8_t *end;
	int64_t delta;  // executable address = p + delta
	uint64_t state; // executable-side address of struct vcpu: state operands are RIP-relative to it
	uint32_t named_t0, named_t1; // how often r10 and r11 have been named: who keeps something there looks at it
};

struct emit_mem { // base + index * scale + disp, in host registers
	uint8_t base, index, scale;
	bool addr32; // the sum is cut to 32 bits
	int32_t disp;
};

enum emit_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum emit_cc { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

static inline const uint8_t *emit_here(const struct emit *e)
{
	return e->p + e->delta;
}

static inline void emit_u8(struct emit *e, unsigned b)
{
	*e->p++ = (uint8_t)b;
}

static inline void emit_u32(struct emit *e, uint32_t x)
{
	__builtin_memcpy(e->p, &x, 4);
	e->p += 4;
}

static inline void emit_u64(struct emit *e, uint64_t x)
{
	__builtin_memcpy(e->p, &x, 8);
	e->p += 8;
}

static inline void emit_bytes(struct emit *e, const uint8_t *b, size_t n)
{
	__builtin_memcpy(e->p, b, n);
	e->p += n;
}

// REX for a 1-, 2-, 4- or 8-byte operation; byte forms of SPL..DIL are not used by the emitters' own code.
static inline void emit_rex(struct emit *e, unsigned size, unsigned reg, unsigned index, unsigned base)
{
	unsigned rex = (size == 8) << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);

	e->named_t0 += reg == X86_R10 || index == X86_R10 || base == X86_R10;
	e->named_t1 += reg == X86_R11 || index == X86_R11 || base == X86_R11;

	if (rex)
		emit_u8(e, 0x40 | rex);
}

static inline void emit_modrm_mem(struct emit *e, unsigned reg, struct emit_mem m)
{
	bool has_index = m.index != X86_REG_NONE;
	unsigned scale = m.scale == 8 ? 3 : m.scale == 4 ? 2 : m.scale == 2 ? 1 : 0;
	unsigned mod;

	if (m.base == X86_REG_NONE) { // index*scale + disp32, or an absolute disp32
		emit_u8(e, (reg & 7) << 3 | 4);
		emit_u8(e, scale << 6 | (has_index ? m.index & 7 : 4) << 3 | 5);
		emit_u32(e, (uint32_t)m.disp);
		return;
	}
	mod = m.disp == 0 && (m.base & 7) != 5 ? 0 : m.disp == (int8_t)m.disp ? 1 : 2;
	if (has_index || (m.base & 7) == 4) {
		emit_u8(e, mod << 6 | (reg & 7) << 3 | 4);
		emit_u8(e, scale << 6 | (has_index ? m.index & 7 : 4) << 3 | (m.base & 7));
	} else {
		emit_u8(e, mod << 6 | (reg & 7) << 3 | (m.base & 7));
	}
	if (mod == 1)
		emit_u8(e, (uint8_t)m.disp);
	else if (mod == 2)
		emit_u32(e, (uint32_t)m.disp);
}

static inline void emit_addr32(struct emit *e) // the sum of base, index and displacement is cut to 32 bits
{
	emit_u8(e, 0x67);
}

// op reg, mem with an optional 66, REX and one- or two-byte opcode (0x0fXX).
static inline void emit_op_mem(struct emit *e, unsigned size, unsigned opcode, unsigned reg, struct emit_mem m)
{
	if (m.addr32)
		emit_addr32(e);
	if (size == 2)
		emit_u8(e, 0x66);
	emit_rex(e, size, reg, m.index == X86_REG_NONE ? 0 : m.index, m.base == X86_REG_NONE ? 0 : m.base);
	if (opcode > 0xff)
		emit_u8(e, opcode >> 8);
	emit_u8(e, opcode & 0xff);
	emit_modrm_mem(e, reg, m);
}

static inline void emit_op_rr(struct emit *e, unsigned size, unsigned opcode, unsigned reg, unsigned rm)
{
	if (size == 2)
		emit_u8(e, 0x66);
	emit_rex(e, size, reg, 0, rm);
	if (opcode > 0xff)
		emit_u8(e, opcode >> 8);
	emit_u8(e, opcode & 0xff);
	emit_u8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

// op reg, state(off): RIP-relative; imm is the number of immediate bytes that follow.
static inline void emit_op_state(struct emit *e, unsigned size, unsigned opcode, unsigned reg, uint32_t off,
				 unsigned imm)
{
	if (size == 2)
		emit_u8(e, 0x66);
	emit_rex(e, size, reg, 0, 0);
	if (opcode > 0xff)
		emit_u8(e, opcode >> 8);
	emit_u8(e, opcode & 0xff);
	emit_u8(e, (reg & 7) << 3 | 5);
	emit_u32(e, (uint32_t)(e->state + off - ((uint64_t)emit_here(e) + 4 + imm)));
}

static inline struct emit_mem mem_base(unsigned base, int32_t disp)
{
	return (struct emit_mem){.base = (uint8_t)base, .index = X86_REG_NONE, .scale = 1, .disp = disp};
}

static inline void emit_mov(struct emit *e, unsigned size, unsigned dst, unsigned src)
{
	emit_op_rr(e, size, 0x89, src, dst);
}

static inline void emit_lea(struct emit *e, unsigned size, unsigned dst, struct emit_mem m)
{
	emit_op_mem(e, size, 0x8d, dst, m);
}

// Loads: 1- and 2-byte ones zero-extend into 32 bits.
static inline void emit_load(struct emit *e, unsigned size, unsigned dst, struct emit_mem m)
{
	emit_op_mem(e, size < 4 ? 4 : size, size == 1 ? 0x0fb6 : size == 2 ? 0x0fb7 : 0x8b, dst, m);
}

static inline void emit_load_merge16(struct emit *e, unsigned dst, struct emit_mem m) // keeps the upper bits
{
	emit_op_mem(e, 2, 0x8b, dst, m);
}

static inline void emit_store(struct emit *e, unsigned size, unsigned src, struct emit_mem m)
{
	ASSERT(size > 1);
	emit_op_mem(e, size, 0x89, src, m);
}

static inline void emit_store_imm32(struct emit *e, unsigned size, uint32_t imm, struct emit_mem m)
{
	emit_op_mem(e, size, 0xc7, 0, m);
	if (size == 2) {
		emit_u8(e, imm & 0xff);
		emit_u8(e, imm >> 8 & 0xff);
	} else {
		emit_u32(e, imm);
	}
}

static inline void emit_load_state(struct emit *e, unsigned size, unsigned dst, uint32_t off)
{
	emit_op_state(e, size < 4 ? 4 : size, size == 1 ? 0x0fb6 : size == 2 ? 0x0fb7 : 0x8b, dst, off, 0);
}

static inline void emit_store_state(struct emit *e, unsigned size, unsigned src, uint32_t off)
{
	ASSERT(size > 1);
	emit_op_state(e, size, 0x89, src, off, 0);
}

static inline void emit_store_state_imm8(struct emit *e, unsigned imm, uint32_t off)
{
	emit_op_state(e, 1, 0xc6, 0, off, 1);
	emit_u8(e, imm);
}

static inline void emit_store_state_imm32(struct emit *e, uint32_t imm, uint32_t off)
{
	emit_op_state(e, 4, 0xc7, 0, off, 4);
	emit_u32(e, imm);
}

static inline void emit_cmp_state_imm8(struct emit *e, unsigned size, uint32_t off, int8_t imm)
{
	emit_op_state(e, size, size == 1 ? 0x80 : 0x83, 7, off, 1);
	emit_u8(e, (uint8_t)imm);
}

static inline void emit_mov_imm(struct emit *e, unsigned dst, uint64_t imm)
{
	if (imm == (uint32_t)imm) {
		emit_rex(e, 4, 0, 0, dst);
		emit_u8(e, 0xb8 | (dst & 7));
		emit_u32(e, (uint32_t)imm);
	} else if ((int64_t)imm == (int32_t)imm) {
		emit_rex(e, 8, 0, 0, dst);
		emit_u8(e, 0xc7);
		emit_u8(e, 0xc0 | (dst & 7));
		emit_u32(e, (uint32_t)imm);
	} else {
		emit_rex(e, 8, 0, 0, dst);
		emit_u8(e, 0xb8 | (dst & 7));
		emit_u64(e, imm);
	}
}

static inline void emit_alu_imm(struct emit *e, unsigned size, enum emit_alu op, unsigned reg, int32_t imm)
{
	bool short_form = imm == (int8_t)imm;

	emit_op_rr(e, size, short_form ? 0x83 : 0x81, op, reg);
	if (short_form)
		emit_u8(e, (uint8_t)imm);
	else
		emit_u32(e, (uint32_t)imm);
}

static inline void emit_rorx(struct emit *e, unsigned size, unsigned dst, unsigned src, unsigned n) // BMI2, keeps flags
{
	e->named_t0 += dst == X86_R10;
	e->named_t1 += dst == X86_R11;
	emit_u8(e, 0xc4);
	emit_u8(e, (dst & 8 ? 0 : 0x80) | 0x40 | (src & 8 ? 0 : 0x20) | 3);
	emit_u8(e, (size == 8 ? 0x80 : 0) | 0x7b);
	emit_u8(e, 0xf0);
	emit_u8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
	emit_u8(e, n);
}

static inline void emit_shrx(struct emit *e, unsigned size, unsigned dst, unsigned src, unsigned count) // likewise
{
	emit_u8(e, 0xc4);
	emit_u8(e, (dst & 8 ? 0 : 0x80) | 0x40 | (src & 8 ? 0 : 0x20) | 2);
	emit_u8(e, (size == 8 ? 0x80 : 0) | (~count & 15) << 3 | 3);
	emit_u8(e, 0xf7);
	emit_u8(e, 0xc0 | (dst & 7) << 3 | (src & 7));
}

// NOPs up to a multiple of n, a power of two.
static inline void emit_align(struct emit *e, unsigned n)
{
	static const uint8_t nops[][8] = {
		{0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0}, {0x0f, 0x1f, 0x40}, {0x0f, 0x1f, 0x44}, {0x66, 0x0f, 0x1f, 0x44},
		{0x0f, 0x1f, 0x80}, {0x0f, 0x1f, 0x84}};

	for (unsigned left = -(uintptr_t)e->p & (n - 1), some; left; left -= some) {
		some = left < 8 ? left : 8;
		emit_bytes(e, nops[some - 1], some);
	}
}

// To a place behind it, which emit_patch8 fills in. Keeps flags.
static inline uint8_t *emit_jrcxz(struct emit *e)
{
	emit_u8(e, 0xe3);
	emit_u8(e, 0);
	return e->p - 1;
}

static inline uint8_t *emit_jmp8(struct emit *e)
{
	emit_u8(e, 0xeb);
	emit_u8(e, 0);
	return e->p - 1;
}

static inline void emit_patch8(uint8_t *place, const struct emit *e)
{
	*place = (uint8_t)(e->p - place - 1);
}

static inline void emit_movzwl(struct emit *e, unsigned dst, unsigned src)
{
	emit_op_rr(e, 4, 0x0fb7, dst, src);
}

static inline void emit_gs(struct emit *e)
{
	emit_u8(e, 0x65);
}

// Jumps with a rel32 to be filled in; they return the place of the rel32 (writable mapping).
static inline uint8_t *emit_jmp32(struct emit *e)
{
	emit_u8(e, 0xe9);
	emit_u32(e, 0);
	return e->p - 4;
}

static inline void emit_shift(struct emit *e, unsigned size, unsigned op, unsigned reg, unsigned n) // op: 4 shl, 5 shr
{
	emit_op_rr(e, size, 0xc1, op, reg);
	emit_u8(e, n);
}

static inline uint8_t *emit_jcc32(struct emit *e, unsigned cc)
{
	emit_u8(e, 0x0f);
	emit_u8(e, 0x80 | cc);
	emit_u32(e, 0);
	return e->p - 4;
}

// Make the rel32 at place (writable mapping, with the emitter's delta) lead to target (executable address).
static inline void emit_patch32(uint8_t *place, int64_t delta, const uint8_t *target)
{
	int32_t rel = (int32_t)(target - (place + delta + 4));

	__builtin_memcpy(place, &rel, 4);
}

static inline void emit_call_state(struct emit *e, uint32_t off) // call *state(off)
{
	emit_op_state(e, 4, 0xff, 2, off, 0);
}

static inline void emit_jmp_state(struct emit *e, uint32_t off)
{
	emit_op_state(e, 4, 0xff, 4, off, 0);
}

#endif
