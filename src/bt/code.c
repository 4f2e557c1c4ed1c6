// SPDX-License-Identifier: MIT
//
// Coherency of translated code. A guest page that holds code of a live unit is watched: no write entry of the software
// TLB leads to it, so every write to it passes C (the careful form, or vmem_write), which retires the units there.
// Guest memory is never changed for this.
//
// And the mapping of code: direct links that leave a page are made for kernel code only; each such page is noted with
// its physical address, and whenever the guest flushes it the page tables are asked again.
#include "bt/bt.h"

static void watch_page(struct bt *b, struct tu *t, gpa_t gpa, unsigned which)
{
	uint32_t *head;

	ASSERT(gpa >> PAGE_SHIFT < GFNS_MAX);
	head = &b->page_head[gpa >> PAGE_SHIFT];
	if (!*head)
		tlb_drop_writes(b, align_down(gpa, PAGE_SIZE));
	t->page_next[which] = *head;
	*head = (uint32_t)(t - b->tu) << 1 | which;
}

void code_watch(struct vcpu *v, struct tu *t)
{
	struct bt *b = bt_of(v);

	watch_page(b, t, t->gpa, 0);
	if (t->gpa2 != ~UINT64_C(0))
		watch_page(b, t, t->gpa2, 1);
}

static void unlist(struct bt *b, gpa_t gpa, uint32_t node)
{
	uint32_t *p = &b->page_head[gpa >> PAGE_SHIFT];

	while (*p && *p != node)
		p = &b->tu[*p >> 1].page_next[*p & 1];
	if (*p)
		*p = b->tu[node >> 1].page_next[node & 1];
}

void code_unwatch(struct bt *b, struct tu *t)
{
	uint32_t n = (uint32_t)(t - b->tu) << 1;

	unlist(b, t->gpa, n);
	if (t->gpa2 != ~UINT64_C(0))
		unlist(b, t->gpa2, n | 1);
}

// Guest memory was or is about to be written: what was translated from this page is void.
void code_written(struct vcpu *v, gpa_t gpa, size_t size)
{
	struct bt *b = bt_of(v);

	while (b->page_head[gpa >> PAGE_SHIFT]) {
		struct tu *t = &b->tu[b->page_head[gpa >> PAGE_SHIFT] >> 1];

		code_unwatch(b, t);
		tc_retire(b, t);
	}
}

void vcpu_ram_written(struct vcpu *v, gpa_t gpa, size_t size)
{
	struct bt *b = bt_of(v);

	for (gpa_t page = align_down(gpa, PAGE_SIZE); page < gpa + size; page += PAGE_SIZE)
		if (code_is_watched(b, page)) {
			b->st->code_writes++;
			code_written(v, page, PAGE_SIZE);
		}
}

// -- linear pages that direct links rely on ---------------------------------------------------------------------------

void code_note_vpage(struct bt *b, uint64_t pc, gpa_t gpa, bool global)
{
	uint64_t va = align_down(pc, PAGE_SIZE);

	for (unsigned i = 0; i < b->nvpages; i++) // few hundred pages; found at once for a page just noted
		if (b->vpage[i].va == va)
			return;
	if (b->nvpages == CODE_VPAGES) {
		b->vpages_overflow = true;
		return;
	}
	b->vpage[b->nvpages++] = (struct vpage){va, align_down(gpa, PAGE_SIZE), global};
	b->nonglobal += !global;
}

// After an eviction: no link relies on a page without units.
void code_drop_vpages(struct bt *b)
{
	for (unsigned i = b->nvpages; i-- > 0;) {
		if (b->page_head[b->vpage[i].gpa >> PAGE_SHIFT])
			continue;
		b->nonglobal -= !b->vpage[i].global;
		b->vpage[i] = b->vpage[--b->nvpages];
	}
}

static bool lies_on(const struct tu *t, uint64_t va)
{
	uint64_t first = align_down(t->pc, PAGE_SIZE);

	return first == va || (t->gpa2 != ~UINT64_C(0) && first + PAGE_SIZE == va);
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

	b->nonglobal--;
	b->moved++;
	if (b->moved < MOVED_MAX || b->spaces_differ)
		return;
	b->spaces_differ = true;
	b->flush_tc = true;
}

// The guest has flushed the 2^shift bytes around gva (64: all), or but for global pages: is the code there where it
// was?
void code_check_vpages(struct vcpu *v, gva_t gva_flushed, unsigned shift, bool global)
{
	struct bt *b = bt_of(v);

	if (b->vpages_overflow) {
		b->flush_tc = true;
		return;
	}
	for (unsigned i = 0; i < b->nvpages; i++) {
		struct vpage *p = &b->vpage[i];
		struct mmu_walk w;

		if ((shift < 64 && (p->va ^ gva_flushed) >> shift) || (p->global && !global))
			continue;
		if (mmu_walk(v, p->va, VMEM_FETCH, &w) && align_down(w.gpa, PAGE_SIZE) == p->gpa)
			continue; // still there, and may be run
		retire_vpage(b, p);
		if (!p->global)
			note_moved(b);
		*p = b->vpage[--b->nvpages];
		i--;
	}
}
