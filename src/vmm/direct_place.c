// SPDX-License-Identifier: MIT
//
// Where a world runs, and what it costs. The monitor, the runner and the mapper stay on one processor while they run
// in turn: a hand-over there takes 2 us, and ten times as long from one sleeping processor to another.
#include "vmm/direct.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <time.h>

enum {
	REPIN_MS = 20, FREE_MS = 5,
	MEASURED_TURNS = 64, DEAREST_NS = 20000,
	SHARE_LEAST = DIRECT_WHOLE / 4,
};

static uint64_t read_clock(uint64_t clock)
{
	struct linux_timespec t = {0, 0};

	linux_call3(SYS_clock_gettime, clock, (uintptr_t)&t, 0);
	return (uint64_t)t.sec * 1000000000 + (uint64_t)t.nsec;
}

// (A process has a clock by its number: clock_getcpuclockid.)
uint64_t direct_time_of(const struct world *w)
{
	return w->pid ? read_clock((uint64_t)(~(int64_t)w->pid << 3 | 2)) : 0;
}

// That the monitor and the world have had.
static uint64_t time_of_both(const struct world *w)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID) + direct_time_of(w);
}

// That the monitor and all its worlds have had.
static uint64_t time_of_all(const struct vmm *vm)
{
	uint64_t ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);

	for (unsigned i = 0; i < VMM_WORLDS; i++) // spare ones do nothing
		ns += direct_time_of(&vm->direct.world[i]);
	return ns;
}

// Since they were last put somewhere, what have they had of the time, in parts of DIRECT_WHOLE?
static uint32_t share(const struct vmm *vm, uint64_t now)
{
	uint64_t ns = vmm_tsc_to_ns(vm->vcpu, now - vm->direct.pinned);
	uint64_t halted = vcpu_stats(vm->vcpu)->halt_ns - vm->direct.halted;
	uint64_t had = time_of_all(vm) - vm->direct.worked + halted;

	return (uint32_t)MAX(MIN(had * DIRECT_WHOLE / MAX(ns, UINT64_C(1)), (uint64_t)DIRECT_WHOLE), (uint64_t)SHARE_LEAST);
}

// With several vCPUs each has one of its own as far as there are.
static uint32_t processor_of(const struct vmm *vm)
{
	unsigned left = vm->vcpu->index % vm->processors;

	for (unsigned cpu = 0; cpu < 64 * ARRAY_SIZE(vm->direct.processors); cpu++)
		if (vm->direct.processors[cpu / 64] >> cpu % 64 & 1 && !left--)
			return cpu;
	return 0;
}

// A thread, 0 the monitor, to that one processor if they are pinned, else to all.
static void place_thread(const struct vmm *vm, uint32_t thread)
{
	uint64_t one[ARRAY_SIZE(vm->direct.processors)] = {0};

	one[vm->direct.processor / 64 % ARRAY_SIZE(one)] = BIT64(vm->direct.processor % 64);
	linux_call3(SYS_sched_setaffinity, thread, sizeof(one),
		    (uintptr_t)(vm->direct.pinned ? one : vm->direct.processors));
}

// The monitor at once, each world when it is its turn.
static void place(struct vmm *vm)
{
	vm->direct.placement++;
	place_thread(vm, 0);
}

static void release(struct vmm *vm, uint64_t now)
{
	vm->direct.pinned = 0;
	if (vm->processors > 1)
		place(vm);
	vm->direct.free_until = now + vm->shared->config.tsc_hz / 1000 * FREE_MS;
}

// The monitor to the processor that the host would have it on.
static void choose(struct vmm *vm)
{
	uint64_t now = linux_rdtsc();
	uint32_t cpu = 0;

	if (vm->direct.pinned && now - vm->direct.pinned < vm->shared->config.tsc_hz / 1000 * REPIN_MS)
		return;
	if (vm->direct.pinned) {
		vm->direct.share = share(vm, now);
		if (vm->direct.share < DIRECT_WHOLE / 3 * 2 && vm->processors > 1) {
			release(vm, now); // for a moment, so that the host may find a better one
			return;
		}
	}
	if (now < vm->direct.free_until)
		return;
	if (vm->shared->config.vcpus > 1)
		cpu = processor_of(vm);
	else
		linux_call3(SYS_getcpu, (uintptr_t)&cpu, 0, 0);
	vm->direct.pinned = now;
	vm->direct.processor = cpu;
	if (vm->processors > 1)
		place(vm);
	vm->direct.halted = vcpu_stats(vm->vcpu)->halt_ns;
	vm->direct.worked = time_of_all(vm);
}

void direct_pin(struct vmm *vm, struct world *w)
{
	choose(vm);
	if (w->placed == vm->direct.placement)
		return;
	w->placed = vm->direct.placement;
	place_thread(vm, w->pid);
	place_thread(vm, w->mapper);
}

void vmm_direct_rest(struct vcpu *v)
{
	struct vmm *vm = vmm_of(v);

	if (vm->direct.pinned)
		release(vm, 0);
}

// An average that outliers hardly move: a host that is a guest itself counts time that was stolen from it as well.
static uint64_t average(uint64_t of_late, uint64_t ns)
{
	return MIN((of_late * 7 + MIN(ns, of_late * 2)) / 8 + 1, (uint64_t)DEAREST_NS);
}

// Every so often: what the way there and back, and a command, take of the processor's time on this host. To wait for
// other work of the host's is no part of either: see as_time_passes.
bool direct_measure(struct vmm *vm, struct world *w)
{
	uint64_t start, trip, all;
	uint32_t n = w->queued;

	if (vm->direct.turns++ % MEASURED_TURNS)
		return true;
	start = time_of_both(w);
	w->queued = 0;
	if (!direct_map_now(w))
		return false;
	trip = time_of_both(w) - start;
	vm->direct.trip_ns = average(vm->direct.trip_ns, trip);
	w->queued = n;
	if (!n)
		return true;
	if (!direct_map_now(w))
		return false;
	all = time_of_both(w) - start - trip;
	vm->direct.command_ns = average(vm->direct.command_ns, (all - MIN(all, trip)) / n);
	return true;
}

// Processor time as the time-stamp counter sees it pass: all takes longer where others have their share.
static uint64_t as_time_passes(const struct vmm *vm, uint64_t ns)
{
	return ns * (vm->shared->config.tsc_hz / 1000000) / 1000 * DIRECT_WHOLE / vm->direct.share;
}

uint64_t vmm_direct_trip_cycles(const struct vcpu *v, unsigned world)
{
	const struct vmm *vm = vmm_of(v);

	return as_time_passes(vm, vm->direct.trip_ns) +
	       (vmm_direct_cpuid_faults(v, world) ? 2 * vm->direct.cpuid_cycles : 0) +
	       (vmm_direct_tsc_faults(v, world) ? 2 * vm->direct.tsc_cycles : 0);
}

uint64_t vmm_direct_command_cycles(const struct vcpu *v)
{
	return as_time_passes(vmm_of(v), vmm_of(v)->direct.command_ns);
}
