// SPDX-License-Identifier: MIT
//
// The usual case of what delivery and IRET read in long mode: tables in RAM that the software TLB knows, a code segment
// of the GDT that is accessed already: 64-bit, or for IRET a user's of 32 bits. Nothing is raised here and nothing
// changes but accessed bits of the guest's page tables; NULL or false means that the long way shall find out. Memory is
// read anew each time.
#include "cpu/transfer.h"

const uint64_t *quick_peek(struct vcpu *v, gva_t gva, size_t size)
{
	if ((gva & PAGE_OFFSET) + size > PAGE_SIZE)
		return NULL;
	return (const uint64_t *)vcpu_ram_host(v, gva, VMEM_READ | VMEM_IMPLICIT);
}

bool quick_desc(struct vcpu *v, uint16_t sel, struct desc *d)
{
	const uint64_t *at;

	if (sel & SEL_TI || selector_null(sel) || (sel | 7u) > v->gdtr.limit)
		return false;
	d->at = v->gdtr.base + (sel & SEL_INDEX);
	at = quick_peek(v, d->at, sizeof(*at));
	if (!at)
		return false;
	d->lo = *at;
	d->hi = 0;
	return (desc_attr(d) & (SEG_S | SEG_P | SEG_TYPE_A)) == (SEG_S | SEG_P | SEG_TYPE_A);
}

bool quick_code(struct vcpu *v, uint16_t sel, struct desc *d)
{
	const uint32_t mask = SEG_L | SEG_DB | SEG_TYPE_CODE | SEG_TYPE_C;

	return quick_desc(v, sel, d) && (desc_attr(d) & mask) == (SEG_L | SEG_TYPE_CODE);
}

bool quick_return_code(struct vcpu *v, uint16_t sel, uint64_t rip, struct desc *d)
{
	if (!quick_desc(v, sel, d) || (desc_attr(d) & (SEG_TYPE_CODE | SEG_TYPE_C)) != SEG_TYPE_CODE)
		return false;
	switch (desc_attr(d) & (SEG_L | SEG_DB)) {
	case SEG_L: return vcpu_canonical(v, rip);
	case SEG_DB: return rip <= desc_limit(d) && (sel & SEL_RPL) == 3;
	default: return false;
	}
}
