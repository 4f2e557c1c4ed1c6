// SPDX-License-Identifier: MIT
//
// Motorola MC146818 after its data sheet, with a PC's CMOS bytes behind it. The time is never counted: it is the host's
// plus an offset, which changes when the guest sets the clock. The flags of register C are brought up to date when
// someone looks or the timer fires; the timer runs only while an enabled source could raise the interrupt.
#include "dev/mc146818.h"

#include "base/types.h"
#include "dev/rtc_time.h"

enum { PORT_INDEX, PORT_DATA };
enum { A_UIP = BIT(7), A_DIVIDER = 0x70, A_DIVIDER_32K = 0x20, A_RATE = 0x0f };
enum { C_IRQF = BIT(7), C_PF = BIT(6), C_AF = BIT(5), C_UF = BIT(4), D_VALID = BIT(7) };
enum { ALARM_ANY = 0xc0 };
enum { BASE_LOW = 0x15, EXT_LOW = 0x17, EXT2_LOW = 0x30, EXT16M_LOW = 0x34, HIGH_LOW = 0x5b, CPUS = 0x5f };
#define NS_PER_S INT64_C(1000000000)
#define UIP_NS INT64_C(244141)

static int64_t rtc_now(struct mc146818 *c)
{
	if (c->stopped)
		return c->stopped_at;
	return (c->realtime ? c->realtime(c->opaque) : 0) + c->offset;
}

static int64_t floor_seconds(int64_t ns)
{
	return ns / NS_PER_S - (ns % NS_PER_S < 0);
}

static struct rtc_time rtc_time_now(struct mc146818 *c)
{
	return rtc_time_from_seconds(floor_seconds(rtc_now(c)));
}

// -- Events ----------------------------------------------------------------------------------------------------------

// Ticks of the periodic interrupt up to a moment; 0 if it is off. Rates 1 and 2 are those of 8 and 9.
static int64_t rtc_periods(const struct mc146818 *c, int64_t ns)
{
	unsigned rate = c->cmos[RTC_A] & A_RATE;
	int64_t seconds = floor_seconds(ns), hz;

	if (!rate)
		return 0;
	if (rate <= 2)
		rate += 7;
	hz = 32768 >> (rate - 1);
	return seconds * hz + (ns - seconds * NS_PER_S) * hz / NS_PER_S;
}

static int64_t rtc_next_period(const struct mc146818 *c, int64_t ns)
{
	unsigned rate = c->cmos[RTC_A] & A_RATE;
	int64_t hz = 32768 >> ((rate <= 2 ? rate + 7 : rate) - 1);
	int64_t next = rtc_periods(c, ns) + 1;

	return next / hz * NS_PER_S + (next % hz * NS_PER_S + hz - 1) / hz;
}

static bool alarm_field(const struct mc146818 *c, unsigned reg, unsigned value, bool hour)
{
	uint8_t b = c->cmos[RTC_B], alarm = c->cmos[reg];

	if ((alarm & ALARM_ANY) == ALARM_ANY)
		return true;
	return (hour ? rtc_decode_hour(alarm, b) : rtc_decode(alarm, b)) == value;
}

// The first second after `second` that matches the alarm, within a day; -1: none.
static int64_t rtc_next_alarm(const struct mc146818 *c, int64_t second)
{
	int64_t s = second + 1, end = second + 86400;

	while (s <= end) {
		struct rtc_time t = rtc_time_from_seconds(s);

		if (!alarm_field(c, RTC_HOURS_ALARM, t.hour, true))
			s += 3600 - t.minute * 60 - t.second;
		else if (!alarm_field(c, RTC_MINUTES_ALARM, t.minute, false))
			s += 60 - t.second;
		else if (!alarm_field(c, RTC_SECONDS_ALARM, t.second, false))
			s++;
		else
			return s;
	}
	return -1;
}

static void rtc_update_irq(struct mc146818 *c)
{
	uint8_t flags = c->cmos[RTC_C] & c->cmos[RTC_B] & (C_PF | C_AF | C_UF);

	if (flags)
		c->cmos[RTC_C] |= C_IRQF;
	else
		c->cmos[RTC_C] &= ~C_IRQF;
	irq_set(&c->irq, flags);
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

static void rtc_arm(struct mc146818 *c)
{
	uint8_t wanted = c->cmos[RTC_B] & ~c->cmos[RTC_C];
	int64_t next = -1, now = c->seen, alarm;

	if (c->stopped) {
		timer_set(c->dev.bus, &c->timer, 0);
		return;
	}
	if ((wanted & RTC_B_PIE) && (c->cmos[RTC_A] & A_RATE))
		next = rtc_next_period(c, now);
	if (wanted & RTC_B_UIE)
		next = sooner(next, (floor_seconds(now) + 1) * NS_PER_S);
	if (wanted & RTC_B_AIE) {
		alarm = rtc_next_alarm(c, floor_seconds(now));
		next = sooner(next, alarm < 0 ? -1 : alarm * NS_PER_S);
	}
	timer_set(c->dev.bus, &c->timer, next < 0 ? 0 : bus_now(c->dev.bus) + MAX(next - now, 1));
}

// Set the flags of what has happened since the last look.
static void rtc_catch_up(struct mc146818 *c)
{
	int64_t now = rtc_now(c), was = c->seen, alarm;

	if (now > was && !c->stopped) {
		if (rtc_periods(c, now) != rtc_periods(c, was))
			c->cmos[RTC_C] |= C_PF;
		if (floor_seconds(now) != floor_seconds(was)) {
			c->cmos[RTC_C] |= C_UF;
			alarm = rtc_next_alarm(c, floor_seconds(was));
			if (alarm >= 0 && alarm <= floor_seconds(now))
				c->cmos[RTC_C] |= C_AF;
		}
	}
	c->seen = now;
	rtc_update_irq(c);
}

static void rtc_fire(void *opaque, uint64_t now)
{
	rtc_catch_up(opaque);
	rtc_arm(opaque);
}

// -- Registers -------------------------------------------------------------------------------------------------------

static uint8_t rtc_read_time(struct mc146818 *c, unsigned reg)
{
	struct rtc_time t = rtc_time_now(c);
	uint8_t b = c->cmos[RTC_B];

	switch (reg) {
	case RTC_SECONDS:
		return rtc_encode(t.second, b);
	case RTC_MINUTES:
		return rtc_encode(t.minute, b);
	case RTC_HOURS:
		return rtc_encode_hour(t.hour, b);
	case RTC_WEEKDAY:
		return rtc_encode(t.weekday, b);
	case RTC_DAY:
		return rtc_encode(t.day, b);
	case RTC_MONTH:
		return rtc_encode(t.month, b);
	case RTC_YEAR:
		return rtc_encode(t.year % 100, b);
	default:
		return rtc_encode(t.year / 100, b);
	}
}

static void rtc_set_now(struct mc146818 *c, int64_t ns)
{
	if (c->stopped)
		c->stopped_at = ns;
	else
		c->offset += ns - rtc_now(c);
	c->seen = ns;
}

// Out-of-range values are cut so that the calendar stays one; the fraction of the second is kept.
static void rtc_write_time(struct mc146818 *c, unsigned reg, uint8_t value)
{
	int64_t now = rtc_now(c);
	struct rtc_time t = rtc_time_now(c);
	unsigned v = rtc_decode(value, c->cmos[RTC_B]);

	switch (reg) {
	case RTC_SECONDS:
		t.second = MIN(v, 59u);
		break;
	case RTC_MINUTES:
		t.minute = MIN(v, 59u);
		break;
	case RTC_HOURS:
		t.hour = MIN(rtc_decode_hour(value, c->cmos[RTC_B]), 23u);
		break;
	case RTC_DAY:
		t.day = MAX(1u, MIN(v, 31u));
		break;
	case RTC_MONTH:
		t.month = MAX(1u, MIN(v, 12u));
		break;
	case RTC_YEAR:
		t.year = t.year / 100 * 100 + MIN(v, 99u);
		break;
	case RTC_CENTURY:
		t.year = t.year % 100 + MIN(v, 99u) * 100;
		break;
	}
	rtc_set_now(c, rtc_time_to_seconds(&t) * NS_PER_S + (now - floor_seconds(now) * NS_PER_S));
}

static bool is_time(unsigned reg)
{
	return reg == RTC_CENTURY || (reg <= RTC_YEAR && reg != RTC_SECONDS_ALARM && reg != RTC_MINUTES_ALARM &&
				      reg != RTC_HOURS_ALARM);
}

// SET in register B, or a divider other than 32 kHz, holds the clock.
static void rtc_hold(struct mc146818 *c)
{
	bool stop = (c->cmos[RTC_B] & RTC_B_SET) || (c->cmos[RTC_A] & A_DIVIDER) != A_DIVIDER_32K;
	int64_t now = rtc_now(c);

	if (stop == c->stopped)
		return;
	c->stopped = stop;
	if (stop)
		c->stopped_at = now;
	else
		rtc_set_now(c, now);
}

static uint8_t rtc_read_a(struct mc146818 *c)
{
	int64_t now = rtc_now(c);
	int64_t left = NS_PER_S - (now - floor_seconds(now) * NS_PER_S);
	bool uip = !c->stopped && left <= UIP_NS;

	return c->cmos[RTC_A] | (uip ? A_UIP : 0);
}

static uint8_t rtc_read_c(struct mc146818 *c)
{
	uint8_t value;

	rtc_catch_up(c);
	value = c->cmos[RTC_C];
	c->cmos[RTC_C] = 0;
	rtc_update_irq(c);
	rtc_arm(c);
	return value;
}

static uint8_t rtc_read_register(struct mc146818 *c, unsigned reg)
{
	if (is_time(reg))
		return rtc_read_time(c, reg);
	switch (reg) {
	case RTC_A:
		return rtc_read_a(c);
	case RTC_C:
		return rtc_read_c(c);
	case RTC_D:
		return D_VALID;
	}
	return c->cmos[reg];
}

static void rtc_write_register(struct mc146818 *c, unsigned reg, uint8_t value)
{
	rtc_catch_up(c);
	if (is_time(reg)) {
		rtc_write_time(c, reg, value);
	} else if (reg == RTC_A) {
		c->cmos[RTC_A] = value & ~A_UIP;
		rtc_hold(c);
	} else if (reg == RTC_B) {
		c->cmos[RTC_B] = value & RTC_B_SET ? value & ~RTC_B_UIE : value;
		rtc_hold(c);
	} else if (reg != RTC_C && reg != RTC_D) {
		c->cmos[reg] = value;
	}
	rtc_update_irq(c);
	rtc_arm(c);
}

static uint64_t mc146818_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct mc146818 *c = (struct mc146818 *)d;

	return off == PORT_INDEX ? 0xff : rtc_read_register(c, c->index);
}

static void mc146818_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct mc146818 *c = (struct mc146818 *)d;

	if (off == PORT_INDEX)
		c->index = value % CMOS_SIZE; // bit 7 is the NMI gate, which nothing here is behind
	else
		rtc_write_register(c, c->index, value);
}

void mc146818_set_byte(struct mc146818 *c, unsigned index, uint8_t value)
{
	c->cmos[index % CMOS_SIZE] = value;
}

static void set_word(struct mc146818 *c, unsigned index, uint64_t value)
{
	value = MIN(value, 0xffffu);
	mc146818_set_byte(c, index, value);
	mc146818_set_byte(c, index + 1, value >> 8);
}

void mc146818_set_memory(struct mc146818 *c, uint64_t below_4g, uint64_t above_4g)
{
	const uint64_t mib = 1 << 20;

	set_word(c, BASE_LOW, MIN(below_4g / 1024, 640u));
	set_word(c, EXT_LOW, below_4g > mib ? (below_4g - mib) / 1024 : 0);
	set_word(c, EXT2_LOW, below_4g > mib ? (below_4g - mib) / 1024 : 0);
	set_word(c, EXT16M_LOW, below_4g > 16 * mib ? (below_4g - 16 * mib) / 65536 : 0);
	for (unsigned i = 0; i < 3; i++)
		mc146818_set_byte(c, HIGH_LOW + i, above_4g / 65536 >> (8 * i));
}

void mc146818_set_cpus(struct mc146818 *c, unsigned cpus)
{
	mc146818_set_byte(c, CPUS, cpus - 1);
}

void mc146818_start(struct mc146818 *c)
{
	c->seen = rtc_now(c);
	rtc_arm(c);
}

static void mc146818_init(struct dev *d)
{
	struct mc146818 *c = (struct mc146818 *)d;

	timer_init(d->bus, &c->timer, rtc_fire, c);
	c->cmos[RTC_A] = A_DIVIDER_32K | 6; // 1024 Hz, as firmware leaves it
	c->cmos[RTC_B] = RTC_B_24H;
}

// The reset pin: interrupts off, flags clear; time, alarm and memory stay.
static void mc146818_reset(struct dev *d)
{
	struct mc146818 *c = (struct mc146818 *)d;

	c->index = 0;
	c->cmos[RTC_B] &= ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE);
	c->cmos[RTC_C] = 0;
	rtc_update_irq(c);
	rtc_arm(c);
}

const struct dev_class mc146818_class = {"mc146818", sizeof(struct mc146818), 1, mc146818_init, mc146818_reset,
	mc146818_read, mc146818_write};
