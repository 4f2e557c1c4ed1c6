// SPDX-License-Identifier: MIT
//
// Bursts of true faults: a program uses memory for the first time. In the mapped form each costs a fault of the host's
// besides the guest's own, of code that runs directly more than that, in the checked form nothing. So while they come
// close together, of one loop, the owner's user code runs checked for some milliseconds, aside; its mappings
// stay. Then the new pages are mapped in windows, by hidden faults.
#include "shadow/shadow.h"

enum {
	BURST = 16, WITHIN = 1000,   // so many true faults within so many us
	LOOP = 128,                  // bytes: at most so far apart are their instructions
	ASIDE = 2, ASIDE_MAX = 16,   // ms
};

static uint64_t microseconds(const struct vcpu *v, uint64_t n)
{
	return v->shared->config.tsc_hz / 1000 * n / 1000;
}

void burst_note(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);
	uint64_t at = __builtin_ia32_rdtsc();

	if (v->shared->config.memory != MEMORY_AUTO)
		return;
	if (at - s->burst_began > microseconds(v, WITHIN) || v->rip - s->burst_rip + LOOP > 2 * LOOP) {
		s->burst_began = at;
		s->burst_rip = v->rip;
		s->burst = 0;
	}
	if (++s->burst < BURST)
		return;
	// Again, soon after the last time: for longer.
	s->aside = at - s->aside_until < microseconds(v, 1000) ? MIN(s->aside * 2, (unsigned)ASIDE_MAX) : ASIDE;
	s->aside_until = at + microseconds(v, 1000 * s->aside);
	s->burst = 0;
	bt_of(v)->st->shadow_bursts++;
}

bool burst_goes_on(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);

	return s->burst_began < s->aside_until && __builtin_ia32_rdtsc() < s->aside_until;
}
