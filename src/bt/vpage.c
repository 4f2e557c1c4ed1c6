// SPDX-License-Identifier: MIT
//
// Linear pages of kernel code that direct links rely on (TRICKS: links over pages). Each is noted when it is linked,
// and asked for again when the guest flushes it: global pages are found by their address, so that INVLPG of data costs
// nothing; the others, which each write of CR3 may move, are few as a rule, and in one chain.
#include "bt/bt.h"

static uint16_t *chain_of(struct bt *b, uint64_t va, bool global)
{
	return &b->vpage_head[global ? va >> PAGE_SHIFT & (VPAGE_HASH - 1) : VPAGE_HASH];
}

static bool in_chain(const struct bt *b, uint16_t i, uint64_t va)
{
	while (i && b->vpage[i - 1].va != va)
		i = b->vpage[i - 1].next;
	return i;
}

// What leads to number i - 1.
static uint16_t *link_to(struct bt *b, unsigned i)
{
	uint16_t *p = chain_of(b, b->vpage[i - 1].va, b->vpage[i - 1].global);

	while (*p != i)
		p = &b->vpage[*p - 1].next;
	return p;
}

// The last one takes its place.
static void drop_vpage(struct bt *b, unsigned i)
{
	uint32_t last = b->nvpages--;

	b->nonglobal -= !b->vpage[i - 1].global;
	*link_to(b, i) = b->vpage[i - 1].next;
	if (i == last)
		return;
	*link_to(b, last) = (uint16_t)i;
	b->vpage[i - 1] = b->vpage[last - 1];
}

void code_note_vpage(struct bt *b, uint64_t pc, gpa_t gpa, bool global)
{
	uint64_t va = align_down(pc, PAGE_SIZE);
	uint16_t *head = chain_of(b, va, global);

	if (in_chain(b, *head, va) || in_chain(b, *chain_of(b, va, !global), va))
		return;
	if (b->nvpages == CODE_VPAGES) {
		b->vpages_overflow = true;
		return;
	}
	if (!(va >> 63)) {
		b->low_code[0] = b->low_code[1] ? MIN(b->low_code[0], va) : va;
		b->low_code[1] = MAX(b->low_code[1], va);
	}
	b->vpage[b->nvpages++] = (struct vpage){va, align_down(gpa, PAGE_SIZE), global, *head};
	*head = (uint16_t)b->nvpages;
	b->nonglobal += !global;
}

// After an eviction: no link relies on a page without units.
void code_drop_vpages(struct bt *b)
{
	for (unsigned i = b->nvpages; i > 0; i--)
		if (!b->page_head[b->vpage[i - 1].gpa >> PAGE_SHIFT])
			drop_vpage(b, i);
}

static bool lies_on(const struct tu *t, uint64_t va)
{
	uint64_t first = align_down(t->pc, PAGE_SIZE);

	return first == va || (tu_straddles(t) && first + PAGE_SIZE == va);
}

static void retire_vpage(struct bt *b, const struct vpage *p)
{
	uint32_t next;

	for (uint32_t node = b->page_head[p->gpa >> PAGE_SHIFT]; node; node = next) {
		struct tu *t = &b->tu[node >> 1];

		next = t->page_next[node & 1];
		if (!lies_on(t, p->va))
			continue;
		code_unwatch(b, t);
		tc_retire(b, t);
	}
}

// Where page table isolation takes the kernel away at each return to user mode, its units must not die with their
// links: links to nonglobal pages are given up instead.
static void note_moved(struct bt *b)
{
	enum { MOVED_MAX = 256 };

	b->moved++;
	if (b->moved < MOVED_MAX || b->spaces_differ)
		return;
	b->spaces_differ = true;
	b->flush_tc = true;
}

// Is the code there where it was? If not, another one has its place.
static bool check_vpage(struct vcpu *v, unsigned i)
{
	struct bt *b = bt_of(v);
	struct vpage p = b->vpage[i - 1];
	struct mmu_walk w;

	if (mmu_walk(v, p.va, VMEM_FETCH, &w) && align_down(w.gpa, PAGE_SIZE) == p.gpa && w.global >= p.global)
		return true; // still there, and may be run
	retire_vpage(b, &p);
	drop_vpage(b, i);
	if (!p.global)
		note_moved(b);
	return false;
}

static void check_chain(struct vcpu *v, const uint16_t *head, gva_t gva_flushed, unsigned shift)
{
	struct bt *b = bt_of(v);

	for (unsigned i = *head; i;) {
		bool asked = shift == 64 || !((b->vpage[i - 1].va ^ gva_flushed) >> shift);

		i = !asked || check_vpage(v, i) ? b->vpage[i - 1].next : *head;
	}
}

// From the last one down: who takes the place of one that goes has been asked.
static void check_all(struct vcpu *v, gva_t gva_flushed, unsigned shift)
{
	struct bt *b = bt_of(v);

	for (unsigned i = b->nvpages; i; i--)
		if (shift == 64 || !((b->vpage[i - 1].va ^ gva_flushed) >> shift))
			check_vpage(v, i);
}

// The guest has flushed the 2^shift bytes around gva (64: all), or but for global pages.
void code_check_vpages(struct vcpu *v, gva_t gva_flushed, unsigned shift, bool global)
{
	struct bt *b = bt_of(v);

	if (b->vpages_overflow) {
		b->flush_tc = true;
		return;
	}
	if (global && shift > PAGE_SHIFT) {
		check_all(v, gva_flushed, shift);
		return;
	}
	check_chain(v, &b->vpage_head[VPAGE_HASH], gva_flushed, shift);
	if (shift == PAGE_SHIFT)
		check_chain(v, chain_of(b, gva_flushed, true), gva_flushed, shift);
}
