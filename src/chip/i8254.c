// SPDX-License-Identifier: MIT
//
// Intel 8254 after its data sheet, modes 0 to 5, binary and BCD. No channel ever runs: the count and the output at
// any moment are computed from the clock at which the counting element was loaded. Only channel 0 has a timer, for
// the next rise of its output. Its line to the interrupt controllers shows modes 2 to 4 as a short low pulse at each
// rise, so that a processor that was away during the high half of a square wave still finds the request.
#include "chip/i8254.h"

#include "base/muldiv.h"

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };
enum { BACK_NO_COUNT = BIT(5), BACK_NO_STATUS = BIT(4) };
enum { STATUS_OUT = BIT(7), STATUS_NULL = BIT(6) };
enum { P61_GATE = BIT(0), P61_SPEAKER = BIT(1), P61_WRITABLE = 0x0f, P61_REFRESH = BIT(4), P61_OUT2 = BIT(5) };
enum { REFRESH_NS = 15085, NS_PER_S = 1000000000 };

static int64_t pit_clock(struct i8254 *c)
{
	return muldiv64(bus_now(c->dev.bus), I8254_HZ, NS_PER_S);
}

static unsigned channel_mode(const struct i8254_channel *ch)
{
	unsigned mode = ch->control >> 1 & 7;

	return mode > 5 ? mode - 4 : mode;
}

static unsigned channel_access(const struct i8254_channel *ch)
{
	return ch->control >> 4;
}

static bool channel_bcd(const struct i8254_channel *ch)
{
	return ch->control & 1;
}

static bool mode_periodic(unsigned mode)
{
	return mode == 2 || mode == 3;
}

static bool mode_by_trigger(unsigned mode)
{
	return mode == 1 || mode == 5;
}

static uint32_t from_bcd(uint32_t v)
{
	return (v >> 12 & 15) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static uint32_t to_bcd(uint32_t v)
{
	return v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
}

// Mode 3: the length of the high half.
static uint32_t square_high(uint32_t count)
{
	return (count + 1) / 2;
}

// Clocks since the load; negative before it; take over a count that waited for the end of a period.
static int64_t channel_elapsed(struct i8254_channel *ch, int64_t now)
{
	if (ch->paused)
		return ch->elapsed;
	if (ch->next_at && now >= ch->next_at) {
		ch->count = ch->next_count;
		ch->start = ch->next_at - (ch->next_low ? square_high(ch->count) : 0);
		ch->next_at = 0;
	}
	return now - ch->start;
}

static bool channel_running(const struct i8254_channel *ch)
{
	return ch->loaded && (!mode_by_trigger(channel_mode(ch)) || ch->triggered);
}

static bool channel_out(struct i8254_channel *ch, int64_t now)
{
	unsigned mode = channel_mode(ch);
	int64_t t;

	if (!channel_running(ch))
		return mode != 0;
	t = channel_elapsed(ch, now);
	switch (mode) {
	case 0:
		return t >= ch->count;
	case 1:
		return t < 0 || t >= ch->count;
	case 2:
		return !ch->gate || t < 0 || t % ch->count != ch->count - 1;
	case 3:
		return !ch->gate || t < 0 || t % ch->count < square_high(ch->count);
	default:
		return t != ch->count;
	}
}

static uint32_t square_value(const struct i8254_channel *ch, uint32_t t)
{
	uint32_t in_half = t < square_high(ch->count) ? t : t - square_high(ch->count);

	return ((ch->count & ~1u) - 2 * in_half) & 0xffff;
}

static uint16_t channel_value(struct i8254_channel *ch, int64_t now)
{
	uint32_t modulo = channel_bcd(ch) ? 10000 : 0x10000, value;
	int64_t t = 0;

	if (channel_running(ch))
		t = MAX(channel_elapsed(ch, now), 0);
	if (!ch->count)
		value = 0;
	else if (channel_mode(ch) == 2)
		value = ch->count - t % ch->count;
	else if (channel_mode(ch) == 3)
		value = square_value(ch, t % ch->count);
	else
		value = (ch->count + modulo - t % modulo) % modulo;
	return channel_bcd(ch) ? to_bcd(value) : value;
}

// The first clock after now at which the output rises, or 0 if it will not without further ado.
static int64_t channel_next_rise(struct i8254_channel *ch, int64_t now)
{
	int64_t t = channel_elapsed(ch, now), rise;

	if (!channel_running(ch) || ch->paused)
		return 0;
	switch (channel_mode(ch)) {
	case 0:
	case 1:
		rise = ch->count;
		break;
	case 2:
	case 3:
		if (ch->next_at)
			return ch->next_at + (ch->next_low ? ch->next_count / 2 : 0);
		rise = t < 0 ? ch->count : (t / ch->count + 1) * ch->count;
		break;
	default:
		rise = ch->count + 1;
		break;
	}
	return rise > t ? ch->start + rise : 0;
}

static void pit_arm(struct i8254 *c)
{
	int64_t rise = channel_next_rise(&c->channel[0], pit_clock(c));

	timer_set(c->dev.bus, &c->timer, rise ? muldiv64_up(rise, NS_PER_S, I8254_HZ) : 0);
}

static void pit_fire(void *opaque, uint64_t now)
{
	struct i8254 *c = opaque;

	irq_set(&c->irq, false);
	irq_set(&c->irq, true);
	pit_arm(c);
}

// After a write to a channel: the line follows the output, and the next rise is planned.
static void pit_settle(struct i8254 *c, unsigned n)
{
	if (n)
		return;
	if (channel_mode(&c->channel[0]) == 0)
		irq_set(&c->irq, channel_out(&c->channel[0], pit_clock(c)));
	else
		irq_set(&c->irq, true);
	pit_arm(c);
}

static void channel_load(struct i8254_channel *ch, uint16_t written, int64_t now)
{
	unsigned mode = channel_mode(ch);
	uint32_t count = channel_bcd(ch) ? from_bcd(written) : written;
	int64_t t;

	if (!count)
		count = channel_bcd(ch) ? 10000 : 0x10000;
	if (mode_by_trigger(mode)) { // the present shot goes on with the old count
		ch->next_count = count;
		if (!ch->loaded)
			ch->count = count;
		ch->loaded = true;
		return;
	}
	if (mode_periodic(mode) && ch->loaded && !ch->paused) { // taken over when the period (mode 3: the half) ends
		t = MAX(channel_elapsed(ch, now), 0);
		ch->next_count = count;
		ch->next_at = ch->start + (t / ch->count + 1) * ch->count;
		ch->next_low = mode == 3 && t % ch->count < square_high(ch->count);
		if (ch->next_low)
			ch->next_at -= ch->count / 2;
		return;
	}
	ch->count = count;
	ch->start = now + 1;
	ch->next_at = 0;
	ch->elapsed = 0;
	ch->paused = !ch->gate;
	ch->loaded = true;
}

static void channel_set_gate(struct i8254_channel *ch, bool gate, int64_t now)
{
	unsigned mode = channel_mode(ch);
	bool rises = gate && !ch->gate, falls = !gate && ch->gate;

	if (falls && !mode_by_trigger(mode) && ch->loaded) {
		ch->elapsed = MAX(channel_elapsed(ch, now), 0);
		ch->paused = true;
	}
	ch->gate = gate;
	if (!rises || !ch->loaded)
		return;
	if (mode_by_trigger(mode) || mode_periodic(mode)) {
		if (mode_by_trigger(mode) || ch->next_at)
			ch->count = ch->next_count;
		ch->next_at = 0;
		ch->triggered = true;
		ch->start = now + 1;
	} else if (ch->paused) {
		ch->start = now - ch->elapsed;
	}
	ch->paused = false;
}

static void channel_latch_count(struct i8254_channel *ch, int64_t now)
{
	if (ch->latched)
		return;
	ch->latch = channel_value(ch, now);
	ch->latched = channel_access(ch) == ACCESS_BOTH ? 2 : 1;
}

static void channel_latch_status(struct i8254_channel *ch, int64_t now)
{
	bool null = !ch->loaded || ch->next_at || (mode_by_trigger(channel_mode(ch)) ? !ch->triggered : now < ch->start);

	if (ch->status_latched)
		return;
	ch->status_latched = true;
	ch->status = ch->control | (null ? STATUS_NULL : 0) | (channel_out(ch, now) ? STATUS_OUT : 0);
}

static void pit_read_back(struct i8254 *c, uint8_t word)
{
	int64_t now = pit_clock(c);

	for (unsigned i = 0; i < 3; i++) {
		if (!(word & BIT(i + 1)))
			continue;
		if (!(word & BACK_NO_COUNT))
			channel_latch_count(&c->channel[i], now);
		if (!(word & BACK_NO_STATUS))
			channel_latch_status(&c->channel[i], now);
	}
}

static void pit_write_control(struct i8254 *c, uint8_t word)
{
	unsigned n = word >> 6;
	struct i8254_channel *ch = &c->channel[n];

	if (n == 3) {
		pit_read_back(c, word);
		return;
	}
	if ((word >> 4 & 3) == ACCESS_LATCH) {
		channel_latch_count(ch, pit_clock(c));
		return;
	}
	*ch = (struct i8254_channel){.control = word & 0x3f, .gate = ch->gate, .count = ch->count};
	if (channel_mode(ch) != (ch->control >> 1 & 7u)) // modes 6 and 7 are 2 and 3, and read back as such
		ch->control &= ~BIT(3);
	pit_settle(c, n);
}

static void pit_write_count(struct i8254 *c, unsigned n, uint8_t value)
{
	struct i8254_channel *ch = &c->channel[n];
	unsigned access = channel_access(ch);
	uint16_t count = access == ACCESS_HIGH ? value << 8 : value;

	if (access == ACCESS_BOTH && !ch->first_byte) {
		ch->written_low = value;
		ch->first_byte = true;
		if (channel_mode(ch) == 0) // the first byte stops the count and drops the output
			ch->loaded = false;
		pit_settle(c, n);
		return;
	}
	if (access == ACCESS_BOTH)
		count = value << 8 | ch->written_low;
	ch->first_byte = false;
	channel_load(ch, count, pit_clock(c));
	pit_settle(c, n);
}

static uint8_t channel_read(struct i8254_channel *ch, int64_t now)
{
	unsigned access = channel_access(ch);
	uint16_t value = ch->latched ? ch->latch : channel_value(ch, now);
	bool high = access == ACCESS_HIGH || (access == ACCESS_BOTH && ch->read_high);

	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status;
	}
	if (ch->latched)
		ch->latched--;
	if (access == ACCESS_BOTH)
		ch->read_high = !ch->read_high;
	return high ? value >> 8 : value;
}

bool i8254_out(struct i8254 *c, unsigned channel)
{
	return channel_out(&c->channel[channel], pit_clock(c));
}

static uint8_t port61_read(struct i8254 *c)
{
	bool refresh = bus_now(c->dev.bus) / REFRESH_NS & 1;

	return c->port61 | (refresh ? P61_REFRESH : 0) | (i8254_out(c, 2) ? P61_OUT2 : 0);
}

static void port61_write(struct i8254 *c, uint8_t value)
{
	c->port61 = value & P61_WRITABLE;
	channel_set_gate(&c->channel[2], value & P61_GATE, pit_clock(c));
}

static uint64_t i8254_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct i8254 *c = (struct i8254 *)d;

	if (range == I8254_RANGE_PORT61)
		return port61_read(c);
	return off == 3 ? 0xff : channel_read(&c->channel[off], pit_clock(c));
}

static void i8254_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct i8254 *c = (struct i8254 *)d;

	if (range == I8254_RANGE_PORT61)
		port61_write(c, value);
	else if (off == 3)
		pit_write_control(c, value);
	else
		pit_write_count(c, off, value);
}

// The chip powers up undefined: here, as a square wave that has no count yet, so that no tick wakes a guest which never
// programs it.
static void i8254_reset(struct dev *d)
{
	struct i8254 *c = (struct i8254 *)d;

	c->port61 = 0;
	for (unsigned i = 0; i < 3; i++)
		c->channel[i] = (struct i8254_channel){.control = ACCESS_BOTH << 4 | 3 << 1, .gate = i != 2, .count = 0x10000};
	pit_settle(c, 0);
}

static void i8254_init(struct dev *d)
{
	struct i8254 *c = (struct i8254 *)d;

	timer_init(d->bus, &c->timer, pit_fire, c);
}

const struct dev_class i8254_class = {"i8254", sizeof(struct i8254), 1, i8254_init, i8254_reset, i8254_read,
	i8254_write};
