// SPDX-License-Identifier: MIT
//
// The KVM paravirtual clock: two pages of guest RAM, at addresses the guest writes to MSRs, from which it computes time
// out of the TSC by itself. The TSC here is invariant and never adjusted behind the guest's back, so that a page is
// written when it is named (and when the guest sets its TSC) and never again; it says so with the STABLE flag.
// Pages all start from the same pair of TSC and time, the machine's start: time neither steps when a guest moves its
// page nor differs between vCPUs, which STABLE promises.
#include "base/muldiv.h"
#include "cpu/system.h"

#define NS_PER_S UINT64_C(1000000000)

struct kvm_system_time { // the published layout
	uint32_t version;        // odd while it is being written
	uint32_t pad;
	uint64_t tsc_timestamp;  // guest TSC at which
	uint64_t system_time;    // this was the time in ns
	uint32_t tsc_to_system_mul; // ns = ((tsc << shift) * mul) >> 32
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad2[2];
};
_Static_assert(sizeof(struct kvm_system_time) == 32, "kvm_system_time is an interface");

struct kvm_wall_clock {
	uint32_t version, sec, nsec;
};

enum { KVM_CLOCK_ENABLE = BIT(0), KVM_FLAG_STABLE = BIT(0) };

// mul / 2^32 * 2^shift = 10^9 / hz with all 32 bits of mul used.
static void set_scale(struct kvm_system_time *t, uint64_t hz)
{
	uint64_t num = NS_PER_S, den = hz;
	int8_t shift = 0;

	for (; num >= den; shift++)
		den <<= 1;
	for (; num * 2 < den; shift--)
		num <<= 1;
	t->tsc_to_system_mul = (uint32_t)muldiv64(num, UINT64_C(1) << 32, den);
	t->tsc_shift = shift;
}

void kvmclock_update(struct vcpu *v)
{
	gpa_t gpa = v->kvm_system_time & ~(uint64_t)KVM_CLOCK_ENABLE;
	struct kvm_system_time *page, t = {.flags = KVM_FLAG_STABLE};

	if (!(v->kvm_system_time & KVM_CLOCK_ENABLE))
		return;
	page = mem_host(&v->shared->config.mem, gpa, sizeof(*page));
	if (!page)
		return;
	set_scale(&t, v->shared->config.tsc_hz);
	t.tsc_timestamp = vmm_clock_start(v) + v->tsc_offset; // system_time is 0 then
	t.version = (page->version | 1) + 1; // the vCPU that reads it is not running: no odd value is ever seen
	*page = t;
	vcpu_ram_written(v, gpa, sizeof(*page));
}

bool kvmclock_set_system_time(struct vcpu *v, uint64_t value)
{
	gpa_t gpa = value & ~(uint64_t)KVM_CLOCK_ENABLE;

	if ((value & KVM_CLOCK_ENABLE) && !mem_host(&v->shared->config.mem, gpa, sizeof(struct kvm_system_time)))
		return false;
	v->kvm_system_time = value;
	kvmclock_update(v);
	return true;
}

// The wall clock at the moment when the system time was 0.
bool kvmclock_set_wall_clock(struct vcpu *v, uint64_t gpa)
{
	struct kvm_wall_clock *page = mem_host(&v->shared->config.mem, gpa, sizeof(*page));
	uint64_t ns = vmm_wall_clock_ns(v) - vmm_clock_ns(v);

	v->kvm_wall_clock = gpa;
	if (!gpa)
		return true;
	if (!page)
		return false;
	*page = (struct kvm_wall_clock){(page->version | 1) + 1, (uint32_t)(ns / NS_PER_S), (uint32_t)(ns % NS_PER_S)};
	vcpu_ram_written(v, gpa, sizeof(*page));
	return true;
}
