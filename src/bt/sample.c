// SPDX-License-Identifier: MIT
//
// Which hot units take the time. An entry of its own (site.c) takes two loads off the way from an address to its data,
// but is a cache line that nobody else uses, and must be filled anew wherever the page changes: code that runs a little
// here and a little there is better off with the software TLB's own entries, which all share. So a hot unit begins with
// checks by address; one that the timer's signal meets again and again is favoured: made anew, with entries.
//
// Invariant: nothing depends on a sample but the form of checks. A guest that never has a timer has no favoured units.
#include "bt/bt.h"
#include "bt/entry.h"

enum {
	ENOUGH = 2, WINDOW = 1 << (31 - 20), // samples of one unit, within 2^31 cycles (move_clock) of each other
};

void bt_sample(struct vcpu *v, const void *host_rip)
{
	bt_of(v)->sampled = host_rip;
}

void sample_remake(struct bt *b, struct tu *t)
{
	t->favour = FAVOUR_WANTED;
	tc_unlink_incoming(b, t);
	tc_leave_tables(b, t);
}

void sample_serve(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	struct tu *t = tc_owner(b, b->sampled);
	uint32_t now = move_clock();

	b->sampled = NULL;
	if (!t || t->dead || t->tier != TIER_HOT || t->favour != FAVOUR_NONE || t->mode & (MODE_ONE | MODE_ALONE) ||
	    t->gpa2 != ~UINT64_C(0))
		return;
	t->samples = now - t->sampled > WINDOW ? 1 : t->samples + 1;
	t->sampled = now;
	if (t->samples >= ENOUGH)
		sample_remake(b, t);
}
