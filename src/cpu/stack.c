// SPDX-License-Identifier: MIT
//
// The stack as pushes and pops of system instructions and of delivery see it: the current one, or one to switch to.
// Several items move in one access, so that a fault on any leaves memory and registers as they were; RSP changes only
// at stack_commit. SDM, "Stack Behavior in 64-Bit Mode" and "Address-Size Attributes for Stack".
#include "cpu/segment.h"
#include "base/assert.h"
#include "base/string.h"

enum { ITEMS_MAX = 48 };

static uint64_t stack_mask(const struct x86_seg *ss, bool flat)
{
	return flat ? ~UINT64_C(0) : ss->attr & SEG_DB ? 0xffffffff : 0xffff;
}

struct stack stack_current(const struct vcpu *v)
{
	bool flat = vcpu_code64(v);

	return (struct stack){.ss = v->seg[X86_SS], .sp = v->gpr[X86_RSP], .mask = stack_mask(&v->seg[X86_SS], flat),
			      .who = v->cpl == 3 ? VMEM_USER : 0, .flat = flat};
}

struct stack stack_new(struct x86_seg ss, uint64_t sp, unsigned cpl, bool code64)
{
	return (struct stack){.ss = ss, .sp = sp, .mask = stack_mask(&ss, code64),
			      .who = cpl == 3 ? VMEM_USER : VMEM_IMPLICIT, .flat = code64, .error = ss.sel & SEL_ERROR};
}

static gva_t stack_linear(struct vcpu *v, const struct stack *st, uint64_t sp, size_t size)
{
	if (st->flat)
		return sp;
	if (vcpu_protected(v) && st->ss.attr & SEG_UNUSABLE)
		vcpu_raise(v, VEC_SS, st->error);
	if (!segment_within(v, &st->ss, sp & st->mask, size))
		vcpu_raise(v, VEC_SS, st->error);
	return (uint32_t)(st->ss.base + (sp & st->mask));
}

static void set_sp(struct stack *st, uint64_t sp)
{
	st->sp = (st->sp & ~st->mask) | (sp & st->mask);
}

// A selector takes a whole item, but no more than two bytes of it are read.
uint16_t stack_read_selector(struct vcpu *v, const struct stack *st, unsigned offset)
{
	uint16_t sel;

	vmem_read_seg(v, stack_linear(v, st, st->sp + offset, sizeof(sel)), &sel, sizeof(sel), VMEM_READ | st->who, X86_SS);
	return sel;
}

void stack_skip(struct stack *st, unsigned n)
{
	set_sp(st, st->sp + n);
}

// Processors do not read a frame from its beginning; a page fault tells. Faults if this item would.
void stack_peek(struct vcpu *v, const struct stack *st, unsigned item, unsigned size)
{
	vmem_probe(v, stack_linear(v, st, st->sp + (uint64_t)item * size, size), size, VMEM_READ | st->who, X86_SS);
}

// Pushes come one by one, from above: which of them faults shows in CR2.
static void probe_pushes(struct vcpu *v, const struct stack *st, gva_t gva, unsigned n, unsigned size)
{
	bool crosses = (gva ^ (gva + (uint64_t)n * size - 1)) >> PAGE_SHIFT;

	for (unsigned i = n; i-- > (crosses ? 0 : n - 1);)
		vmem_probe(v, gva + (uint64_t)i * size, size, VMEM_WRITE | st->who, X86_SS);
}

// Do they go on at the other end of what the stack pointer can hold? Then each item lies somewhere by itself; one that
// wraps in its middle faults.
static bool items_wrap(const struct stack *st, uint64_t sp, unsigned n, unsigned size)
{
	return !st->flat && n > 1 && (sp & st->mask) + (uint64_t)n * size > st->mask + 1;
}

static void push_wrapping(struct vcpu *v, const struct stack *st, uint64_t sp, const uint64_t *items, unsigned n,
			  unsigned size)
{
	for (unsigned i = n; i-- > 0;)
		vmem_probe(v, stack_linear(v, st, sp + i * size, size), size, VMEM_WRITE | st->who, X86_SS);
	for (unsigned i = n; i-- > 0;)
		vmem_write_seg(v, stack_linear(v, st, sp + i * size, size), &items[i], size, VMEM_WRITE | st->who, X86_SS);
}

void stack_push_items(struct vcpu *v, struct stack *st, const uint64_t *items, unsigned n, unsigned size)
{
	uint8_t buf[ITEMS_MAX * 8];
	uint64_t sp = st->sp - (uint64_t)n * size;
	gva_t gva;

	ASSERT(n <= ITEMS_MAX);
	if (items_wrap(st, sp, n, size)) {
		push_wrapping(v, st, sp, items, n, size);
		set_sp(st, sp);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		memcpy(buf + i * size, &items[i], size);
	gva = stack_linear(v, st, sp, n * size);
	if (n > 1)
		probe_pushes(v, st, gva, n, size);
	vmem_write_seg(v, gva, buf, n * size, VMEM_WRITE | st->who, X86_SS);
	set_sp(st, sp);
}

void stack_pop_items(struct vcpu *v, struct stack *st, uint64_t *items, unsigned n, unsigned size)
{
	uint8_t buf[ITEMS_MAX * 8];

	ASSERT(n <= ITEMS_MAX);
	if (!items_wrap(st, st->sp, n, size))
		vmem_read_seg(v, stack_linear(v, st, st->sp, n * size), buf, n * size, VMEM_READ | st->who, X86_SS);
	else
		for (unsigned i = 0; i < n; i++)
			vmem_read_seg(v, stack_linear(v, st, st->sp + i * size, size), buf + i * size, size,
				      VMEM_READ | st->who, X86_SS);
	for (unsigned i = 0; i < n; i++) {
		items[i] = 0;
		memcpy(&items[i], buf + i * size, size);
	}
	set_sp(st, st->sp + (uint64_t)n * size);
}

void stack_push(struct vcpu *v, struct stack *st, uint64_t value, unsigned size)
{
	stack_push_items(v, st, &value, 1, size);
}

uint64_t stack_pop(struct vcpu *v, struct stack *st, unsigned size)
{
	uint64_t value;

	stack_pop_items(v, st, &value, 1, size);
	return value;
}

void stack_commit(struct vcpu *v, const struct stack *st)
{
	v->gpr[X86_RSP] = st->sp;
}
