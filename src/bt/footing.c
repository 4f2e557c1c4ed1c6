// SPDX-License-Identifier: MIT
//
// Footings: the linear pages that units stand on, each with the physical page it was translated from and a byte that
// says whether the present address space is known to have it there. Units of code in the lower half (and of kernel code
// that is not in every address space) may be linked over pages, and stay in the indirect table through a change of the
// address space, because whoever arrives from elsewhere looks at that byte first. It is set when the run loop has asked
// the page tables, and cleared by every flush that might concern the page: then the next to come asks again, once for
// all units of the page.
//
// A unit that straddles two pages has a footing of its own. Footing 0 is that of units which need none.
//
// Invariant: a link between two units whose footings are both held leads to the address it was made for. Moving units
// (move.c) may break that for links to pages that have not moved yet; check_links() takes care of it when the later of
// the two is held, if family.c does not know that all is well.
#include "bt/bt.h"

static unsigned hash_of(uint64_t va, gpa_t gpa, uint32_t mode)
{
	return (unsigned)((va ^ gpa << 7 ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15) >> 48) &
	       (FOOTING_HASH - 1);
}

static uint32_t find(const struct bt *b, uint64_t va, gpa_t gpa, gpa_t gpa2, uint32_t mode)
{
	uint32_t i = b->footing_hash[hash_of(va, gpa, mode)];

	while (i && !(b->footing[i].va == va && b->footing[i].gpa == gpa && b->footing[i].gpa2 == gpa2 &&
		      b->footing[i].mode == mode))
		i = b->footing[i].next;
	return i;
}

static void insert(struct bt *b, uint32_t id)
{
	struct footing *f = &b->footing[id];
	uint32_t *head = &b->footing_hash[hash_of(f->va, f->gpa, f->mode)];

	f->next = *head;
	*head = id;
}

static void take_out(struct bt *b, uint32_t id)
{
	const struct footing *f = &b->footing[id];
	uint32_t *p = &b->footing_hash[hash_of(f->va, f->gpa, f->mode)];

	while (*p != id)
		p = &b->footing[*p].next;
	*p = f->next;
}

// With the cache.
void footing_flush(struct bt *b)
{
	for (uint32_t i = 1; i < b->nfootings; i++)
		b->footing_hash[hash_of(b->footing[i].va, b->footing[i].gpa, b->footing[i].mode)] = 0;
	footing_release_all(b);
	family_flush(b);
	b->nfootings = 1;
	b->free_footing = 0;
}

static uint32_t new_footing(struct bt *b)
{
	enum { MARGIN = 64 }; // what may be asked for before the run loop flushes
	uint32_t id = b->free_footing;

	if (id) {
		b->free_footing = b->footing[id].next;
		return id;
	}
	ASSERT(b->nfootings < FOOTINGS_MAX);
	b->flush_tc |= b->nfootings + MARGIN > FOOTINGS_MAX;
	return b->nfootings++;
}

static uint32_t footing_of(struct bt *b, const struct tu *t)
{
	uint64_t va = align_down(t->pc, PAGE_SIZE);
	gpa_t gpa = align_down(t->gpa, PAGE_SIZE);
	uint32_t id = find(b, va, gpa, tu_gpa2(t), t->mode);

	if (!id) {
		id = new_footing(b);
		b->footing[id] = (struct footing){.va = va, .gpa = gpa, .gpa2 = tu_gpa2(t), .mode = t->mode};
		insert(b, id);
	}
	return id;
}

void footing_join(struct bt *b, struct tu *t)
{
	uint32_t id = footing_of(b, t), unit = (uint32_t)(t - b->tu);
	struct footing *f = &b->footing[id];

	t->footing = id;
	t->footing_prev = 0;
	t->footing_next = f->first;
	if (f->first)
		b->tu[f->first].footing_prev = unit;
	f->first = unit;
}

// The last one to leave gives it up: no link looks at it any more.
void footing_leave(struct bt *b, struct tu *t)
{
	struct footing *f = &b->footing[t->footing];

	if (!t->footing)
		return;
	*(t->footing_prev ? &b->tu[t->footing_prev].footing_next : &f->first) = t->footing_next;
	if (t->footing_next)
		b->tu[t->footing_next].footing_prev = t->footing_prev;
	if (!f->first) {
		footing_release(b, t->footing);
		family_leave(b, t->footing);
		take_out(b, t->footing);
		f->va = 1; // no page
		f->next = b->free_footing;
		b->free_footing = t->footing;
	}
	t->footing = 0;
}

// -- links of units that have moved -----------------------------------------------------------------------------------

static bool is_held(const struct bt *b, const struct tu *t)
{
	return b->holds[t->footing];
}

// If the other end is not held, it is its turn to look when it is.
static void check_link(struct bt *b, uint32_t exit, const struct tu *t, const struct tu *other)
{
	if (exit_pc(b, &b->exit[exit]) != t->pc && is_held(b, other))
		tc_unlink(b, exit);
}

static void check_links_of(struct bt *b, struct tu *t)
{
	for (uint32_t x = t->incoming, next; x; x = next) {
		next = b->exit[x].next;
		check_link(b, x, t, &b->tu[b->exit[x].tu]);
	}
	for (uint32_t x = t->first_exit; x < t->first_exit + t->nexits; x++) {
		struct tu *to = &b->tu[b->exit[x].target];

		if (b->exit[x].target)
			check_link(b, x, to, to);
	}
}

static void check_links(struct bt *b, uint32_t id)
{
	for (uint32_t unit = b->footing[id].first; unit; unit = b->tu[unit].footing_next)
		if (b->tu[unit].crosses)
			check_links_of(b, &b->tu[unit]);
}

// Links of its units are other units' now, or lead elsewhere; it may be held already.
void footing_check(struct bt *b, uint32_t id)
{
	if (b->holds[id])
		check_links(b, id);
}

// The footing at va becomes that of the same code, delta further on. False: there is one already.
bool footing_move(struct bt *b, uint32_t id, uint64_t va, uint64_t delta)
{
	struct footing *f = &b->footing[id];
	uint32_t there;

	if (!id || f->va != va) // moved with another unit
		return true;
	there = find(b, va + delta, f->gpa, f->gpa2, f->mode);
	if (there && f->family)
		family_unite(b, id, there, 0); // links go over with the units
	if (there)
		return false;
	footing_release(b, id);
	take_out(b, id);
	f->va += delta;
	f->space[0] = f->space[1] = 0;
	insert(b, id);
	return true;
}

// -- held or not ------------------------------------------------------------------------------------------------------

static void note_space(const struct bt *b, struct footing *f)
{
	uint64_t cr3 = ((const struct vcpu *)((const char *)b - BT_OFFSET))->cr3;

	if (f->space[0] != cr3)
		f->space[f->space[0] ? 1 : 0] = cr3;
}

// Is there still an address space that has the page there, of those that are remembered? It will want its units again.
bool footing_lives(struct vcpu *v, uint32_t id)
{
	const struct footing *f = &bt_of(v)->footing[id];

	return (f->space[0] && mmu_maps(v, f->space[0], f->va, f->gpa)) ||
	       (f->space[1] && mmu_maps(v, f->space[1], f->va, f->gpa));
}

// The page tables of the present space say so.
void footing_hold(struct bt *b, uint32_t id)
{
	struct footing *f = &b->footing[id];

	if (!id || b->holds[id])
		return;
	b->holds[id] = 1;
	f->place = b->nheld;
	b->held[b->nheld++] = id;
	note_space(b, f);
	tlb_note_user_code(b, f->va);
	if (f->gpa2 != ~UINT64_C(0))
		tlb_note_user_code(b, f->va + PAGE_SIZE);
	if (family_hold(b, id))
		check_links(b, id);
}

void footing_release(struct bt *b, uint32_t id)
{
	struct footing *f = &b->footing[id];

	if (!b->holds[id])
		return;
	family_release(b, id);
	b->holds[id] = 0;
	b->held[f->place] = b->held[--b->nheld];
	b->footing[b->held[f->place]].place = f->place;
}

void footing_release_all(struct bt *b)
{
	for (uint32_t i = 0; i < b->nheld; i++)
		b->holds[b->held[i]] = 0;
	b->nheld = 0;
	b->hold_epoch++;
}

// Those in the 2^shift bytes around gva.
void footing_release_at(struct bt *b, gva_t gva, unsigned shift)
{
	for (uint32_t i = b->nheld; i-- > 0;) {
		const struct footing *f = &b->footing[b->held[i]];

		if ((f->va ^ gva) >> shift == 0 ||
		    (f->gpa2 != ~UINT64_C(0) && ((f->va + PAGE_SIZE) ^ gva) >> shift == 0))
			footing_release(b, b->held[i]);
	}
}
