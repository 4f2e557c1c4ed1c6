// SPDX-License-Identifier: MIT
//
// Vector registers for C code. They live in the host's own registers, which this code cannot name: for the few
// instructions that C carries out they go to vcpu.xsave, are read and changed there, and come back.
#ifndef BT_VECTOR_H
#define BT_VECTOR_H

#include "bt/bt.h"
#include "cpu/vmem.h"

// Registers that the encoding names (struct vector_op): reg, vvvv, rm are vector registers, k is an opmask.
struct vector_op vector_op_of(const struct x86_insn *insn, const uint8_t *bytes);

void vector_init(struct bt *b);
void vector_put_back(struct vcpu *v, bool evex); // vcpu.xsave to the host's registers

// Of the saved image, after vmm_save_vectors. `byte` is an offset in the register; a lane of 16 bytes is contiguous.
uint8_t *vector_at(struct vcpu *v, unsigned reg, unsigned byte);
uint64_t *vector_kmask(struct vcpu *v, unsigned k);
uint8_t *vector_mmx(struct vcpu *v, unsigned reg); // TOP must be 0
void vector_clear_from(struct vcpu *v, unsigned reg, unsigned byte, bool evex);

static inline uint64_t low_bits(unsigned n)
{
	return n >= 64 ? ~UINT64_C(0) : BIT64(n) - 1;
}

// The bytes of its memory operand that a MASKED instruction touches, bit by byte. Saves the vectors.
uint64_t masked_bytes(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op);

#endif
