// SPDX-License-Identifier: MIT
//
// Loads of segment registers, LDTR and TR, with the checks of the SDM's MOV, LLDT and LTR pages in their order.
// Each function raises before it commits. CS is loaded by far transfers (far.c) and delivery (delivery.c).
#include "cpu/segment.h"
#include "cpu/system.h"

enum { FLAT_LIMIT = 0xffffffff, ATTR_REAL = 0x93, ATTR_V86 = 0xf3 };

struct x86_seg segment_null(uint16_t sel, unsigned dpl)
{
	return (struct x86_seg){.sel = sel, .attr = SEG_UNUSABLE | dpl << SEG_DPL_SHIFT};
}

struct x86_seg segment_flat_code(uint16_t sel, unsigned dpl, bool code64)
{
	uint32_t attr = SEG_TYPE_CODE | SEG_TYPE_R | SEG_TYPE_A | SEG_S | dpl << SEG_DPL_SHIFT | SEG_P | SEG_G;

	return (struct x86_seg){.sel = sel, .attr = attr | (code64 ? SEG_L : SEG_DB), .limit = FLAT_LIMIT};
}

struct x86_seg segment_flat_data(uint16_t sel, unsigned dpl)
{
	uint32_t attr = SEG_TYPE_W | SEG_TYPE_A | SEG_S | dpl << SEG_DPL_SHIFT | SEG_P | SEG_G | SEG_DB;

	return (struct x86_seg){.sel = sel, .attr = attr, .limit = FLAT_LIMIT};
}

struct x86_seg segment_check_ss(struct vcpu *v, uint16_t sel, unsigned cpl, enum x86_vector vector, bool null_ok)
{
	struct desc d;

	if (selector_null(sel)) {
		if (!null_ok || (sel & SEL_RPL) != cpl)
			vcpu_raise(v, vector, 0);
		return segment_null(sel, cpl);
	}
	desc_fetch(v, sel, vector, &d);
	if ((sel & SEL_RPL) != cpl || !desc_writable_data(&d) || desc_dpl(&d) != cpl)
		vcpu_raise(v, vector, sel & SEL_ERROR);
	if (!desc_present(&d))
		vcpu_raise(v, VEC_SS, sel & SEL_ERROR);
	desc_access(v, &d);
	return desc_segment(&d, sel);
}

static struct x86_seg check_data(struct vcpu *v, uint16_t sel)
{
	struct desc d;

	if (selector_null(sel))
		return segment_null(sel, 0);
	desc_fetch(v, sel, VEC_GP, &d);
	if (!desc_readable(&d))
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	if (!(desc_code(&d) && desc_conforming(&d)) && desc_dpl(&d) < MAX(sel & SEL_RPL, (unsigned)v->cpl))
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	if (!desc_present(&d))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
	desc_access(v, &d);
	return desc_segment(&d, sel);
}

// Real mode leaves limit and attributes as they are. ("Unreal mode": they were loaded in protected mode.)
void segment_load_real(struct vcpu *v, enum x86_sreg reg, uint16_t sel)
{
	struct x86_seg *s = &v->seg[reg];

	if (vcpu_v86(v) || s->attr & SEG_UNUSABLE)
		*s = (struct x86_seg){.attr = vcpu_v86(v) ? ATTR_V86 : ATTR_REAL, .limit = 0xffff};
	s->attr |= SEG_P | SEG_S;
	s->sel = sel;
	s->base = (uint32_t)sel << 4;
}

void segment_load(struct vcpu *v, enum x86_sreg reg, uint16_t sel)
{
	bool null_ok = vcpu_code64(v) && v->cpl < 3;

	if (!vcpu_protected(v)) {
		segment_load_real(v, reg, sel);
		return;
	}
	if (reg == X86_SS && v->amd && null_ok && selector_null(sel)) // the RPL of no consequence (APM vol. 3, "MOV")
		v->seg[reg] = segment_null(sel, v->cpl);
	else if (reg == X86_SS)
		v->seg[reg] = segment_check_ss(v, sel, v->cpl, VEC_GP, null_ok);
	else
		v->seg[reg] = check_data(v, sel);
}

static void fetch_system(struct vcpu *v, uint16_t sel, struct desc *d)
{
	if (sel & SEL_TI)
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	desc_fetch(v, sel, VEC_GP, d);
}

static void check_base(struct vcpu *v, const struct x86_seg *s)
{
	if (vcpu_long_mode(v) && !sys_base_valid(v, s->base))
		vcpu_raise(v, VEC_GP, s->sel & SEL_ERROR);
}

void segment_load_ldtr(struct vcpu *v, uint16_t sel)
{
	struct x86_seg s;
	struct desc d;

	if (selector_null(sel)) {
		v->ldtr = segment_null(sel, 0);
		return;
	}
	fetch_system(v, sel, &d);
	if (!desc_system(&d) || desc_type(&d) != DESC_LDT)
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	if (!desc_present(&d))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
	desc_complete_system(v, sel, &d);
	s = desc_segment(&d, sel);
	check_base(v, &s);
	v->ldtr = s;
}

void segment_load_tr(struct vcpu *v, uint16_t sel)
{
	struct x86_seg s;
	struct desc d;

	if (selector_null(sel))
		vcpu_raise(v, VEC_GP, 0);
	fetch_system(v, sel, &d);
	if (!desc_system(&d) || !(desc_type(&d) == DESC_TSS || (desc_type(&d) == DESC_TSS16 && !vcpu_long_mode(v))))
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	if (!desc_present(&d))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
	desc_complete_system(v, sel, &d);
	s = desc_segment(&d, sel);
	check_base(v, &s);
	vmem_set_bits(v, d.at + 5, DESC_BUSY);
	s.attr |= DESC_BUSY;
	v->tr = s;
}

// Only the selector goes: 64-bit code still finds what the base was.
static void drop(struct x86_seg *s)
{
	uint64_t base = s->base;

	*s = segment_null(0, 0);
	s->base = base;
}

void segment_drop_inner(struct vcpu *v)
{
	static const uint8_t regs[] = {X86_ES, X86_FS, X86_GS, X86_DS};

	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		struct x86_seg *s = &v->seg[regs[i]];
		bool conforming = (s->attr & (SEG_TYPE_CODE | SEG_TYPE_C)) == (SEG_TYPE_CODE | SEG_TYPE_C);

		if (s->attr & SEG_UNUSABLE)
			s->sel = 0; // the base stays: FS and GS bases are set without selectors
		else if (!conforming && (s->attr & SEG_DPL) >> SEG_DPL_SHIFT < v->cpl)
			drop(s);
	}
}
