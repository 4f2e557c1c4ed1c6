// SPDX-License-Identifier: MIT
//
// Far JMP, CALL and RET, direct, through call gates and to tasks, with the checks of the SDM's pages for these
// instructions in their order. In long mode a gate is a 64-bit call gate, and there are no tasks. A call gate may
// switch to the stack of an inner level.
#include "cpu/transfer.h"

enum { PARAMS_MAX = 31 };

static _Noreturn void raise_sel(struct vcpu *v, enum x86_vector vector, uint16_t sel)
{
	vcpu_raise(v, vector, sel & SEL_ERROR);
}

void far_check_target(struct vcpu *v, const struct desc *d, uint64_t off)
{
	if (desc_code64(v, d) ? !vcpu_canonical(v, off) : off > desc_limit(d))
		vcpu_raise(v, VEC_GP, 0);
}

static void check_code_size(struct vcpu *v, const struct desc *d, uint16_t sel)
{
	if (vcpu_long_mode(v) && (desc_attr(d) & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		raise_sel(v, VEC_GP, sel);
}

void far_enter(struct vcpu *v, const struct desc *d, uint16_t sel, unsigned cpl, uint64_t rip)
{
	v->seg[X86_CS] = desc_segment(d, (sel & ~SEL_RPL) | cpl);
	v->cpl = cpl;
	v->rip = rip;
}

// A real-mode transfer: the limit of CS stays what it was.
static void enter_real(struct vcpu *v, uint16_t sel, uint64_t off)
{
	if (off > v->seg[X86_CS].limit)
		vcpu_raise(v, VEC_GP, 0);
	segment_load_real(v, X86_CS, sel);
	v->rip = off;
}

static void check_direct_cs(struct vcpu *v, const struct desc *d, uint16_t sel)
{
	if (desc_conforming(d) ? desc_dpl(d) > v->cpl : (sel & SEL_RPL) > v->cpl || desc_dpl(d) != v->cpl)
		raise_sel(v, VEC_GP, sel);
	check_code_size(v, d, sel);
	if (!desc_present(d))
		raise_sel(v, VEC_NP, sel);
}

// A system descriptor as target: only call gates remain, complete and allowed to this caller.
static void check_gate(struct vcpu *v, struct desc *gate, uint16_t sel)
{
	unsigned type = desc_type(gate);

	if (vcpu_long_mode(v) ? type != DESC_CALL : type != DESC_CALL && type != DESC_CALL16)
		raise_sel(v, VEC_GP, sel);
	if (desc_dpl(gate) < MAX(sel & SEL_RPL, (unsigned)v->cpl))
		raise_sel(v, VEC_GP, sel);
	if (!desc_present(gate))
		raise_sel(v, VEC_NP, sel);
	desc_complete_system(v, sel, gate);
}

static void fetch_gate_cs(struct vcpu *v, uint16_t cs, struct desc *d)
{
	if (selector_null(cs))
		vcpu_raise(v, VEC_GP, 0);
	desc_fetch(v, cs, VEC_GP, d);
	if (!desc_code(d) || desc_dpl(d) > v->cpl)
		raise_sel(v, VEC_GP, cs);
	if (vcpu_long_mode(v) && (desc_attr(d) & (SEG_L | SEG_DB)) != SEG_L)
		raise_sel(v, VEC_GP, cs);
}

static uint64_t gate_target(const struct desc *gate)
{
	return desc_type(gate) == DESC_CALL16 ? gate_offset(gate) & 0xffff : gate_offset(gate);
}

static bool names_task(const struct vcpu *v, const struct desc *d)
{
	unsigned type = desc_type(d);

	return !vcpu_long_mode(v) &&
	       (type == DESC_TASK || (type & ~DESC_BUSY) == DESC_TSS || (type & ~DESC_BUSY) == DESC_TSS16);
}

// A TSS, or a task gate that leads to one.
static void go_to_task(struct vcpu *v, uint16_t sel, const struct desc *d, enum task_reason why, uint64_t next)
{
	bool gate = desc_type(d) == DESC_TASK;

	if (desc_dpl(d) < MAX(sel & SEL_RPL, (unsigned)v->cpl))
		raise_sel(v, VEC_GP, sel);
	if (gate && !desc_present(d))
		raise_sel(v, VEC_NP, sel);
	task_switch(v, gate ? gate_selector(d) : sel, why, next, NULL);
}

static void jump_gate(struct vcpu *v, uint16_t sel, struct desc *gate)
{
	struct desc d;
	uint16_t cs;

	check_gate(v, gate, sel);
	cs = gate_selector(gate);
	fetch_gate_cs(v, cs, &d);
	if (!desc_conforming(&d) && desc_dpl(&d) != v->cpl)
		raise_sel(v, VEC_GP, cs);
	if (!desc_present(&d))
		raise_sel(v, VEC_NP, cs);
	far_check_target(v, &d, gate_target(gate));
	desc_access(v, &d);
	far_enter(v, &d, cs, v->cpl, gate_target(gate));
}

void far_jump(struct vcpu *v, uint16_t sel, uint64_t off, uint64_t next)
{
	struct desc d;

	if (!vcpu_protected(v)) {
		enter_real(v, sel, off);
		return;
	}
	if (selector_null(sel))
		vcpu_raise(v, VEC_GP, 0);
	desc_fetch(v, sel, VEC_GP, &d);
	if (desc_system(&d)) {
		if (names_task(v, &d))
			go_to_task(v, sel, &d, TASK_JUMP, next);
		else
			jump_gate(v, sel, &d);
		return;
	}
	if (!desc_code(&d))
		raise_sel(v, VEC_GP, sel);
	check_direct_cs(v, &d, sel);
	far_check_target(v, &d, off);
	desc_access(v, &d);
	far_enter(v, &d, sel, v->cpl, off);
}

// The stack of an inner level, for a call gate.
static struct stack inner_stack(struct vcpu *v, unsigned cpl)
{
	struct x86_seg ss;
	uint16_t sel;
	uint32_t esp;

	if (vcpu_long_mode(v))
		return stack_new(segment_null(cpl, cpl), tss_rsp(v, cpl), cpl, true);
	tss_legacy_stack(v, cpl, &sel, &esp);
	ss = segment_check_ss(v, sel, cpl, VEC_TS, false);
	return stack_new(ss, esp, cpl, false);
}

static void call_inner(struct vcpu *v, const struct desc *gate, struct desc *d, uint64_t next, unsigned size)
{
	unsigned cpl = desc_dpl(d), n = vcpu_long_mode(v) ? 0 : gate->lo >> 32 & 31;
	struct stack st = inner_stack(v, cpl), old = stack_current(v);
	uint64_t items[PARAMS_MAX + 4] = {next, v->seg[X86_CS].sel};

	if (n)
		stack_pop_items(v, &old, items + 2, n, size);
	items[2 + n] = v->gpr[X86_RSP];
	items[3 + n] = v->seg[X86_SS].sel;
	far_check_target(v, d, gate_target(gate));
	stack_push_items(v, &st, items, n + 4, size);
	desc_access(v, d);
	v->seg[X86_SS] = st.ss;
	stack_commit(v, &st);
	far_enter(v, d, gate_selector(gate), cpl, gate_target(gate));
}

static void push_and_enter(struct vcpu *v, struct desc *d, uint16_t sel, uint64_t off, unsigned size, uint64_t next)
{
	struct stack st = stack_current(v);

	if (desc_code64(v, d) && !st.flat) { // compatibility code calls 64-bit code: pushes see the new mode's stack
		st.flat = true;
		st.mask = ~UINT64_C(0);
	}
	stack_push_items(v, &st, (uint64_t[]){next, v->seg[X86_CS].sel}, 2, size);
	desc_access(v, d);
	stack_commit(v, &st);
	far_enter(v, d, sel, v->cpl, off);
}

static void call_gate(struct vcpu *v, uint16_t sel, struct desc *gate, uint64_t next)
{
	unsigned size = vcpu_long_mode(v) ? 8 : desc_type(gate) == DESC_CALL16 ? 2 : 4;
	struct desc d;
	uint16_t cs;

	check_gate(v, gate, sel);
	cs = gate_selector(gate);
	fetch_gate_cs(v, cs, &d);
	if (!desc_present(&d))
		raise_sel(v, VEC_NP, cs);
	if (!desc_conforming(&d) && desc_dpl(&d) < v->cpl) {
		call_inner(v, gate, &d, next, size);
		return;
	}
	far_check_target(v, &d, gate_target(gate));
	push_and_enter(v, &d, cs, gate_target(gate), size, next);
}

static void call_real(struct vcpu *v, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next)
{
	struct stack st = stack_current(v);

	if (off > v->seg[X86_CS].limit)
		vcpu_raise(v, VEC_GP, 0);
	stack_push_items(v, &st, (uint64_t[]){next, v->seg[X86_CS].sel}, 2, opsize);
	stack_commit(v, &st);
	enter_real(v, sel, off);
}

void far_call(struct vcpu *v, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next)
{
	struct desc d;

	if (!vcpu_protected(v)) {
		call_real(v, sel, off, opsize, next);
		return;
	}
	if (selector_null(sel))
		vcpu_raise(v, VEC_GP, 0);
	desc_fetch(v, sel, VEC_GP, &d);
	if (desc_system(&d)) {
		if (names_task(v, &d))
			go_to_task(v, sel, &d, TASK_CALL, next);
		else
			call_gate(v, sel, &d, next);
		return;
	}
	if (!desc_code(&d))
		raise_sel(v, VEC_GP, sel);
	check_direct_cs(v, &d, sel);
	far_check_target(v, &d, off);
	push_and_enter(v, &d, sel, off, opsize, next);
}

void far_check_return_cs(struct vcpu *v, uint16_t sel, struct desc *d)
{
	if (selector_null(sel))
		vcpu_raise(v, VEC_GP, 0);
	desc_fetch(v, sel, VEC_GP, d);
	if (!desc_code(d) || (sel & SEL_RPL) < v->cpl)
		raise_sel(v, VEC_GP, sel);
	if (desc_conforming(d) ? desc_dpl(d) > (sel & SEL_RPL) : desc_dpl(d) != (sel & SEL_RPL))
		raise_sel(v, VEC_GP, sel);
	check_code_size(v, d, sel);
	if (!desc_present(d))
		raise_sel(v, VEC_NP, sel);
}

static void add_to_sp(struct stack *st, uint64_t n)
{
	st->sp = (st->sp & ~st->mask) | ((st->sp + n) & st->mask);
}

static void return_real(struct vcpu *v, unsigned opsize, uint16_t release)
{
	struct stack st = stack_current(v);
	uint64_t items[2];

	items[1] = stack_read_selector(v, &st, opsize);
	items[0] = stack_pop(v, &st, opsize);
	add_to_sp(&st, opsize);
	enter_real(v, items[1], items[0]);
	add_to_sp(&st, release);
	stack_commit(v, &st);
}

// The outer stack pointer takes the width of a pop on the new stack.
static void return_outer(struct vcpu *v, struct stack *st, struct desc *cs, const uint64_t items[2], unsigned opsize,
			 uint16_t release)
{
	unsigned cpl = items[1] & SEL_RPL;
	uint64_t outer[2];
	struct stack to;

	add_to_sp(st, release);
	stack_pop_items(v, st, outer, 2, opsize);
	to = stack_new(segment_check_ss(v, outer[1], cpl, VEC_GP, desc_code64(v, cs) && cpl != 3), outer[0], cpl,
		       desc_code64(v, cs));
	far_check_target(v, cs, items[0]);
	desc_access(v, cs);
	if (opsize == 2)
		to.sp = (v->gpr[X86_RSP] & ~UINT64_C(0xffff)) | outer[0];
	add_to_sp(&to, release);
	v->seg[X86_SS] = to.ss;
	stack_commit(v, &to);
	far_enter(v, cs, items[1], cpl, items[0]);
	segment_drop_inner(v);
}

void far_return(struct vcpu *v, unsigned opsize, uint16_t release)
{
	struct stack st = stack_current(v);
	uint64_t items[2];
	struct desc d;

	if (!vcpu_protected(v)) {
		return_real(v, opsize, release);
		return;
	}
	items[1] = stack_read_selector(v, &st, opsize);
	items[0] = stack_pop(v, &st, opsize);
	add_to_sp(&st, opsize);
	far_check_return_cs(v, items[1], &d);
	if ((items[1] & SEL_RPL) > v->cpl) {
		return_outer(v, &st, &d, items, opsize, release);
		return;
	}
	far_check_target(v, &d, items[0]);
	desc_access(v, &d);
	add_to_sp(&st, release);
	stack_commit(v, &st);
	far_enter(v, &d, items[1], v->cpl, items[0]);
}
