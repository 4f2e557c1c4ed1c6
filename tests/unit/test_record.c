// SPDX-License-Identifier: MIT
//
// shadow/record.c against a list of what was noted: pages of several spaces at the same addresses and of the same
// frames, noted, changed and forgotten at random; what it says of a page, of a frame's rights, and of a space's number.
#include "shadow/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPACES = 9, VPNS = 600, FRAMES = 80, STEPS = 400000 };

static struct record_page model[SPACES][VPNS]; // vpn 0: none
static unsigned failed;
static uint64_t random_state = 1;

static unsigned pick(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(random_state >> 33) % n;
}

static void check(bool ok, const char *what)
{
	if (!ok && failed++ < 10)
		printf("WRONG %s\n", what);
}

// Three parts of the address space, one of which ends in the last page of all.
static uint64_t vpn_of(unsigned i)
{
	static const uint64_t part[] = {0x400, 0x7f0012345, 0x7fffffffe - 199};

	return part[i / 200] + i % 200;
}

// Some of them are folded to one word.
static uint64_t frame_of(unsigned i)
{
	return i < FRAMES / 2 ? 0x100 + i : 0x100 + i - FRAMES / 2 + RECORD_FRAMES;
}

static void note(struct record *r, unsigned space, unsigned i)
{
	model[space][i] = (struct record_page){vpn_of(i), frame_of(pick(FRAMES)), space, pick(3)};
	record_note(r, &model[space][i]);
}

static void forget(struct record *r, unsigned space, unsigned i, unsigned pages)
{
	bool any = false;

	for (unsigned k = 0; k < VPNS; k++)
		if (model[space][k].vpn && model[space][k].vpn - vpn_of(i) < pages) {
			model[space][k].vpn = 0;
			any = true;
		}
	check(record_forget(r, space, vpn_of(i), pages) == any, "whether something was there to be forgotten");
}

// Take a right from all who have it, as shadow_take_right does.
static void take(struct record *r, uint64_t gfn, enum shadow_rights right)
{
	struct record_page p;
	unsigned n = 0, left = 0;

	for (unsigned s = 0; s < SPACES; s++)
		for (unsigned k = 0; k < VPNS; k++)
			if (model[s][k].vpn && model[s][k].gfn == gfn && model[s][k].rights & right) {
				model[s][k].rights = 0;
				left++;
			}
	check(!left || record_may_have(r, gfn, right), "that nobody had a right");
	while (record_with(r, gfn, right, &p) && n++ < 10000) {
		check(p.gfn == gfn && p.rights & right, "who has a right");
		p.rights = 0;
		record_note(r, &p);
	}
	check(n == left, "how many had a right");
}

static void compare(struct record *r)
{
	for (unsigned s = 0; s < SPACES; s++) {
		uint32_t n = 0, in_groups = 0;

		for (unsigned k = 0; k < VPNS; k++) {
			const struct record_page *m = &model[s][k];
			struct record_page p;
			bool there = record_find(r, s, vpn_of(k), &p);

			check(there == (m->vpn != 0), "whether a page is there");
			check(!there || (p.vpn == m->vpn && p.gfn == m->gfn && p.rights == m->rights && p.space == s), "a page");
			n += m->vpn != 0;
		}
		for (const struct record_group *g = record_group(r, r->of[s].first); g; g = record_group(r, g->next)) {
			check(g->has && g->space == s, "a space's group");
			check(g->next || record_group(r, r->of[s].last) == g, "the last of them");
			in_groups += (unsigned)__builtin_popcountll(g->has);
		}
		check(record_pages(r, s) == n && in_groups == n, "how many pages a space has");
	}
}

int main(void)
{
	struct record *r = calloc(1, sizeof(*r));

	record_init(r);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned space = pick(SPACES), what = pick(100);

		if (what < 70)
			note(r, space, pick(VPNS));
		else if (what < 90)
			forget(r, space, pick(VPNS), pick(3) ? 1 : 1 + pick(300));
		else if (what < 99)
			take(r, frame_of(pick(FRAMES)), pick(2) ? SHADOW_WRITE : SHADOW_EXEC);
		else if (!pick(20)) {
			record_forget_all(r, space);
			memset(model[space], 0, sizeof(model[space]));
		}
		if (step % 4000 == 0)
			compare(r);
	}
	for (unsigned s = 0; s < SPACES; s++)
		record_forget_all(r, s);
	memset(model, 0, sizeof(model));
	compare(r);
	for (unsigned i = 0; i < RECORD_INDEX; i++)
		check(!r->index[i], "an emptied index");
	for (unsigned i = 0; i < FRAMES; i++) { // "many" is found out to be none
		take(r, frame_of(i), SHADOW_WRITE);
		take(r, frame_of(i), SHADOW_EXEC);
		check(!record_may_have(r, frame_of(i), SHADOW_WRITE), "a free frame");
		check(!record_may_have(r, frame_of(i), SHADOW_EXEC), "a free frame");
	}
	check(r->spare == RECORD_GROUPS, "groups that are not in use");
	// As many groups as there are.
	for (unsigned i = 0; record_has_room(r, 1); i++)
		record_note(r, &(struct record_page){(uint64_t)i * RECORD_GROUP, i, i % SPACES, 0});
	check(r->spare == 1, "room");
	for (unsigned s = 0; s < SPACES; s++) // the look wants the oldest first
		check(record_group(r, r->of[s].first)->first == s * RECORD_GROUP, "the oldest");
	for (unsigned s = 0; s < SPACES; s++)
		record_forget_all(r, s);
	check(r->spare == RECORD_GROUPS, "all free again");
	free(r);
	printf("%u failed\n", failed);
	return failed != 0;
}
