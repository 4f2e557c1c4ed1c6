// SPDX-License-Identifier: MIT
//
// Masks of memory operands: which bytes an instruction of class MASKED touches, for the careful form; and MASKMOVQ,
// MASKMOVDQU with their implicit operand at rDI, which C carries out.
#include "bt/vector.h"

static uint64_t spread(uint64_t bits, unsigned n, unsigned unit)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		if (bits >> i & 1)
			bytes |= low_bits(unit) << (i * unit);
	return bytes;
}

static uint64_t sign_bits(struct vcpu *v, unsigned reg, unsigned n, unsigned unit)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= (uint64_t)(*vector_at(v, reg, i * unit + unit - 1) >> 7) << i;
	return bits;
}

static unsigned count_bits(uint64_t x)
{
	unsigned n = 0;

	for (; x; x &= x - 1)
		n++;
	return n;
}

// The n pieces of the operand are repeated: each is used by every n-th bit.
static uint64_t fold(uint64_t bits, unsigned n)
{
	uint64_t used = 0;

	for (; bits; bits >>= n)
		used |= bits & low_bits(n);
	return used;
}

uint64_t masked_bytes(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op)
{
	const struct x86_mem *m = &insn->mem;
	unsigned n = m->size / m->mask_unit;
	uint64_t all = low_bits(m->size);

	vmm_save_vectors(v);
	switch (m->mask & X86_MASK_KIND) {
	case X86_MASK_ELEMENT:
		return spread(*vector_kmask(v, op->k), n, m->mask_unit);
	case X86_MASK_ANY:
		return *vector_kmask(v, op->k) & low_bits(insn->vl / m->mask_unit) ? all : 0;
	case X86_MASK_REPEAT:
		return spread(fold(*vector_kmask(v, op->k) & low_bits(insn->vl / m->mask_unit), n), n, m->mask_unit);
	case X86_MASK_PACKED:
		return low_bits(count_bits(*vector_kmask(v, op->k) & low_bits(n)) * m->mask_unit);
	case X86_MASK_VECTOR:
		return spread(sign_bits(v, op->vvvv, n, m->mask_unit), n, m->mask_unit);
	default:
		return all;
	}
}

// -- MASKMOVQ, MASKMOVDQU ---------------------------------------------------------------------------------------------

static gva_t operand_at_rdi(const struct vcpu *v, const struct x86_insn *insn)
{
	uint64_t a = v->gpr[X86_RDI];
	unsigned seg = insn->mem.seg;

	if (insn->addrsize != 8)
		a = insn->addrsize == 4 ? (uint32_t)a : (uint16_t)a;
	if (vcpu_code64(v))
		return a + (seg >= X86_FS ? v->seg[seg].base : 0);
	return (uint32_t)(a + v->seg[seg].base);
}

void bt_maskmov(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op)
{
	bool mmx = insn->encoding == X86_ENC_LEGACY && !(insn->prefixes & X86_PFX_OPSIZE);
	unsigned size = mmx ? 8 : 16;
	gva_t gva = operand_at_rdi(v, insn);
	const uint8_t *data, *mask;
	uint64_t bytes = 0;

	vmm_save_vectors(v);
	data = mmx ? vector_mmx(v, op->reg) : vector_at(v, op->reg, 0);
	mask = mmx ? vector_mmx(v, op->rm) : vector_at(v, op->rm, 0);
	for (unsigned i = 0; i < size; i++)
		bytes |= (uint64_t)(mask[i] >> 7) << i;
	if (!mmx && !v->amd) // as Intel's processors do: the whole operand whatever the mask, the upper half first
		vmem_probe(v, gva + 8, 8, vmem_explicit(v, VMEM_WRITE), insn->mem.seg);
	masked_probe(v, gva, low_bits(size), VMEM_WRITE, insn->mem.seg);
	masked_write(v, gva, data, bytes);
	if (v->dr[7] & 0xff && bytes)
		debug_note_access(v, gva, size, true);
}
