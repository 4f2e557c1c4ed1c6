// SPDX-License-Identifier: MIT
//
// HLT: the vCPU's process sleeps on the pending word. What wakes it: the host timer's signal (the earliest virtual
// timer), and the app, which sets a bit and looks at vcpu_asleep. An idle guest costs nothing between two of these.
#include "vmm/linux.h"
#include "vmm/vmm.h"

void vmm_yield(struct vcpu *v)
{
	enum { PAUSES = 64 };

	for (unsigned i = 0; i < PAUSES; i++)
		linux_pause();
	linux_call3(SYS_sched_yield, 0, 0, 0);
}

void vmm_wake(struct vcpu *v, unsigned index)
{
	if (v->shared->vcpu_asleep[index])
		linux_futex_wake(&((struct vcpu *)ZONE_VCPU(index))->pending);
}

void vmm_halt(struct vcpu *v)
{
	_Atomic uint32_t *asleep = &v->shared->vcpu_asleep[v->index];
	uint64_t since = linux_rdtsc();

	vcpu_stats(v)->halts++;
	if (v->counting && vmm_of(v)->armed) { // no time passes while nothing runs: it is the next timer's at once
		v->count_skipped += (uint64_t)v->count_left;
		v->count_left = 0;
		return;
	}
	*asleep = 1;
	while (!v->pending)
		linux_futex_wait(&v->pending, 0, NULL);
	*asleep = 0;
	vcpu_stats(v)->halt_ns += vmm_tsc_to_ns(v, linux_rdtsc() - since);
}
