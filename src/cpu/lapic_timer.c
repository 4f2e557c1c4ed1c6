// SPDX-License-Identifier: MIT
//
// The local APIC's timer: one-shot, periodic and TSC-deadline, on the bus's virtual clock. Nothing ticks: the current
// count is computed from the clock when it is read, and one bus timer stands at the next expiry. A periodic timer whose
// vCPU was starved skips the periods it missed (they would collapse in IRR anyway) and keeps its phase.
#include "cpu/lapic_internal.h"
#include "base/muldiv.h"

enum { MIN_PERIOD_NS = 5000 }; // a host timer is not armed for less; the count itself stays exact

static enum lapic_timer_mode timer_mode(const struct lapic *a)
{
	return (enum lapic_timer_mode)(a->lvt[LAPIC_LVT_TIMER] >> LVT_TIMER_SHIFT & 3);
}

static uint64_t now_ns(const struct lapic *a)
{
	return a->bus->now(a->bus->opaque);
}

// Nanoseconds per count.
static uint64_t divisor(const struct lapic *a)
{
	uint32_t code = (a->divide & 3) | (a->divide >> 1 & 4);

	return code == 7 ? 1 : UINT64_C(2) << code;
}

static uint64_t expiry(const struct lapic *a)
{
	return a->start + a->count * divisor(a);
}

static void stop(struct lapic *a)
{
	a->start = 0;
	timer_set(a->bus, &a->timer, 0);
}

static void interrupt(struct vcpu *v)
{
	uint32_t lvt = v->lapic.lvt[LAPIC_LVT_TIMER];

	if (!(lvt & LVT_MASKED))
		lapic_deliver(v, (uint8_t)lvt, LAPIC_FIXED, LAPIC_EDGE);
}

static void arm_tsc(struct vcpu *v)
{
	struct lapic *a = &v->lapic;
	uint64_t tsc = vcpu_tsc(v);

	if (!a->tsc_deadline) {
		timer_set(a->bus, &a->timer, 0);
	} else if (tsc >= a->tsc_deadline) {
		a->tsc_deadline = 0;
		timer_set(a->bus, &a->timer, 0);
		interrupt(v);
	} else {
		// One further away than the clock can count is looked at again when half of that has passed.
		uint64_t left = MIN(a->tsc_deadline - tsc, INT64_MAX / 1000);

		timer_set(a->bus, &a->timer, now_ns(a) + muldiv64_up(left, 1000000000, v->shared->config.tsc_hz));
	}
}

static void fire_periodic(struct vcpu *v, uint64_t now)
{
	struct lapic *a = &v->lapic;
	uint64_t period = a->initial * divisor(a), missed = (now - expiry(a)) / period;

	a->start = expiry(a) + missed * period;
	a->count = a->initial;
	timer_set(a->bus, &a->timer, MAX(expiry(a), now + MIN_PERIOD_NS));
	interrupt(v);
}

void lapic_timer_fire(void *opaque, uint64_t now)
{
	struct vcpu *v = opaque;
	struct lapic *a = &v->lapic;

	if (timer_mode(a) == TIMER_TSC_DEADLINE) {
		arm_tsc(v);
		return;
	}
	if (!a->start)
		return;
	if (now < expiry(a)) {
		timer_set(a->bus, &a->timer, expiry(a));
	} else if (timer_mode(a) == TIMER_PERIODIC) {
		fire_periodic(v, now);
	} else {
		stop(a);
		interrupt(v);
	}
}

void lapic_timer_reset(struct vcpu *v)
{
	struct lapic *a = &v->lapic;

	a->divide = a->initial = a->count = 0;
	a->tsc_deadline = 0;
	stop(a);
}

uint32_t lapic_timer_current(struct vcpu *v)
{
	const struct lapic *a = &v->lapic;
	uint64_t counted;

	if (!a->start || timer_mode(a) == TIMER_TSC_DEADLINE)
		return 0;
	counted = (now_ns(a) - a->start) / divisor(a);
	if (counted < a->count)
		return a->count - (uint32_t)counted;
	if (timer_mode(a) != TIMER_PERIODIC)
		return 0;
	return a->initial - (uint32_t)((counted - a->count) % a->initial);
}

void lapic_timer_set_initial(struct vcpu *v, uint32_t count)
{
	struct lapic *a = &v->lapic;

	if (timer_mode(a) == TIMER_TSC_DEADLINE)
		return;
	a->initial = a->count = count;
	if (!count) {
		stop(a);
		return;
	}
	a->start = MAX(now_ns(a), 1);
	timer_set(a->bus, &a->timer, expiry(a));
}

// The count goes on from where it stands, at the new speed.
void lapic_timer_set_divide(struct vcpu *v, uint32_t divide)
{
	struct lapic *a = &v->lapic;
	uint32_t left = lapic_timer_current(v);

	a->divide = divide & 0xb;
	if (!a->start || !left)
		return;
	a->count = left;
	a->start = MAX(now_ns(a), 1);
	timer_set(a->bus, &a->timer, expiry(a));
}

// SDM, "TSC-Deadline Mode": a change to or from it disarms the timer.
void lapic_timer_set_lvt(struct vcpu *v, uint32_t lvt)
{
	struct lapic *a = &v->lapic;
	bool was_tsc = timer_mode(a) == TIMER_TSC_DEADLINE;

	a->lvt[LAPIC_LVT_TIMER] = lvt;
	if (was_tsc != (timer_mode(a) == TIMER_TSC_DEADLINE)) {
		a->tsc_deadline = 0;
		a->initial = a->count = 0;
		stop(a);
	}
}

uint64_t lapic_get_tsc_deadline(struct vcpu *v)
{
	struct lapic *a = &v->lapic;

	if (timer_mode(a) != TIMER_TSC_DEADLINE)
		return 0;
	if (a->tsc_deadline && vcpu_tsc(v) >= a->tsc_deadline)
		arm_tsc(v);
	return a->tsc_deadline;
}

void lapic_set_tsc_deadline(struct vcpu *v, uint64_t deadline)
{
	if (timer_mode(&v->lapic) != TIMER_TSC_DEADLINE)
		return;
	v->lapic.tsc_deadline = deadline;
	arm_tsc(v);
}

void lapic_tsc_changed(struct vcpu *v)
{
	if (timer_mode(&v->lapic) == TIMER_TSC_DEADLINE && v->lapic.tsc_deadline)
		arm_tsc(v);
}
