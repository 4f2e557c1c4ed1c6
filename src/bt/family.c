// SPDX-License-Identifier: MIT
//
// Families: footings that direct links tie together, or that are the same code at several addresses. The code of one
// file moves as a whole (move.c), so a member's address less its place in the family is the same for all members of one
// address space: the base. Links between members of one base lead where they were made to lead. When a footing is held
// whose base is not that of those held already, its links have to be looked at one by one (footing.c).
//
// Invariant: of two members that have been linked, or that a unit with links has gone over to, the difference of their
// places is that of the addresses the link was made for; else the family is `mixed`, and always looked at.
#include "bt/bt.h"

static uint64_t base_of(const struct footing *f)
{
	return f->va - f->at;
}

static struct family *family_of(struct bt *b, const struct footing *f)
{
	return &b->family[f->family];
}

void family_flush(struct bt *b)
{
	b->nfamilies = 1;
	b->free_family = 0;
}

static void enter(struct bt *b, struct footing *f, uint32_t family)
{
	uint32_t id = (uint32_t)(f - b->footing), *first = &b->family[family].first;

	f->family = family;
	f->kin_prev = 0;
	f->kin_next = *first;
	if (*first)
		b->footing[*first].kin_prev = id;
	*first = id;
	b->family[family].n++;
}

static void leave(struct bt *b, struct footing *f)
{
	struct family *m = family_of(b, f);

	*(f->kin_prev ? &b->footing[f->kin_prev].kin_next : &m->first) = f->kin_next;
	if (f->kin_next)
		b->footing[f->kin_next].kin_prev = f->kin_prev;
	m->n--;
}

static void give_up(struct bt *b, uint32_t family)
{
	b->family[family].first = b->free_family; // of free ones: the next
	b->free_family = family;
}

static uint32_t new_family(struct bt *b)
{
	uint32_t id = b->free_family;

	if (id)
		b->free_family = b->family[id].first;
	else
		id = b->nfamilies++; // never more than footings
	b->family[id] = (struct family){.n = 0};
	return id;
}

// The footing is no more.
void family_leave(struct bt *b, uint32_t id)
{
	struct footing *f = &b->footing[id];
	uint32_t family = f->family;

	if (!family)
		return;
	leave(b, f);
	f->family = 0;
	if (!b->family[family].n)
		give_up(b, family);
}

// -- who is held ------------------------------------------------------------------------------------------------------

static void count_held(struct bt *b, struct family *m, uint64_t base)
{
	if (m->epoch != b->hold_epoch || !m->nheld) {
		m->epoch = b->hold_epoch;
		m->nheld = 0;
		m->differ = false;
		m->base = base;
	}
	m->nheld++;
	m->differ |= m->base != base;
}

// It has come to be held. Must its links be looked at?
bool family_hold(struct bt *b, uint32_t id)
{
	struct footing *f = &b->footing[id];

	if (!f->family)
		return false;
	count_held(b, family_of(b, f), base_of(f));
	return family_of(b, f)->differ || family_of(b, f)->mixed;
}

// It is held no more.
void family_release(struct bt *b, uint32_t id)
{
	struct family *m = family_of(b, &b->footing[id]);

	if (b->footing[id].family && m->epoch == b->hold_epoch && m->nheld)
		m->nheld--;
}

// -- who is kin -------------------------------------------------------------------------------------------------------

static void join(struct bt *b, struct footing *f, uint32_t family, uint64_t at)
{
	f->at = at;
	enter(b, f, family);
	if (b->holds[f - b->footing])
		count_held(b, &b->family[family], base_of(f));
}

// All of the other's family to that of the first; their places shift by so much.
static void merge(struct bt *b, uint32_t into, uint32_t from, uint64_t shift)
{
	uint32_t next;

	b->family[into].mixed |= b->family[from].mixed;
	for (uint32_t id = b->family[from].first; id; id = next) {
		next = b->footing[id].kin_next;
		join(b, &b->footing[id], into, b->footing[id].at + shift);
	}
	give_up(b, from);
}

// The code of `to` stands so far behind that of `from`. Footing 0 never moves, and nothing that does is linked with it.
void family_unite(struct bt *b, uint32_t from, uint32_t to, uint64_t distance)
{
	struct footing *f = &b->footing[from], *t = &b->footing[to];

	if (!from || !to || from == to)
		return;
	if (!f->family && !t->family)
		join(b, f, new_family(b), 0);
	if (!f->family)
		join(b, f, t->family, t->at - distance);
	else if (!t->family)
		join(b, t, f->family, f->at + distance);
	else if (f->family == t->family)
		family_of(b, f)->mixed |= t->at - f->at != distance;
	else if (family_of(b, f)->n < family_of(b, t)->n)
		merge(b, t->family, f->family, t->at - distance - f->at);
	else
		merge(b, f->family, t->family, f->at + distance - t->at);
}
