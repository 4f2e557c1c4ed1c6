// SPDX-License-Identifier: MIT
//
// The record of mapped pages: see record.h.
#include "shadow/record.h"

static unsigned hash(unsigned space, uint64_t first)
{
	return (unsigned)((first / RECORD_GROUP * RECORD_SPACES + space) * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static uint64_t first_of(uint64_t vpn)
{
	return vpn & ~(uint64_t)(RECORD_GROUP - 1);
}

// The place in index[] of the page's group, or where it would stand.
static unsigned index_of(const struct record *r, unsigned space, uint64_t vpn)
{
	unsigned i = hash(space, first_of(vpn));

	for (; r->index[i]; i = (i + 1) & (RECORD_INDEX - 1)) {
		const struct record_group *g = &r->group[r->index[i] - 1];

		if (g->first == first_of(vpn) && g->space == space)
			break;
	}
	return i;
}

// Those behind an emptied place move up, or they would not be found any more.
static void close_gap(struct record *r, unsigned i)
{
	for (unsigned k = (i + 1) & (RECORD_INDEX - 1); r->index[k]; k = (k + 1) & (RECORD_INDEX - 1)) {
		const struct record_group *g = &r->group[r->index[k] - 1];
		unsigned home = hash(g->space, g->first);

		if (((k - home) & (RECORD_INDEX - 1)) < ((k - i) & (RECORD_INDEX - 1)))
			continue;
		r->index[i] = r->index[k];
		i = k;
	}
	r->index[i] = 0;
}

// -- groups -----------------------------------------------------------------------------------------------------------

void record_init(struct record *r)
{
	r->spare = RECORD_GROUPS;
}

bool record_has_room(const struct record *r, unsigned pages)
{
	return r->spare >= pages / RECORD_GROUP + 2;
}

static struct record_group *make_group(struct record *r, unsigned space, uint64_t vpn)
{
	struct record_list *list = &r->of[space];
	uint32_t number = r->unused ? r->unused : ++r->made;
	struct record_group *g = record_group(r, number);

	r->unused = g->next; // of a new one: 0
	r->spare--;
	g->has = 0;
	g->first = first_of(vpn) & (BIT64(36) - 1);
	g->space = space & (RECORD_SPACES - 1);
	g->next = 0;
	g->before = list->last;
	if (list->last)
		record_group(r, list->last)->next = number;
	else
		list->first = number;
	list->last = number;
	return g;
}

static void free_group(struct record *r, struct record_group *g)
{
	uint32_t number = (uint32_t)(g - r->group) + 1;

	if (g->next)
		record_group(r, g->next)->before = g->before;
	else
		r->of[g->space].last = g->before;
	if (g->before)
		record_group(r, g->before)->next = g->next;
	else
		r->of[g->space].first = g->next;
	close_gap(r, index_of(r, g->space, g->first));
	g->next = r->unused;
	r->unused = number;
	r->spare++;
}

// -- frames -----------------------------------------------------------------------------------------------------------

static uint32_t place_of(const struct record *r, const struct record_group *g, unsigned i)
{
	return (uint32_t)(g - r->group) * RECORD_GROUP + i + 1;
}

static void forget_frame(struct record *r, const struct record_group *g, unsigned i)
{
	uint32_t f = g->page[i] & (RECORD_FRAMES - 1), place = place_of(r, g, i);

	if (r->writes[f] == place)
		r->writes[f] = 0;
	if (r->runs[f] == place)
		r->runs[f] = 0;
}

static void note_frame(struct record *r, const struct record_group *g, unsigned i, unsigned rights)
{
	uint32_t *f = (rights & SHADOW_WRITE ? r->writes : r->runs) + (g->page[i] & (RECORD_FRAMES - 1));

	if (rights)
		*f = *f ? RECORD_MANY : place_of(r, g, i);
}

// Among several. None, nor of another frame that is folded here: then it is known again.
static bool search(struct record *r, uint64_t gfn, enum shadow_rights right, uint32_t *word, struct record_page *out)
{
	bool others = false;

	for (unsigned space = 0; space < RECORD_SPACES; space++)
		for (struct record_group *g = record_group(r, r->of[space].first); g; g = record_group(r, g->next))
			for (uint64_t has = g->has; has; has &= has - 1) {
				struct record_page p = record_page_at(g, (unsigned)__builtin_ctzll(has));

				if ((p.gfn ^ gfn) & (RECORD_FRAMES - 1) || !(p.rights & right))
					continue;
				others = true;
				if (p.gfn != gfn)
					continue;
				*out = p;
				return true;
			}
	*word = others ? RECORD_MANY : 0;
	return false;
}

bool record_with(struct record *r, uint64_t gfn, enum shadow_rights right, struct record_page *out)
{
	uint32_t *word = (right == SHADOW_WRITE ? r->writes : r->runs) + (gfn & (RECORD_FRAMES - 1));

	if (!*word)
		return false;
	if (*word == RECORD_MANY)
		return search(r, gfn, right, word, out);
	*out = record_page_at(&r->group[(*word - 1) / RECORD_GROUP], (*word - 1) % RECORD_GROUP);
	return out->gfn == gfn;
}

// -- pages ------------------------------------------------------------------------------------------------------------

bool record_find(const struct record *r, unsigned space, uint64_t vpn, struct record_page *out)
{
	uint32_t number = r->index[index_of(r, space, vpn)];
	unsigned i = vpn % RECORD_GROUP;

	if (!number || !(r->group[number - 1].has >> i & 1))
		return false;
	*out = record_page_at(&r->group[number - 1], i);
	return true;
}

void record_note(struct record *r, const struct record_page *p)
{
	unsigned at = index_of(r, p->space, p->vpn), i = p->vpn % RECORD_GROUP;
	struct record_group *g;

	if (!r->index[at])
		r->index[at] = (uint32_t)(make_group(r, p->space, p->vpn) - r->group) + 1;
	g = &r->group[r->index[at] - 1];
	if (g->has >> i & 1)
		forget_frame(r, g, i);
	else
		r->of[p->space].pages++;
	g->has |= BIT64(i);
	g->page[i] = (uint32_t)p->gfn | p->rights << 24;
	note_frame(r, g, i, p->rights);
}

static void forget_page(struct record *r, struct record_group *g, unsigned i)
{
	forget_frame(r, g, i);
	g->has &= ~BIT64(i);
	r->of[g->space].pages--;
}

static bool forget_in(struct record *r, struct record_group *g, uint64_t vpn, uint64_t pages)
{
	bool any = false;

	for (uint64_t has = g->has; has; has &= has - 1) {
		unsigned i = (unsigned)__builtin_ctzll(has);

		if (g->first + i - vpn >= pages)
			continue;
		forget_page(r, g, i);
		any = true;
	}
	if (!g->has)
		free_group(r, g);
	return any;
}

bool record_forget(struct record *r, unsigned space, uint64_t vpn, uint64_t pages)
{
	struct record_group *next;
	bool any = false;

	if (pages > r->of[space].pages) {
		for (struct record_group *g = record_group(r, r->of[space].first); g; g = next) {
			next = record_group(r, g->next);
			any |= forget_in(r, g, vpn, pages);
		}
		return any;
	}
	for (uint64_t at = first_of(vpn); at < vpn + pages; at += RECORD_GROUP) {
		uint32_t number = r->index[index_of(r, space, at)];

		any |= number && forget_in(r, &r->group[number - 1], vpn, pages);
	}
	return any;
}

void record_forget_all(struct record *r, unsigned space)
{
	while (r->of[space].first)
		forget_in(r, record_group(r, r->of[space].first), 0, BIT64(36));
}
