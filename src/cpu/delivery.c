// SPDX-License-Identifier: MIT
//
// One event into its handler: through a long-mode IDT gate, a protected-mode gate, or the real-mode vector table. SDM,
// "Interrupt and Exception Handling" and the pseudocode of INT n. All that can fault comes first; then everything is
// committed at once. Error codes are raised here without EXT: fault.c adds that, knowing what was under way.
#include "cpu/transfer.h"

enum { ERROR_IDT = 2 };

static uint32_t gate_error(const struct event *e)
{
	return e->vector * 8u | ERROR_IDT;
}

static void read_gate(struct vcpu *v, const struct event *e, struct desc *gate)
{
	unsigned size = vcpu_long_mode(v) ? 16 : 8;
	uint64_t words[2] = {0, 0};

	if (e->vector * size + size - 1 > v->idtr.limit)
		vcpu_raise(v, VEC_GP, gate_error(e));
	vmem_read(v, v->idtr.base + e->vector * size, words, size, VMEM_READ | VMEM_IMPLICIT);
	gate->lo = words[0];
	gate->hi = words[1];
}

static bool gate_usable(const struct vcpu *v, const struct desc *gate)
{
	uint32_t type = desc_attr(gate) & (SEG_S | SEG_TYPE);

	if (type == DESC_INT || type == DESC_TRAP)
		return true;
	return !vcpu_long_mode(v) && (type == DESC_INT16 || type == DESC_TRAP16 || type == DESC_TASK);
}

static void check_gate(struct vcpu *v, const struct event *e, const struct desc *gate)
{
	if (!gate_usable(v, gate) || (e->software && desc_dpl(gate) < v->cpl))
		vcpu_raise(v, VEC_GP, gate_error(e));
	if (!desc_present(gate))
		vcpu_raise(v, VEC_NP, gate_error(e));
}

static void fetch_handler(struct vcpu *v, uint16_t sel, struct desc *cs)
{
	if (selector_null(sel))
		vcpu_raise(v, VEC_GP, 0);
	desc_fetch(v, sel, VEC_GP, cs);
	if (!desc_code(cs) || desc_dpl(cs) > v->cpl)
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	if (vcpu_long_mode(v) && (desc_attr(cs) & (SEG_L | SEG_DB)) != SEG_L)
		vcpu_raise(v, VEC_GP, sel & SEL_ERROR);
	if (!desc_present(cs))
		vcpu_raise(v, VEC_NP, sel & SEL_ERROR);
}

// The handler's stack in long mode: IST, or the inner level's, or the current one; 16-byte aligned.
static struct stack long_stack(struct vcpu *v, const struct desc *gate, unsigned cpl)
{
	unsigned ist = gate->lo >> 32 & 7;
	bool inner = cpl != v->cpl;
	struct x86_seg ss = inner ? segment_null(cpl, cpl) : v->seg[X86_SS];
	uint64_t sp = v->gpr[X86_RSP];

	if (ist)
		sp = tss_ist(v, ist);
	else if (inner)
		sp = tss_rsp(v, cpl);
	return stack_new(ss, sp & ~UINT64_C(15), cpl, true);
}

static struct stack legacy_stack(struct vcpu *v, unsigned cpl)
{
	struct stack st;
	uint16_t sel;
	uint32_t esp;

	if (cpl == v->cpl) {
		st = stack_current(v);
		return st;
	}
	tss_legacy_stack(v, cpl, &sel, &esp);
	if (selector_null(sel))
		vcpu_raise(v, VEC_TS, 0);
	return stack_new(segment_check_ss(v, sel, cpl, VEC_TS, false), esp, cpl, false);
}

static const uint8_t v86_segments[] = {X86_ES, X86_DS, X86_FS, X86_GS}; // as they lie on the handler's stack

static void push_frame(struct vcpu *v, const struct event *e, struct stack *st, bool with_sp, unsigned size)
{
	uint64_t items[10], flags = v->rflags | (e->resume ? RFLAGS_RF : 0);
	unsigned n = 0;

	if (e->has_error)
		items[n++] = e->error;
	items[n++] = e->rip;
	items[n++] = v->seg[X86_CS].sel;
	items[n++] = flags;
	if (with_sp) {
		items[n++] = v->gpr[X86_RSP];
		items[n++] = v->seg[X86_SS].sel;
	}
	if (vcpu_v86(v))
		for (unsigned i = 0; i < ARRAY_SIZE(v86_segments); i++)
			items[n++] = v->seg[v86_segments[i]].sel;
	stack_push_items(v, st, items, n, size);
}

static void enter_protected(struct vcpu *v, const struct event *e)
{
	bool long_mode = vcpu_long_mode(v);
	unsigned cpl, type, size;
	struct desc gate, cs;
	struct stack st;
	uint64_t target;

	read_gate(v, e, &gate);
	check_gate(v, e, &gate);
	if (desc_type(&gate) == DESC_TASK) {
		task_switch(v, gate_selector(&gate), TASK_EVENT, e->rip, e);
		return;
	}
	type = desc_type(&gate);
	fetch_handler(v, gate_selector(&gate), &cs);
	cpl = desc_conforming(&cs) ? v->cpl : desc_dpl(&cs);
	if (vcpu_v86(v) && cpl)
		vcpu_raise(v, VEC_GP, gate_selector(&gate) & SEL_ERROR);
	st = long_mode ? long_stack(v, &gate, cpl) : legacy_stack(v, cpl);
	size = long_mode ? 8 : type == DESC_INT || type == DESC_TRAP ? 4 : 2;
	target = size == 2 ? gate_offset(&gate) & 0xffff : gate_offset(&gate);
	far_check_target(v, &cs, target);
	push_frame(v, e, &st, long_mode || cpl != v->cpl, size);
	desc_access(v, &cs);

	for (unsigned i = 0; i < ARRAY_SIZE(v86_segments) && vcpu_v86(v); i++)
		v->seg[v86_segments[i]] = segment_null(0, 0);
	v->seg[X86_SS] = st.ss;
	stack_commit(v, &st);
	far_enter(v, &cs, gate_selector(&gate), cpl, target);
	v->rflags &= ~(uint64_t)(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
	if (type == DESC_INT || type == DESC_INT16)
		v->rflags &= ~(uint64_t)RFLAGS_IF;
}

// The stack of a handler at level 0 (false: of another): where its frame ends.
static bool quick_stack(struct vcpu *v, const struct desc *gate, unsigned cpl, uint64_t *sp)
{
	unsigned ist = gate->lo >> 32 & 7, off = tss_stack_at(ist);
	const uint64_t *at;

	if (cpl)
		return false;
	*sp = v->gpr[X86_RSP];
	if (ist || v->cpl) {
		at = off + 7 <= v->tr.limit ? quick_peek(v, v->tr.base + off, sizeof(*at)) : NULL;
		if (!at)
			return false;
		*sp = *at;
	}
	*sp &= ~UINT64_C(15);
	return true;
}

static void quick_frame(const struct vcpu *v, const struct event *e, uint64_t *to)
{
	if (e->has_error)
		*to++ = e->error;
	to[0] = e->rip;
	to[1] = v->seg[X86_CS].sel;
	to[2] = v->rflags | (e->resume ? RFLAGS_RF : 0);
	to[3] = v->gpr[X86_RSP];
	to[4] = v->seg[X86_SS].sel; // 16-byte aligned, so each is one store
}

// What enter_protected does, where all of it is as usual. False: nothing has happened.
static bool enter_quickly(struct vcpu *v, const struct event *e)
{
	unsigned size = (5 + e->has_error) * 8, type;
	const uint64_t *words;
	struct desc gate, cs;
	uint64_t sp;
	uint8_t *frame;

	if (!vcpu_long_mode(v) || e->vector * 16u + 15 > v->idtr.limit)
		return false;
	words = quick_peek(v, v->idtr.base + e->vector * 16u, 16);
	if (!words)
		return false;
	gate.lo = words[0];
	gate.hi = words[1];
	type = desc_type(&gate);
	if (!gate_usable(v, &gate) || !desc_present(&gate) || (e->software && desc_dpl(&gate) < v->cpl) ||
	    !quick_code(v, gate_selector(&gate), &cs) || desc_dpl(&cs) > v->cpl || !vcpu_canonical(v, gate_offset(&gate)) ||
	    !quick_stack(v, &gate, desc_dpl(&cs), &sp) || ((sp - size) ^ (sp - 1)) >> PAGE_SHIFT)
		return false;
	frame = vcpu_ram_host(v, sp - size, VMEM_WRITE | VMEM_IMPLICIT);
	if (!frame)
		return false;
	quick_frame(v, e, (uint64_t *)frame);
	if (v->cpl)
		v->seg[X86_SS] = segment_null(0, 0);
	v->gpr[X86_RSP] = sp - size;
	far_enter(v, &cs, gate_selector(&gate), 0, gate_offset(&gate));
	v->rflags &= ~(uint64_t)(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | (type == DESC_INT ? RFLAGS_IF : 0));
	return true;
}

static void enter_real(struct vcpu *v, const struct event *e)
{
	struct stack st = stack_current(v);
	uint32_t target;

	if (e->vector * 4u + 3 > v->idtr.limit)
		vcpu_raise(v, VEC_GP, gate_error(e));
	target = vmem_read_u32(v, v->idtr.base + e->vector * 4u, VMEM_READ | VMEM_IMPLICIT);
	stack_push_items(v, &st, (uint64_t[]){e->rip, v->seg[X86_CS].sel, v->rflags}, 3, 2);
	stack_commit(v, &st);
	segment_load_real(v, X86_CS, (uint16_t)(target >> 16));
	v->rip = target & 0xffff;
	v->rflags &= ~(uint64_t)(RFLAGS_IF | RFLAGS_TF | RFLAGS_RF | RFLAGS_AC);
}

// One line an event, as QEMU's -d int has it.
static void trace(struct vcpu *v, const struct event *e)
{
	vmm_trace(v, LOG_INT, "int: v=%02x e=%04x i=%u cpl=%u IP=%04x:%016lx SP=%04x:%016lx CR2=%016lx RAX=%016lx\n",
		  e->vector, e->has_error ? e->error : 0, e->software, v->cpl, v->seg[X86_CS].sel, e->rip,
		  v->seg[X86_SS].sel, v->gpr[X86_RSP], v->cr2, v->gpr[X86_RAX]);
}

void delivery_enter(struct vcpu *v, const struct event *e)
{
	trace(v, e);
	if (enter_quickly(v, e))
		return;
	if (v->cr0 & CR0_PE)
		enter_protected(v, e);
	else
		enter_real(v, e);
}
