// SPDX-License-Identifier: MIT
//
// HLT: the vCPU's process sleeps on the pending word. What wakes it: the host timer's signal (the earliest virtual
// timer), and the app, which sets a bit and looks at vcpu_asleep. An idle guest costs nothing between two of these. A
// guest that waits for a disk is woken within microseconds, which is less than a sleep and a wake-up on another host
// processor take: after a short sleep the next one begins with looking on. The limit leaves room for a wake-up on top
// of a request, or one sleep would lead to the next.
#include "vmm/linux.h"
#include "vmm/vmm.h"

void vmm_yield(struct vcpu *v)
{
	enum { PAUSES = 64 };

	for (unsigned i = 0; i < PAUSES; i++)
		linux_pause();
	linux_call3(SYS_sched_yield, 0, 0, 0);
}

unsigned vmm_processors(const struct vcpu *v)
{
	return vmm_of(v)->processors;
}

void vmm_wake(struct vcpu *v, unsigned index)
{
	if (v->shared->vcpu_asleep[index])
		linux_futex_wake(&((struct vcpu *)ZONE_VCPU(index))->pending);
}

enum { LOOK_ON_NS = 300000, YIELD_TURNS = 16 };

static bool look_on(struct vcpu *v, uint64_t since)
{
	for (unsigned i = 1; !v->pending && linux_rdtsc() - since < vmm_of(v)->halt_spin; i++) {
		linux_pause();
		if (!(i % YIELD_TURNS))
			linux_call3(SYS_sched_yield, 0, 0, 0);
	}
	return v->pending != 0;
}

void vmm_halt(struct vcpu *v)
{
	_Atomic uint32_t *asleep = &v->shared->vcpu_asleep[v->index];
	uint64_t since = linux_rdtsc(), ns;

	vcpu_stats(v)->halts++;
	if (v->counting && vmm_of(v)->armed) { // no time passes while nothing runs: it is the next timer's at once
		v->count_skipped += (uint64_t)v->count_left;
		v->count_left = 0;
		return;
	}
	if (!look_on(v, since)) {
		*asleep = VCPU_ASLEEP;
		while (!v->pending)
			linux_futex_wait(&v->pending, 0, NULL);
		*asleep = VCPU_AWAKE;
	}
	pmu_slept(v, linux_rdtsc() - since);
	ns = vmm_tsc_to_ns(v, linux_rdtsc() - since);
	vmm_of(v)->halt_spin = ns < LOOK_ON_NS ? v->shared->config.tsc_hz / (1000000000 / LOOK_ON_NS) : 0;
	vcpu_stats(v)->halt_ns += ns;
}
