// SPDX-License-Identifier: MIT
//
// Descriptors out of the GDT and the LDT, and the address check of a segment. SDM, "Segment Descriptors" and "Limit
// Checking". All table reads are implicit supervisor accesses; what a selector's user may do is judged by the callers.
#include "cpu/segment.h"

uint32_t desc_limit(const struct desc *d)
{
	uint32_t limit = (d->lo & 0xffff) | (d->lo >> 32 & 0xf0000);

	return desc_attr(d) & SEG_G ? limit << 12 | 0xfff : limit;
}

struct x86_seg desc_segment(const struct desc *d, uint16_t sel)
{
	uint64_t base = (d->lo >> 16 & 0xffffff) | (d->lo >> 32 & 0xff000000) | d->hi << 32;

	return (struct x86_seg){.sel = sel, .attr = desc_attr(d), .limit = desc_limit(d), .base = base};
}

bool desc_read(struct vcpu *v, uint16_t sel, struct desc *d)
{
	uint64_t base = v->gdtr.base;
	uint32_t limit = v->gdtr.limit;

	if (sel & SEL_TI) {
		if (v->ldtr.attr & SEG_UNUSABLE)
			return false;
		base = v->ldtr.base;
		limit = v->ldtr.limit;
	}
	if ((sel | 7u) > limit)
		return false;
	d->at = base + (sel & SEL_INDEX);
	d->lo = vmem_read_u64(v, d->at, VMEM_READ | VMEM_IMPLICIT);
	d->hi = 0;
	return true;
}

void desc_fetch(struct vcpu *v, uint16_t sel, enum x86_vector vector, struct desc *d)
{
	if (!desc_read(v, sel, d))
		vcpu_raise(v, vector, sel & SEL_ERROR);
}

// Long mode: LDT, TSS and call gate descriptors have 16 bytes, the type field of the second half being 0.
void desc_complete_system(struct vcpu *v, uint16_t sel, struct desc *d)
{
	uint32_t limit = sel & SEL_TI ? v->ldtr.limit : v->gdtr.limit;

	if (!vcpu_long_mode(v))
		return;
	if ((sel | 7u) + 8 > limit)
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	d->hi = vmem_read_u64(v, d->at + 8, VMEM_READ | VMEM_IMPLICIT);
	if (d->hi >> 40 & 0x1f)
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
}

void desc_access(struct vcpu *v, struct desc *d)
{
	if (d->lo >> 40 & SEG_TYPE_A)
		return;
	vmem_set_bits(v, d->at + 5, SEG_TYPE_A);
	d->lo |= (uint64_t)SEG_TYPE_A << 40;
}

bool segment_within(const struct vcpu *v, const struct x86_seg *s, uint64_t off, size_t size)
{
	uint64_t last = off + size - 1;

	if ((s->attr & (SEG_S | SEG_TYPE_CODE | SEG_TYPE_E)) == (SEG_S | SEG_TYPE_E))
		return off > s->limit && last <= (s->attr & SEG_DB ? 0xffffffff : 0xffff);
	return last <= s->limit || (s->limit == 0xffffffff && !v->amd); // Intel's let an access wrap around 4 GiB
}

// Protected mode's rules for the access itself (SDM, "Type Checking").
static bool type_allows(const struct x86_seg *s, enum vmem_access access)
{
	if (s->attr & SEG_UNUSABLE)
		return false;
	if (s->attr & SEG_TYPE_CODE)
		return !(access & VMEM_WRITE) && (s->attr & SEG_TYPE_R || access & VMEM_FETCH);
	return !(access & VMEM_WRITE) || s->attr & SEG_TYPE_W;
}

gva_t segment_linear(struct vcpu *v, enum x86_sreg seg, uint64_t off, size_t size, enum vmem_access access)
{
	const struct x86_seg *s = &v->seg[seg];

	if (vcpu_code64(v))
		return seg >= X86_FS ? s->base + off : off;
	if ((vcpu_protected(v) && !type_allows(s, access)) || !segment_within(v, s, off, size))
		vcpu_raise(v, seg == X86_SS ? VEC_SS : VEC_GP, 0);
	return (uint32_t)(s->base + off);
}
