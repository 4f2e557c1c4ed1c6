// SPDX-License-Identifier: MIT
//
// The virtual clock: nanoseconds since the monitor started, from the host's TSC at the rate the guest is told, and two
// host timers that interrupt translated code when the earliest virtual timer is due. The signal only sets
// PENDING_TIMER; the run loop then runs what is due by the virtual clock: a late signal makes timers late, never wrong,
// and one for nothing does no harm. Where deadlines come at equal distances the timers take turns, each armed one
// deadline ahead: behind the other, so that the host need not set its own hardware anew, which costs most.
// With --deterministic the clock counts instructions, and the count down to the next deadline takes the signal's place.
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <signal.h>
#include <time.h>

enum { MULT_SHIFT = 62 };

// 10^9 * 2^62 / hz: fits for any rate above 250 MHz.
static uint64_t make_mult(uint64_t hz)
{
	const uint64_t ghz = 1000000000;
	uint64_t quotient, rest;

	ASSERT(hz > ghz / 4);
	__asm__("divq %4" : "=a"(quotient), "=d"(rest) : "0"(ghz << MULT_SHIFT), "1"(ghz >> (64 - MULT_SHIFT)), "r"(hz));
	return quotient;
}

void clock_init(struct vmm *vm)
{
	vm->vcpu->counting = vm->vcpu->counts = vm->shared->config.deterministic;
	vm->vcpu->count_left = INT64_MAX;
	vm->vcpu->count_end = INT64_MAX;
	if (!vm->vcpu->index)
		vm->chips->tsc_start = vcpu_cycles(vm->vcpu);
	while (!vm->chips->tsc_start && !vm->vcpu->counting)
		vmm_yield(vm->vcpu);
	vm->tsc_start = vm->chips->tsc_start;
	vm->tsc_mult = make_mult(vm->shared->config.tsc_hz);
	vm->vcpu->tsc_offset = -vm->tsc_start;
}

uint64_t vmm_tsc_to_ns(const struct vcpu *v, uint64_t cycles)
{
	return (uint64_t)((unsigned __int128)cycles * vmm_of(v)->tsc_mult >> MULT_SHIFT);
}

uint64_t vmm_clock_ns(const struct vcpu *v)
{
	return vmm_tsc_to_ns(v, vcpu_cycles(v) - vmm_of(v)->tsc_start);
}

uint64_t vmm_clock_start(const struct vcpu *v)
{
	return vmm_of(v)->tsc_start;
}

uint64_t clock_now(void *opaque)
{
	return vmm_clock_ns(vmm_self()->vcpu);
}

uint64_t vmm_wall_clock_ns(const struct vcpu *v)
{
	struct linux_timespec t = {0, 0};

	if (v->counting)
		return DETERMINISTIC_EPOCH + vmm_clock_ns(v);
	linux_call3(SYS_clock_gettime, CLOCK_REALTIME, (uintptr_t)&t, 0);
	return (uint64_t)t.sec * 1000000000 + (uint64_t)t.nsec;
}

int clock_make_timers(struct vmm *vm)
{
	long failed = 0;

	for (unsigned i = 0; i < HOST_TIMERS && !failed; i++) {
		struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_int = (int)i};

		failed = linux_call3(SYS_timer_create, CLOCK_MONOTONIC, (uintptr_t)&ev, (uintptr_t)&vm->host_timer[i].id);
	}
	return (int)failed;
}

static void set_host_timer(struct host_timer *t, uint64_t deadline, uint64_t now)
{
	uint64_t ns = deadline - now;
	struct {
		struct linux_timespec interval, value;
	} when = {{0, 0}, {(int64_t)(ns / 1000000000), (int64_t)(ns % 1000000000)}};

	t->at = deadline;
	linux_call6(SYS_timer_settime, (uint64_t)t->id, 0, (uintptr_t)&when, 0, 0, 0);
}

// Deadlines that differ by less are one: guests that program each for itself round them.
enum { SLACK_NS = 2000, STEP_MAX_NS = 20000000 };

static bool fits(const struct host_timer *t, uint64_t deadline)
{
	return t->at - deadline <= SLACK_NS;
}

// A deadline that lies ahead. If neither timer fits, the one that has fired is set, or the later.
static void set_host_timers(struct vmm *vm, uint64_t deadline, uint64_t now)
{
	struct host_timer *t = vm->host_timer;
	unsigned i = fits(&t[0], deadline) ? 0 : fits(&t[1], deadline) || !t[1].at ? 1 : t[0].at && t[1].at > t[0].at;
	uint64_t step = deadline - vm->last_armed;

	if (!fits(&t[i], deadline))
		set_host_timer(&t[i], deadline, now);
	if (step - vm->last_step + SLACK_NS <= 2 * SLACK_NS && step < STEP_MAX_NS)
		set_host_timer(&t[!i], deadline + step, now);
	vm->last_step = step;
	vm->last_armed = deadline;
}

// The signal: this one has fired, perhaps early.
void clock_fired(struct vmm *vm, int timer)
{
	vm->host_timer[timer & (HOST_TIMERS - 1)].at = 0;
}

// Virtual time has stood still.
void clock_shifted(struct vmm *vm)
{
	for (unsigned i = 0; i < HOST_TIMERS; i++)
		vm->host_timer[i].at = 0;
}

// A nanosecond is a cycle is an instruction.
static void count_until(struct vcpu *v, uint64_t deadline)
{
	uint64_t now = vcpu_count(v);

	v->count_end = deadline ? MAX(deadline, now) : INT64_MAX;
	v->count_left = (int64_t)(v->count_end - now);
}

// The earliest of two deadlines, of which either may be none.
static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : MIN(a, b);
}

// struct bus, deadline_changed: this vCPU's bus, or the board's. vCPU 0 runs the board's timers.
void clock_arm(void *opaque, uint64_t deadline)
{
	struct vmm *vm = vmm_self();
	uint64_t now;

	if (vm->vcpu->index && opaque == vm->chips) {
		vm->chips->vcpu[0]->pending |= PENDING_TIMER;
		vmm_wake(vm->vcpu, 0);
		return;
	}
	deadline = vm->bus.earliest;
	if (!vm->vcpu->index)
		deadline = earlier(deadline, vm->chips->bus.earliest);
	if (deadline == vm->armed)
		return;
	vm->armed = deadline;
	now = deadline ? clock_now(vm) : 0;
	if (deadline && deadline <= now)
		vm->vcpu->pending |= PENDING_TIMER;
	else if (vm->vcpu->counting)
		count_until(vm->vcpu, deadline);
	else if (deadline)
		set_host_timers(vm, deadline, now);
}
