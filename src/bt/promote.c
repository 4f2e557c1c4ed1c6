// SPDX-License-Identifier: MIT
//
// From the base tier to the hot one. Base code counts the passes of loops, of calls, of indirect targets and of links
// from hot units (count_pass in routines.c); what has passed so often that it is worth the time is translated anew, and
// what led to the old unit leads to the new.
#include "bt/base.h"

// Each refusal counts down: code that has stopped changing becomes hot after all.
enum { RETIRED_ONCE = 8, RETIRED_OFTEN = 64, RETIRED_MAX = 248 };

// here: the guest is about to run it, and its second page has been looked at.
static bool may_promote(struct bt *b, const struct tu *t, bool here)
{
	uint8_t *retired = &b->base.retired[t->gpa >> PAGE_SHIFT & (RETIRED - 1)];

	if (t->tier != TIER_BASE || t->dead || t->mode & (MODE_ONE | MODE_ALONE) || b->sh->config.stress & STRESS_COLD)
		return false;
	if (*retired >= RETIRED_OFTEN) {
		--*retired;
		return false;
	}
	return here || !tu_straddles(t);
}

// A link that cannot be made again is none.
static void move_links(struct bt *b, struct tu *from, struct tu *to)
{
	uint32_t exit;

	while ((exit = from->incoming)) {
		tc_unlink(b, exit); // tc_link may find no room
		tc_link(b, &b->exit[exit], to);
	}
}

static enum tier next_tier(const struct tu *t)
{
	if (t->favour != FAVOUR_NONE)
		return TIER_FAVOURED;
	return t->remake ? (enum tier)t->tier : TIER_HOT;
}

// The hot unit in its place, or a favoured one in a hot one's, or one that is to be made anew. Only from the run loop.
struct tu *bt_promote(struct vcpu *v, struct tu *t, bool here)
{
	struct bt *b = bt_of(v);
	uint64_t epoch = tc_epoch(b);
	struct tu *hot;

	if (t->favour != FAVOUR_WANTED && !t->remake && !may_promote(b, t, here))
		return t;
	hot = bt_translate(v, t->pc, t->gpa, t->mode, next_tier(t));
	b->st->tu_promoted++;
	if (tc_epoch(b) != epoch)
		return hot;
	if (t->footing)
		footing_join(b, hot);
	move_links(b, t, hot);
	code_unwatch(b, t);
	tc_take_off(b, t);
	return hot;
}

// Has the counter come to its end? It begins anew.
bool bt_passed_often(struct bt *b, uint64_t counter)
{
	uint16_t *passes = &b->base.passes[counter & (PASSES - 1)];

	if (*passes >= (uint16_t)-PASSES_HOT) // steps differ, and places share counters: the end is passed, not met
		return false;
	*passes = (uint16_t)-PASSES_HOT;
	return true;
}

void base_note_retired(struct bt *b, const struct tu *t)
{
	uint8_t *n = &b->base.retired[t->gpa >> PAGE_SHIFT & (RETIRED - 1)];

	if (t->tier == TIER_HOT)
		*n = MIN(*n + RETIRED_ONCE, RETIRED_MAX);
}
