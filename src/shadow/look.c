// SPDX-License-Identifier: MIT
//
// The look at a space that the guest has flushed: each of its pages is compared with the guest's tables as they stand,
// and what they do not have like that any more is unmapped. It goes from one page table of the guest's to the next, so
// that a page costs some ten cycles: that is what makes it cheap to come back to a space.
#include "shadow/shadow.h"

struct run { // pages that go, side by side
	gva_t gva;
	uint64_t size;
};

static void unmap_run(struct vcpu *v, struct shadow_space *p, struct run *r)
{
	if (r->size)
		shadow_unmap(v, p, r->gva, r->size);
	r->size = 0;
}

struct result {
	uint32_t kept, gone; // pages
};

// Those of a group's pages that may not stay.
static uint64_t gone_of(struct vcpu *v, const struct record_group *g, struct mmu_table *near, struct result *n)
{
	uint64_t gone = 0;

	for (uint64_t has = g->has; has; has &= has - 1) {
		unsigned i = (unsigned)__builtin_ctzll(has);
		struct record_page page = record_page_at(g, i);
		struct mmu_walk w;

		if (mmu_look_near(v, page.vpn << PAGE_SHIFT, near, &w) && shadow_allows(v, &page, &w)) {
			n->kept++;
		} else {
			n->gone++;
			gone |= BIT64(i);
		}
	}
	return gone;
}

static void unmap_pages(struct vcpu *v, struct shadow_space *p, uint64_t first, uint64_t gone)
{
	struct run r = {0};

	for (; gone; gone &= gone - 1) {
		gva_t at = (first + (unsigned)__builtin_ctzll(gone)) << PAGE_SHIFT;

		if (r.size && at == r.gva + r.size) {
			r.size += PAGE_SIZE;
			continue;
		}
		unmap_run(v, p, &r);
		r = (struct run){at, PAGE_SIZE};
	}
	unmap_run(v, p, &r);
}

// So many have gone that all of them may: mostly it is another process.
static bool is_another(const struct shadow_space *p, const struct result *n)
{
	return n->gone > (space_form(p) == FORM_DIRECT ? 8u : 64u) && n->gone > n->kept;
}

void shadow_look(struct vcpu *v, struct shadow_space *p)
{
	struct record *r = &shadow_of(v)->record;
	uint64_t start = __builtin_ia32_rdtsc();
	struct mmu_table near = {0};
	struct result n = {0};
	uint32_t next;

	for (uint32_t at = r->of[p->number].first; at && !is_another(p, &n); at = next) {
		const struct record_group *g = record_group(r, at);
		uint64_t first = g->first, gone = gone_of(v, g, &near, &n);

		next = g->next;
		unmap_pages(v, p, first, gone);
	}
	if (is_another(p, &n))
		shadow_drop(v, p);
	shadow_of(v)->fresh |= (uint16_t)BIT(p->number);
	p->checked = __builtin_ia32_rdtsc();
	p->check_cost = p->checked - start;
	bt_of(v)->st->shadow_checks++;
	bt_of(v)->st->shadow_check_cycles += p->check_cost;
	policy_charge_churn(v, p, p->check_cost);
	if (space_form(p) == FORM_DIRECT && n.gone > n.kept) { // another process, which has to prove itself
		shadow_give_up(v, p);
		policy_begin(v);
	}
}
