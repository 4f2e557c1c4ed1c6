// SPDX-License-Identifier: MIT
//
// Timers on the virtual clock. There are few, so the earliest is found by looking at all. The owner of the bus hears
// of a new earliest deadline through deadline_changed and arms one host timer with it; when that has expired it calls
// bus_run_timers. A timer is off before it fires; a device that wants more sets it again, later than the `now` it got.
#include "base/assert.h"
#include "bus/bus.h"

static struct timer *timer_earliest(const struct bus *b)
{
	struct timer *best = NULL;

	for (unsigned i = 0; i < b->ntimers; i++) {
		struct timer *t = b->timers[i];

		if (t->deadline && (!best || t->deadline < best->deadline))
			best = t;
	}
	return best;
}

static void bus_tell_deadline(struct bus *b, bool always)
{
	struct timer *t = timer_earliest(b);
	uint64_t deadline = t ? t->deadline : 0;

	if (!always && deadline == b->earliest)
		return;
	b->earliest = deadline;
	if (b->deadline_changed)
		b->deadline_changed(b->opaque, deadline);
}

void timer_init(struct bus *b, struct timer *t, void (*fire)(void *, uint64_t), void *opaque)
{
	ASSERT(b->ntimers < TIMERS_MAX);
	*t = (struct timer){fire, opaque, 0};
	b->timers[b->ntimers++] = t;
}

void timer_set(struct bus *b, struct timer *t, uint64_t deadline)
{
	t->deadline = deadline;
	if (!b->in_timers)
		bus_tell_deadline(b, false);
}

uint64_t bus_run_timers(struct bus *b)
{
	uint64_t now = bus_now(b);
	struct timer *t;

	ASSERT(!b->in_timers);
	b->in_timers = true;
	for (unsigned i = 0; i < 4 * TIMERS_MAX && (t = timer_earliest(b)) && t->deadline <= now; i++) {
		t->deadline = 0;
		t->fire(t->opaque, now);
	}
	b->in_timers = false;
	bus_tell_deadline(b, true);
	return b->earliest;
}
