// SPDX-License-Identifier: MIT
//
// Task switches, by the SDM's "Task Switching" and "Task Linking": the registers go to the old task's TSS, the new
// task's come from its own. What is wrong with the TSS is a fault in the old task; what is wrong with the segments that
// it names is one in the new task, when all else has been switched. Both TSS formats; long mode has none of this.
#include "cpu/transfer.h"

enum { GPRS32 = 8, SEGS32 = 6 };

struct format { // of a TSS: offsets, and the size of most fields
	uint8_t size, cr3, ip, flags, gprs, segs, nsegs, seg_stride, ldt, trap, min_limit;
};

static const struct format format32 = {.size = 4, .cr3 = 0x1c, .ip = 0x20, .flags = 0x24, .gprs = 0x28, .segs = 0x48,
	.nsegs = 6, .seg_stride = 4, .ldt = 0x60, .trap = 0x64, .min_limit = 0x67};
static const struct format format16 = {.size = 2, .ip = 0x0e, .flags = 0x10, .gprs = 0x12, .segs = 0x22, .nsegs = 4,
	.seg_stride = 2, .ldt = 0x2a, .min_limit = 0x2b};

struct task { // what a TSS holds
	uint64_t cr3, ip, flags, gpr[GPRS32];
	uint16_t seg[SEGS32], ldt;
	bool trap;
};

enum { DR6_BT = BIT(15), LINK = 0 };

static const struct format *format_of(uint32_t attr)
{
	return attr & 8 ? &format32 : &format16;
}

static _Noreturn void raise_ts(struct vcpu *v, uint16_t sel)
{
	vcpu_raise(v, VEC_TS, sel & SEL_ERROR);
}

static uint64_t read_field(struct vcpu *v, gva_t at, unsigned size)
{
	uint64_t x = 0;

	vmem_read(v, at, &x, size, VMEM_READ | VMEM_IMPLICIT);
	return x;
}

static void write_field(struct vcpu *v, gva_t at, unsigned size, uint64_t x)
{
	vmem_write(v, at, &x, size, VMEM_WRITE | VMEM_IMPLICIT);
}

static void read_task(struct vcpu *v, const struct format *f, gva_t at, struct task *t)
{
	*t = (struct task){0};
	if (f->cr3)
		t->cr3 = read_field(v, at + f->cr3, 4);
	t->ip = read_field(v, at + f->ip, f->size);
	t->flags = read_field(v, at + f->flags, f->size);
	for (unsigned i = 0; i < GPRS32; i++)
		t->gpr[i] = read_field(v, at + f->gprs + i * f->size, f->size);
	for (unsigned i = 0; i < f->nsegs; i++)
		t->seg[i] = (uint16_t)read_field(v, at + f->segs + i * f->seg_stride, 2);
	t->ldt = (uint16_t)read_field(v, at + f->ldt, 2);
	t->trap = f->trap && read_field(v, at + f->trap, 2) & 1;
}

// CR3 and LDTR are not saved.
static void write_task(struct vcpu *v, const struct format *f, gva_t at, uint64_t ip, uint64_t flags)
{
	write_field(v, at + f->ip, f->size, ip);
	write_field(v, at + f->flags, f->size, flags);
	for (unsigned i = 0; i < GPRS32; i++)
		write_field(v, at + f->gprs + i * f->size, f->size, v->gpr[i]);
	for (unsigned i = 0; i < f->nsegs; i++)
		write_field(v, at + f->segs + i * f->seg_stride, 2, v->seg[i].sel);
}

// The new TSS: available, or busy for the way back.
static void fetch_tss(struct vcpu *v, uint16_t sel, enum task_reason why, struct desc *d)
{
	enum x86_vector vector = why == TASK_IRET ? VEC_TS : VEC_GP;
	unsigned type;

	if (selector_null(sel) || sel & SEL_TI)
		vcpu_raise(v, vector, sel & SEL_ERROR);
	desc_fetch(v, sel, vector, d);
	type = desc_type(d);
	if (!desc_system(d) || (type & ~DESC_BUSY & 7) != DESC_TSS16 || !!(type & DESC_BUSY) != (why == TASK_IRET))
		vcpu_raise(v, vector, sel & SEL_ERROR);
	if (!desc_present(d))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
	if (desc_limit(d) < format_of(desc_attr(d))->min_limit)
		raise_ts(v, sel);
}

static void put_busy(struct vcpu *v, uint16_t sel, bool busy)
{
	gva_t at = v->gdtr.base + (sel & SEL_INDEX) + 5;
	uint8_t x = vmem_read_u8(v, at, VMEM_READ | VMEM_IMPLICIT);

	vmem_write_u8(v, at, busy ? x | DESC_BUSY : x & ~DESC_BUSY, VMEM_WRITE | VMEM_IMPLICIT);
}

// -- the new task's segments: all selectors are there before the first is looked at

static void load_ldt(struct vcpu *v, uint16_t sel)
{
	struct desc d;

	if (selector_null(sel))
		return;
	if (sel & SEL_TI)
		raise_ts(v, sel);
	desc_fetch(v, sel, VEC_TS, &d);
	if (!desc_system(&d) || desc_type(&d) != DESC_LDT || !desc_present(&d))
		raise_ts(v, sel);
	v->ldtr = desc_segment(&d, sel);
}

static void load_cs(struct vcpu *v, uint16_t sel)
{
	unsigned cpl = sel & SEL_RPL;
	struct desc d;

	if (selector_null(sel))
		raise_ts(v, sel);
	desc_fetch(v, sel, VEC_TS, &d);
	if (!desc_code(&d) || (desc_conforming(&d) ? desc_dpl(&d) > cpl : desc_dpl(&d) != cpl))
		raise_ts(v, sel);
	if (!desc_present(&d))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
	desc_access(v, &d);
	v->seg[X86_CS] = desc_segment(&d, sel);
}

static void load_data(struct vcpu *v, enum x86_sreg reg, uint16_t sel)
{
	struct desc d;

	if (selector_null(sel))
		return;
	desc_fetch(v, sel, VEC_TS, &d);
	if (!desc_readable(&d) || (!(desc_code(&d) && desc_conforming(&d)) &&
				   desc_dpl(&d) < MAX(sel & SEL_RPL, (unsigned)v->cpl)))
		raise_ts(v, sel);
	if (!desc_present(&d))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
	desc_access(v, &d);
	v->seg[reg] = desc_segment(&d, sel);
}

static void load_segments(struct vcpu *v, const struct task *t)
{
	load_ldt(v, t->ldt);
	if (vcpu_v86(v)) {
		for (unsigned i = 0; i < SEGS32; i++)
			segment_load_real(v, i, t->seg[i]);
		return;
	}
	load_cs(v, t->seg[X86_CS]);
	v->seg[X86_SS] = segment_check_ss(v, t->seg[X86_SS], v->cpl, VEC_TS, false);
	load_data(v, X86_ES, t->seg[X86_ES]);
	load_data(v, X86_DS, t->seg[X86_DS]);
	load_data(v, X86_FS, t->seg[X86_FS]);
	load_data(v, X86_GS, t->seg[X86_GS]);
}

static void take_registers(struct vcpu *v, const struct format *f, const struct task *t)
{
	const uint64_t may = 0x3f7fd5 & (f->size == 2 ? 0xffff : ~0u);

	for (unsigned i = 0; i < GPRS32; i++)
		v->gpr[i] = f->size == 2 ? 0xffff0000 | t->gpr[i] : t->gpr[i];
	v->rip = t->ip;
	v->rflags = (t->flags & may) | RFLAGS_FIXED1;
	v->cpl = vcpu_v86(v) ? 3 : t->seg[X86_CS] & SEL_RPL;
	v->ldtr = segment_null(t->ldt, 0);
	for (unsigned i = 0; i < SEGS32; i++)
		v->seg[i] = segment_null(t->seg[i], i == X86_SS ? v->cpl : 0);
}

static void push_error(struct vcpu *v, const struct format *f, uint32_t error)
{
	struct stack st = stack_current(v);

	stack_push(v, &st, error, f->size);
	stack_commit(v, &st);
}

void task_switch(struct vcpu *v, uint16_t sel, enum task_reason why, uint64_t next, const struct event *e)
{
	const struct format *old_format = format_of(v->tr.attr), *f;
	uint64_t flags = v->rflags | (e && e->resume ? RFLAGS_RF : 0);
	uint16_t old = v->tr.sel;
	struct task t;
	struct desc d;
	struct x86_seg tr;

	fetch_tss(v, sel, why, &d);
	f = format_of(desc_attr(&d));
	tr = desc_segment(&d, sel);
	tr.attr |= DESC_BUSY;
	if (v->tr.limit < old_format->min_limit)
		raise_ts(v, old);
	read_task(v, f, tr.base, &t);
	if (f->cr3 && vcpu_paging(v) && v->cr4 & CR4_PAE && !mmu_load_pdptes(v, t.cr3))
		vcpu_raise(v, VEC_GP, 0);
	if (why == TASK_IRET)
		flags &= ~(uint64_t)RFLAGS_NT;
	write_task(v, old_format, v->tr.base, next, flags);
	if (why == TASK_CALL || why == TASK_EVENT) {
		write_field(v, tr.base + LINK, 2, old);
		t.flags |= RFLAGS_NT;
	}
	if (why == TASK_JUMP || why == TASK_IRET)
		put_busy(v, old, false);
	if (why != TASK_IRET)
		put_busy(v, sel, true);
	v->tr = tr;
	v->cr0 |= CR0_TS;
	if (f->cr3 && vcpu_paging(v)) {
		v->cr3 = t.cr3;
		vcpu_space_changed(v);
	}
	take_registers(v, f, &t);
	v->dr[7] &= ~UINT64_C(0x155); // local breakpoints are the old task's
	load_segments(v, &t);
	if (e && e->has_error)
		push_error(v, f, e->error);
	if (v->rip > v->seg[X86_CS].limit)
		vcpu_raise(v, VEC_GP, 0);
	if (t.trap)
		vcpu_raise_db(v, DR6_BT);
}

void task_return(struct vcpu *v, uint64_t next)
{
	task_switch(v, vmem_read_u16(v, v->tr.base + LINK, VMEM_READ | VMEM_IMPLICIT), TASK_IRET, next, NULL);
}
