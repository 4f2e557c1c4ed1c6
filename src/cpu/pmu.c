// SPDX-License-Identifier: MIT
//
// Performance counters (SDM, "Architectural Performance Monitoring"; for AMD's models APM volume 2, "Performance
// Monitoring Counters"). Two things are counted. Instructions retired: exactly, by code that is translated anew to
// count (vcpu.counts, bt/count.c) while a counter asks for it and for a second afterwards. Cycles: of the host's TSC,
// while the processor is not halted; core and reference cycles are the same. With pmu=run they run through all that the
// monitor does for the guest, as a sampling profiler on a real machine would see a slow instruction; with pmu=stop they
// stand still outside translated code. What is counted for one privilege level only is brought up to date whenever the
// level changes: translated code does not change it by itself while anything is counted so. Other events, and cycles
// compared with a threshold, count nothing; CPUID says which there are.
#include "cpu/pmu.h"

#include "base/muldiv.h"
#include "cpu/system.h"

enum select_bits { SELECT_USER = BIT(16), SELECT_OS = BIT(17), SELECT_EDGE = BIT(18), SELECT_INT = BIT(20),
	SELECT_ANY = BIT(21), SELECT_ENABLE = BIT(22), SELECT_INV = BIT(23) };
#define SELECT_CMASK 0xff000000u
enum fixed_bits { FIXED_OS = BIT(0), FIXED_USER = BIT(1), FIXED_INT = BIT(3), FIXED_VALID = 0xbbb };
enum unit { UNIT_NONE, UNIT_INSNS, UNIT_CYCLES };
enum { RDPMC_FIXED = BIT(30), STATUS_FIXED_SHIFT = 32 };

#define CLEAR_OTHERS (BIT64(62) | BIT64(63))
#define COUNTER_MASK (BIT64(PMU_WIDTH) - 1)
#define GENERAL_MASK (BIT64(PMU_GENERAL) - 1)
#define FIXED_MASK ((BIT64(PMU_FIXED) - 1) << STATUS_FIXED_SHIFT)

struct counter { // one of all, as it stands
	uint64_t *value;
	enum unit unit; // NONE: it does not count
	bool os, user, interrupts;
	uint64_t status; // its bit in the global registers
};

// -- what the counters are ------------------------------------------------------------------------------------------

static enum unit event_unit(const struct vcpu *v, uint64_t select)
{
	uint32_t event = select & 0xffff;

	if (!(select & SELECT_ENABLE) || select & (SELECT_EDGE | SELECT_INV | SELECT_CMASK))
		return UNIT_NONE;
	if (event == 0x00c0)
		return UNIT_INSNS;
	if (v->amd)
		return event == 0x0076 ? UNIT_CYCLES : UNIT_NONE;
	return event == 0x003c || event == 0x013c ? UNIT_CYCLES : UNIT_NONE; // core, reference
}

static struct counter general(struct vcpu *v, unsigned i)
{
	uint64_t select = v->pmu.select[i];
	struct counter c = {&v->pmu.general[i], event_unit(v, select), select & SELECT_OS, select & SELECT_USER,
			    select & SELECT_INT, BIT64(i)};

	if (!v->amd && !(v->pmu.global_ctrl & c.status))
		c.unit = UNIT_NONE;
	return c;
}

static struct counter fixed(struct vcpu *v, unsigned i)
{
	uint32_t ctrl = v->pmu.fixed_ctrl >> 4 * i & 0xf;
	struct counter c = {&v->pmu.fixed[i], i ? UNIT_CYCLES : UNIT_INSNS, ctrl & FIXED_OS, ctrl & FIXED_USER,
			    ctrl & FIXED_INT, BIT64(STATUS_FIXED_SHIFT + i)};

	if (!(v->pmu.global_ctrl & c.status) || !(c.os || c.user))
		c.unit = UNIT_NONE;
	return c;
}

static struct counter counter(struct vcpu *v, unsigned i)
{
	return i < PMU_GENERAL ? general(v, i) : fixed(v, i - PMU_GENERAL);
}

static unsigned counters(const struct vcpu *v)
{
	return v->amd ? PMU_GENERAL : PMU_GENERAL + PMU_FIXED;
}

// -- counting -------------------------------------------------------------------------------------------------------

static uint64_t cycles_now(const struct vcpu *v)
{
	return v->pmu.stopped ? v->pmu.stopped : vcpu_host_tsc();
}

// SDM, "Local Vector Table": the processor masks the entry when it has delivered it. AMD's do not.
static void interrupt(struct vcpu *v)
{
	uint32_t *lvt = &v->lapic.lvt[LAPIC_LVT_PERF];

	if (*lvt & BIT(16))
		return;
	lapic_deliver(v, (uint8_t)*lvt, (enum lapic_delivery)(*lvt >> 8 & 7), LAPIC_EDGE);
	if (!v->amd)
		*lvt |= BIT(16);
}

// Add what has passed since the last time.
static void add_up(struct vcpu *v)
{
	struct pmu *p = &v->pmu;
	uint64_t insns = vcpu_count(v), cycles = cycles_now(v);
	uint64_t passed[] = {[UNIT_INSNS] = v->counts ? insns - p->insns : 0, [UNIT_CYCLES] = cycles - p->cycles};
	bool overflow = false;

	for (unsigned i = 0; p->active && i < counters(v); i++) {
		struct counter c = counter(v, i);

		if (c.unit == UNIT_NONE || !(p->user ? c.user : c.os))
			continue;
		*c.value += passed[c.unit];
		if (*c.value <= COUNTER_MASK)
			continue;
		*c.value &= COUNTER_MASK;
		p->status |= c.status;
		overflow |= c.interrupts;
	}
	p->insns = insns;
	p->cycles = cycles;
	p->user = v->cpl == 3;
	if (overflow)
		interrupt(v);
}

// The next overflow in that unit, of counters that count at the present level; 0: none.
static uint64_t distance(struct vcpu *v, enum unit unit)
{
	uint64_t least = 0;

	for (unsigned i = 0; i < counters(v); i++) {
		struct counter c = counter(v, i);
		uint64_t left = COUNTER_MASK + 1 - *c.value;

		if (c.unit == unit && (v->pmu.user ? c.user : c.os) && (!least || left < least))
			least = left;
	}
	return least;
}

static void count_down_from(struct vcpu *v, uint64_t n)
{
	v->count_end = vcpu_count(v) + n;
	v->count_left = (int64_t)n;
}

static uint64_t after_cycles(const struct vcpu *v, uint64_t cycles)
{
	uint64_t now = v->lapic.bus->now(v->lapic.bus->opaque);

	return now + muldiv64_up(MIN(cycles, BIT64(40)), 1000000000, v->shared->config.tsc_hz);
}

// What must be watched now. Translated code goes on counting for a second when nobody asks any more: profilers switch
// their counters off and on again at each switch of tasks.
static void watch(struct vcpu *v)
{
	uint64_t cycles = distance(v, UNIT_CYCLES), insns = distance(v, UNIT_INSNS);
	bool exact = false, active = false;

	for (unsigned i = 0; i < counters(v); i++) {
		struct counter c = counter(v, i);

		active |= c.unit != UNIT_NONE;
		exact |= c.unit == UNIT_INSNS || (c.unit == UNIT_CYCLES && c.os != c.user);
	}
	v->pmu.active = active;
	if (exact)
		v->counts = true;
	count_down_from(v, insns ? MIN(insns, INT64_MAX / 2) : INT64_MAX / 2);
	v->pmu.insns = vcpu_count(v);
	if (cycles || (v->counts && !exact))
		timer_set(v->lapic.bus, &v->pmu.timer, after_cycles(v, cycles ? cycles : v->shared->config.tsc_hz));
	else
		timer_set(v->lapic.bus, &v->pmu.timer, 0);
}

static void fire(void *opaque, uint64_t now)
{
	struct vcpu *v = opaque;

	add_up(v);
	if (!v->pmu.active)
		v->counts = false;
	watch(v);
}

void pmu_update(struct vcpu *v)
{
	add_up(v);
	watch(v);
}

void pmu_slept(struct vcpu *v, uint64_t cycles)
{
	if (!v->pmu.stopped)
		v->pmu.cycles += cycles;
}

// As power-on leaves it; an INIT leaves all of it alone.
void pmu_init(struct vcpu *v, struct bus *bus)
{
	timer_init(bus, &v->pmu.timer, fire, v);
	v->pmu.global_ctrl = GENERAL_MASK;
	if (v->shared->config.pmu != PMU_NONE && !v->amd)
		v->misc_enable |= MISC_ENABLE_PERFMON;
}

// -- registers --------------------------------------------------------------------------------------------------------

enum { GLOBAL_STATUS = MSR_FIXED_CTR_CTRL + 1, GLOBAL_CTRL, GLOBAL_CLEAR };

// The register's own word, or NULL.
static uint64_t *word(struct vcpu *v, uint32_t msr)
{
	struct pmu *p = &v->pmu;

	if (v->amd) {
		if (msr - MSR_K7_EVNTSEL0 < 2 * PMU_GENERAL)
			return msr - MSR_K7_EVNTSEL0 < PMU_GENERAL ? &p->select[msr - MSR_K7_EVNTSEL0]
				: &p->general[msr - MSR_K7_EVNTSEL0 - PMU_GENERAL];
		return NULL;
	}
	if (msr - MSR_PMC0 < PMU_GENERAL)
		return &p->general[msr - MSR_PMC0];
	if (msr - MSR_PERFEVTSEL0 < PMU_GENERAL)
		return &p->select[msr - MSR_PERFEVTSEL0];
	if (msr - MSR_FIXED_CTR0 < PMU_FIXED)
		return &p->fixed[msr - MSR_FIXED_CTR0];
	switch (msr) {
	case MSR_FIXED_CTR_CTRL: return &p->fixed_ctrl;
	case GLOBAL_STATUS: return &p->status;
	case GLOBAL_CTRL: return &p->global_ctrl;
	default: return NULL;
	}
}

static bool offered(const struct vcpu *v)
{
	return v->shared->config.pmu != PMU_NONE;
}

bool pmu_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	uint64_t *w = word(v, msr);

	*value = 0;
	if (!offered(v))
		return v->amd;
	if (!w)
		return msr == GLOBAL_CLEAR && !v->amd;
	if (v->pmu.active)
		pmu_update(v);
	*value = *w;
	return true;
}

// The general counters take 32 bits with their sign on Intel's; the rest as the manual has it.
static bool valid(const struct vcpu *v, uint32_t msr, uint64_t *value)
{
	if (v->amd) {
		*value &= msr - MSR_K7_EVNTSEL0 < PMU_GENERAL ? UINT64_MAX : COUNTER_MASK;
		return true;
	}
	if (msr - MSR_PMC0 < PMU_GENERAL) {
		*value = (uint64_t)(int32_t)*value & COUNTER_MASK;
		return true;
	}
	if (msr - MSR_PERFEVTSEL0 < PMU_GENERAL)
		return !(*value >> 32) && !(*value & SELECT_ANY);
	if (msr - MSR_FIXED_CTR0 < PMU_FIXED)
		return !(*value & ~COUNTER_MASK);
	if (msr == MSR_FIXED_CTR_CTRL)
		return !(*value & ~(uint64_t)FIXED_VALID);
	return msr != GLOBAL_STATUS && !(*value & ~(GENERAL_MASK | FIXED_MASK | (msr == GLOBAL_CLEAR ? CLEAR_OTHERS : 0)));
}

bool pmu_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	uint64_t *w = word(v, msr);

	if (!offered(v))
		return v->amd;
	if (!valid(v, msr, &value) || (!w && msr != GLOBAL_CLEAR))
		return false;
	add_up(v);
	if (w)
		*w = value;
	else
		v->pmu.status &= ~value;
	watch(v);
	return true;
}

bool pmu_rdpmc(struct vcpu *v, uint32_t index, uint64_t *value)
{
	uint32_t n = index & ~(uint32_t)RDPMC_FIXED;
	bool is_fixed = index & RDPMC_FIXED;

	if (!offered(v) || n >= (is_fixed ? (v->amd ? 0u : PMU_FIXED) : PMU_GENERAL))
		return false;
	if (v->pmu.active)
		pmu_update(v);
	*value = is_fixed ? v->pmu.fixed[n] : v->pmu.general[n];
	return true;
}
