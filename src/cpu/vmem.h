// SPDX-License-Identifier: MIT
//
// Typed reads and writes of guest memory by linear address, and the access kind of the instruction being executed.
// They fault as vmem_read and vmem_write do.
#ifndef CPU_VMEM_H
#define CPU_VMEM_H

#include "cpu/vcpu.h"

// An explicit access by the current instruction: by CPL's rules.
static inline enum vmem_access vmem_explicit(const struct vcpu *v, enum vmem_access access)
{
	return v->cpl == 3 ? access | VMEM_USER : access;
}

#define VMEM_TYPED(bits)                                                                                            \
	static inline uint##bits##_t vmem_read_u##bits(struct vcpu *v, gva_t gva, enum vmem_access access)          \
	{                                                                                                           \
		uint##bits##_t x;                                                                                   \
		vmem_read(v, gva, &x, sizeof(x), access);                                                           \
		return x;                                                                                           \
	}                                                                                                           \
	static inline void vmem_write_u##bits(struct vcpu *v, gva_t gva, uint##bits##_t x, enum vmem_access access) \
	{                                                                                                           \
		vmem_write(v, gva, &x, sizeof(x), access);                                                          \
	}

VMEM_TYPED(8)
VMEM_TYPED(16)
VMEM_TYPED(32)
VMEM_TYPED(64)
#undef VMEM_TYPED

// The address n bytes on: an access of 32-bit code that reaches the end of its 4 GiB goes on at 0.
static inline gva_t vmem_advance(const struct vcpu *v, gva_t gva, uint64_t n)
{
	gva_t next = gva + n;

	return gva >> 32 == 0 && next >> 32 && !vcpu_code64(v) ? (uint32_t)next : next;
}

// Set bits of a byte of a system table atomically (a descriptor's accessed or busy bit): an implicit supervisor write.
void vmem_set_bits(struct vcpu *v, gva_t gva, uint8_t bits);

#endif
