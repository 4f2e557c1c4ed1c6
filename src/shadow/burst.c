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
	struct shadow_space *p = space_here(v);
	uint64_t at = __builtin_ia32_rdtsc();

	if (v->shared->config.memory != MEMORY_AUTO)
		return;
	if (at - p->burst_began > microseconds(v, WITHIN) || v->rip - p->burst_rip + LOOP > 2 * LOOP) {
		p->burst_began = at;
		p->burst_rip = v->rip;
		p->burst = 0;
	}
	if (++p->burst < BURST)
		return;
	// Again, soon after the last time: for longer.
	p->aside = at - p->aside_until < microseconds(v, 1000) ? MIN(p->aside * 2, (unsigned)ASIDE_MAX) : ASIDE;
	p->aside_until = at + microseconds(v, 1000 * p->aside);
	p->burst = 0;
	bt_of(v)->st->shadow_bursts++;
}

bool burst_goes_on(struct vcpu *v, const struct shadow_space *p)
{
	return p->burst_began < p->aside_until && __builtin_ia32_rdtsc() < p->aside_until;
}
