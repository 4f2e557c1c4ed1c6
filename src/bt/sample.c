// SPDX-License-Identifier: MIT
//
// Which hot units take the time. An entry of its own (site.c) takes two loads off the way from an address to its data,
// but is a cache line that nobody else uses, and must be filled anew wherever the page changes: code that runs a little
// here and a little there is better off with the software TLB's own entries, which all share. So a hot unit begins with
// checks by address; one that the timer's signal meets again and again is favoured: made anew, with entries.
//
// So is one whose checks have often replaced one page by another in the TLB, whose slots do not suffice it then.
//
// Invariant: nothing depends on a sample but the form of checks. A guest that never has a timer has few favoured units.
#include "bt/bt.h"
#include "bt/entry.h"

enum {
	CONFLICTS = 64,
	ENOUGH = 2, WINDOW = 1 << (31 - 20), // samples of one unit, within 2^31 cycles (move_clock) of each other
};

void bt_sample(struct vcpu *v, const void *host_rip)
{
	bt_of(v)->sampled = host_rip;
}

void sample_remake(struct bt *b, struct tu *t)
{
	t->favour = FAVOUR_WANTED;
	tc_isolate(b, t);
}

static bool may_favour(const struct tu *t)
{
	return !t->dead && t->tier == TIER_HOT && t->favour == FAVOUR_NONE && !(t->mode & (MODE_ONE | MODE_ALONE)) &&
	       !tu_straddles(t);
}

void sample_conflict(struct bt *b, struct tu *t)
{
	if (may_favour(t) && ++hot_of(b, t)->conflicts == CONFLICTS)
		sample_remake(b, t);
}

void sample_serve(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	struct tu *t = tc_owner(b, b->sampled);
	uint32_t now = move_clock();
	struct hot_tu *h;

	b->sampled = NULL;
	if (!t || !may_favour(t))
		return;
	h = hot_of(b, t);
	h->samples = now - h->sampled > WINDOW ? 1 : h->samples + 1;
	h->sampled = now;
	if (h->samples >= ENOUGH)
		sample_remake(b, t);
}
