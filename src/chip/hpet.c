// SPDX-License-Identifier: MIT
//
// After the "IA-PC HPET Specification". The main counter is the virtual clock plus an offset while it runs. A
// comparator matches when the counter equals it; one that is already behind waits for the counter to come round.
// Periodic ones that could not be served in time are served once, not once for each period missed. One of which nothing
// would be heard (edges, interrupts disabled: what Linux leaves behind) has no deadline; it catches up when looked at.
// An edge stays high until the next one or until its timer is turned off or led elsewhere: the 8259A forgets a request
// that has gone before it is acknowledged.
#include "chip/hpet.h"

enum { REG_CAPS = 0x00, REG_CONFIG = 0x10, REG_STATUS = 0x20, REG_COUNTER = 0xf0, REG_TIMERS = 0x100,
	TIMER_STRIDE = 0x20 };
enum { T_CONFIG = 0x00, T_COMPARATOR = 0x08, T_FSB = 0x10 };
enum { CONFIG_ENABLE = BIT(0), CONFIG_LEGACY = BIT(1) };
enum { TC_LEVEL = BIT(1), TC_ENABLE = BIT(2), TC_PERIODIC = BIT(3), TC_PERIODIC_CAP = BIT(4), TC_64 = BIT(5),
	TC_SET = BIT(6), TC_32MODE = BIT(8), TC_ROUTE_SHIFT = 9, TC_ROUTE = 31 << TC_ROUTE_SHIFT,
	TC_WRITABLE = TC_LEVEL | TC_ENABLE | TC_PERIODIC | TC_SET | TC_32MODE | TC_ROUTE };
#define HPET_CAPS (UINT64_C(10000000) << 32 | 0x8086a001 | (HPET_TIMERS - 1) << 8)
#define TC_FIXED ((uint64_t)BIT(HPET_GSI) << 32 | TC_PERIODIC_CAP | TC_64)
#define FAR_AWAY (UINT64_C(1) << 60) // ticks: no such deadline is armed

bool hpet_legacy(const struct hpet *c)
{
	return c->config & CONFIG_LEGACY;
}

static bool hpet_runs(const struct hpet *c)
{
	return c->config & CONFIG_ENABLE;
}

static uint64_t hpet_ticks(struct hpet *c)
{
	return bus_now(c->dev.bus) / HPET_NS_PER_TICK;
}

static uint64_t hpet_counter(struct hpet *c)
{
	return hpet_runs(c) ? c->counter + hpet_ticks(c) : c->counter;
}

static unsigned timer_index(const struct hpet_timer *t)
{
	return t - t->hpet->timers;
}

static unsigned timer_gsi(const struct hpet_timer *t)
{
	unsigned n = timer_index(t);

	if (hpet_legacy(t->hpet) && n < 2)
		return n == 0 ? 0 : 8;
	return t->config >> TC_ROUTE_SHIFT & 31;
}

static uint64_t timer_mask(const struct hpet_timer *t)
{
	return t->config & TC_32MODE ? UINT32_MAX : UINT64_MAX;
}

// GSI 2 is ISA's IRQ 0 on this board, whose number in the board's own count is 0.
static void timer_drive(struct hpet_timer *t, bool level)
{
	unsigned gsi = timer_gsi(t);

	if (t->hpet->set_gsi)
		t->hpet->set_gsi(t->hpet->opaque, gsi == HPET_GSI ? 0 : gsi, level);
}

static void timer_interrupt(struct hpet_timer *t)
{
	struct hpet *c = t->hpet;

	if (t->config & TC_LEVEL)
		c->status |= BIT(timer_index(t));
	if (!(t->config & TC_ENABLE))
		return;
	if (!(t->config & TC_LEVEL))
		timer_drive(t, false);
	timer_drive(t, true);
}

// Before a timer's line becomes another, or its way of driving it.
static void timer_let_go(struct hpet_timer *t)
{
	if (t->config & TC_ENABLE)
		timer_drive(t, false);
}

static void timer_take_up(struct hpet_timer *t)
{
	if ((t->config & TC_ENABLE) && (t->config & TC_LEVEL) && (t->hpet->status & BIT(timer_index(t))))
		timer_drive(t, true);
}

static bool timer_is_heard(const struct hpet_timer *t)
{
	return t->config & (TC_ENABLE | TC_LEVEL);
}

// Ticks from the counter's value since to the match.
static uint64_t timer_left(const struct hpet_timer *t, uint64_t since)
{
	uint64_t left = (t->comparator - since) & timer_mask(t);

	return left ? left : timer_mask(t); // within a tick of a whole round
}

static void timer_arm(struct hpet_timer *t)
{
	struct hpet *c = t->hpet;
	uint64_t left, deadline = 0;

	t->since = hpet_counter(c);
	left = timer_left(t, t->since);
	if (hpet_runs(c) && left < FAR_AWAY && timer_is_heard(t))
		deadline = (hpet_ticks(c) + left) * HPET_NS_PER_TICK;
	timer_set(c->dev.bus, &t->timer, deadline);
}

// A periodic comparator that has matched since it was armed is a number of periods on.
static void timer_catch_up(struct hpet_timer *t)
{
	uint64_t mask = timer_mask(t), period = t->period & mask;
	uint64_t gone = hpet_counter(t->hpet) - t->since, left = timer_left(t, t->since);

	if (!(t->config & TC_PERIODIC) || !period || gone < left)
		return;
	t->comparator = (t->comparator + ((gone - left) / period + 1) * period) & mask;
	t->since += gone;
}

static void hpet_arm_all(struct hpet *c)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		timer_arm(&c->timers[i]);
}

static void timer_fire(void *opaque, uint64_t now)
{
	struct hpet_timer *t = opaque;

	timer_catch_up(t);
	timer_interrupt(t);
	timer_arm(t);
}

static void timer_write_config(struct hpet_timer *t, uint64_t value)
{
	bool moves = (t->config ^ value) & (TC_ENABLE | TC_LEVEL | TC_ROUTE);

	timer_catch_up(t);
	if (moves)
		timer_let_go(t);
	t->config = TC_FIXED | (value & TC_WRITABLE);
	if (moves)
		timer_take_up(t);
	if (t->config & TC_32MODE) {
		t->comparator = (uint32_t)t->comparator;
		t->period = (uint32_t)t->period;
	}
	timer_arm(t);
}

static void timer_write_comparator(struct hpet_timer *t, uint64_t value)
{
	value &= timer_mask(t);
	if (!(t->config & TC_PERIODIC) || (t->config & TC_SET))
		t->comparator = value;
	if (t->config & TC_PERIODIC)
		t->period = value;
	t->config &= ~(uint64_t)TC_SET;
	timer_arm(t);
}

static void hpet_write_config(struct hpet *c, uint64_t value)
{
	bool moves = (c->config ^ value) & CONFIG_LEGACY;
	uint64_t counter = hpet_counter(c);

	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		timer_catch_up(&c->timers[i]);
		if (moves)
			timer_let_go(&c->timers[i]);
	}
	c->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	c->counter = hpet_runs(c) ? counter - hpet_ticks(c) : counter;
	if (moves && c->legacy_changed)
		c->legacy_changed(c->opaque, hpet_legacy(c));
	for (unsigned i = 0; moves && i < HPET_TIMERS; i++)
		timer_take_up(&c->timers[i]);
	hpet_arm_all(c);
}

static void hpet_write_status(struct hpet *c, uint64_t value)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		if (!(value & c->status & BIT(i)))
			continue;
		c->status &= ~(uint64_t)BIT(i);
		timer_drive(&c->timers[i], false);
	}
}

static uint64_t hpet_register(struct hpet *c, uint64_t reg)
{
	uint64_t n = (reg - REG_TIMERS) / TIMER_STRIDE;

	switch (reg) {
	case REG_CAPS:
		return HPET_CAPS;
	case REG_CONFIG:
		return c->config;
	case REG_STATUS:
		return c->status;
	case REG_COUNTER:
		return hpet_counter(c);
	}
	if (reg < REG_TIMERS || n >= HPET_TIMERS)
		return 0;
	switch (reg % TIMER_STRIDE) {
	case T_CONFIG:
		return c->timers[n].config;
	case T_COMPARATOR:
		timer_catch_up(&c->timers[n]);
		return c->timers[n].comparator;
	case T_FSB:
		return c->timers[n].fsb;
	}
	return 0;
}

static void hpet_write_register(struct hpet *c, uint64_t reg, uint64_t value)
{
	uint64_t n = (reg - REG_TIMERS) / TIMER_STRIDE;

	switch (reg) {
	case REG_CONFIG:
		hpet_write_config(c, value);
		return;
	case REG_STATUS:
		hpet_write_status(c, value);
		return;
	case REG_COUNTER: // only while halted
		if (hpet_runs(c))
			return;
		c->counter = value;
		hpet_arm_all(c);
		return;
	}
	if (reg < REG_TIMERS || n >= HPET_TIMERS)
		return;
	switch (reg % TIMER_STRIDE) {
	case T_CONFIG:
		timer_write_config(&c->timers[n], value);
		break;
	case T_COMPARATOR:
		timer_write_comparator(&c->timers[n], value);
		break;
	case T_FSB:
		c->timers[n].fsb = value;
		break;
	}
}

static uint64_t hpet_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	return hpet_register((struct hpet *)d, off & ~UINT64_C(7)) >> (off & 7) * 8;
}

// A write of a part keeps the rest; the status register is write-one-to-clear, so there the rest is zero. The high half
// of a periodic comparator written alone belongs to the value of which the low half was written just before.
static void hpet_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct hpet *c = (struct hpet *)d;
	uint64_t reg = off & ~UINT64_C(7), mask = size >= 8 ? UINT64_MAX : BIT64(size * 8) - 1;
	unsigned shift = (off & 7) * 8;
	uint64_t old = reg == REG_STATUS || (reg >= REG_TIMERS && reg % TIMER_STRIDE == T_COMPARATOR && !shift) ?
			       0 : hpet_register(c, reg);

	hpet_write_register(c, reg, (old & ~(mask << shift)) | (value & mask) << shift);
}

static void hpet_reset(struct dev *d)
{
	struct hpet *c = (struct hpet *)d;

	hpet_write_config(c, 0);
	c->status = c->counter = 0;
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		struct hpet_timer *t = &c->timers[i];

		t->hpet = c;
		timer_let_go(t);
		t->config = TC_FIXED;
		t->comparator = UINT64_MAX;
		t->period = t->fsb = t->since = 0;
		timer_set(c->dev.bus, &t->timer, 0);
	}
}

static void hpet_init(struct dev *d)
{
	struct hpet *c = (struct hpet *)d;

	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		c->timers[i].hpet = c;
		timer_init(d->bus, &c->timers[i].timer, timer_fire, &c->timers[i]);
	}
}

const struct dev_class hpet_class = {"hpet", sizeof(struct hpet), 8, hpet_init, hpet_reset, hpet_read, hpet_write};
