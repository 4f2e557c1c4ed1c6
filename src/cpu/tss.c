// SPDX-License-Identifier: MIT
//
// What the processor reads out of the TSS by itself: stacks for inner levels and for interrupts, and the I/O permission
// bit map. SDM, "64-Bit Mode Task-State Segment" and "I/O Permission Bit Map".
#include "cpu/segment.h"

enum { TSS64_RSP0 = 4, TSS64_IST1 = 0x24, TSS_IO_BASE = 0x66, TSS32_ESP0 = 4, TSS16_SP0 = 2 };

static void check_room(struct vcpu *v, unsigned last)
{
	if (last > v->tr.limit)
		vcpu_raise(v, VEC_TS, v->tr.sel & SEL_ERROR);
}

static uint64_t read_rsp(struct vcpu *v, unsigned off)
{
	check_room(v, off + 7);
	return vmem_read_u64(v, v->tr.base + off, VMEM_READ | VMEM_IMPLICIT);
}

unsigned tss_stack_at(unsigned ist)
{
	return ist ? TSS64_IST1 + 8 * (ist - 1) : TSS64_RSP0;
}

uint64_t tss_rsp(struct vcpu *v, unsigned cpl)
{
	return read_rsp(v, TSS64_RSP0 + 8 * cpl);
}

uint64_t tss_ist(struct vcpu *v, unsigned n)
{
	return read_rsp(v, tss_stack_at(n));
}

void tss_legacy_stack(struct vcpu *v, unsigned cpl, uint16_t *ss, uint32_t *esp)
{
	gva_t at = v->tr.base;

	if ((v->tr.attr & SEG_TYPE) == DESC_TSS_BUSY) {
		at += TSS32_ESP0 + 8 * cpl;
		check_room(v, TSS32_ESP0 + 8 * cpl + 5);
		*esp = vmem_read_u32(v, at, VMEM_READ | VMEM_IMPLICIT);
		*ss = vmem_read_u16(v, at + 4, VMEM_READ | VMEM_IMPLICIT);
	} else {
		at += TSS16_SP0 + 4 * cpl;
		check_room(v, TSS16_SP0 + 4 * cpl + 3);
		*esp = vmem_read_u16(v, at, VMEM_READ | VMEM_IMPLICIT);
		*ss = vmem_read_u16(v, at + 2, VMEM_READ | VMEM_IMPLICIT);
	}
}

static bool bitmap_allows(struct vcpu *v, uint16_t port, unsigned size)
{
	unsigned at, bits, mask = (1u << size) - 1;

	if ((v->tr.attr & SEG_TYPE) != DESC_TSS_BUSY || v->tr.limit < TSS_IO_BASE + 1)
		return false;
	at = vmem_read_u16(v, v->tr.base + TSS_IO_BASE, VMEM_READ | VMEM_IMPLICIT) + port / 8;
	if (at + 1 > v->tr.limit)
		return false;
	bits = vmem_read_u16(v, v->tr.base + at, VMEM_READ | VMEM_IMPLICIT);
	return !(bits >> (port & 7) & mask);
}

void tss_check_io(struct vcpu *v, uint16_t port, unsigned size)
{
	unsigned iopl = (v->rflags & RFLAGS_IOPL) >> 12;

	if (!vcpu_v86(v) && v->cpl <= iopl) // CPL is 0 in real mode
		return;
	if (!bitmap_allows(v, port, size))
		vcpu_raise(v, VEC_GP, 0);
}
