/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's registers and its timer in every mode, xAPIC and x2APIC; and the clocks against each other:
 * TSC, PIT, APIC timer, PM timer, HPET, CPUID's statement of the TSC's rate. Times are compared loosely upwards (a
 * host may be busy) and strictly downwards (nothing may come early).
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"LVT timer keeps what it knows", "SDM vol. 3, 10.5.1: reserved bits"},
	{"software-disabled*", "SDM vol. 3, 10.4.7.2"},
	{0},
};

enum { V = 0x61, V_ERR = 0x62, ONE_SHOT = 0, PERIODIC = 0x20000, DEADLINE = 0x40000, MASKED = 0x10000 };
static volatile int taken, errors;
static volatile u64 taken_at, first_at;

static void on_timer(struct frame *f)
{
	taken_at = rdtsc();
	if (!taken++)
		first_at = taken_at;
	apic_eoi();
}

static void on_error(struct frame *f)
{
	errors++;
	apic_eoi();
}

static void wait_taken(int n, u64 us)
{
	u64 start = rdtsc(), ticks = us * tsc_khz() / 1000;

	sti();
	while (taken < n && rdtsc() - start < ticks)
		__asm__ volatile("pause");
	cli();
}

static void timer_off(void)
{
	apic_write(APIC_LVTT, V | MASKED);
	apic_write(APIC_TMICT, 0);
	wait_taken(taken + 1, 50);
	taken = 0;
}

static u64 to_us(u64 ticks)
{
	return ticks * 1000 / tsc_khz();
}

static const struct { u32 code, divide; } divides[] = {
	{0xb, 1}, {0x0, 2}, {0x1, 4}, {0x2, 8}, {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128},
};

static u64 read_timer(void)
{
	return apic_read(APIC_TMCCT);
}

/* Counts in a time, by the current-count register. */
static u64 timer_khz(u32 code)
{
	struct sample t0, t1;

	apic_write(APIC_TDCR, code);
	apic_write(APIC_LVTT, V | MASKED);
	apic_write(APIC_TMICT, 0xffffffff);
	t0 = clock_sample(read_timer);
	wait_us(5000);
	t1 = clock_sample(read_timer);
	apic_write(APIC_TMICT, 0);
	return (t0.clock - t1.clock) * tsc_khz() / (t1.tsc - t0.tsc);
}

static u64 base_khz;

static void test_divides(void)
{
	char name[64];

	base_khz = timer_khz(0xb);
	print("APIC timer: %lu kHz\n", base_khz);
	for (unsigned i = 0; i < ARRAY_SIZE(divides); i++) {
		u64 khz = timer_khz(divides[i].code) * divides[i].divide;

		format(name, sizeof name, "timer divided by %u", divides[i].divide);
		report(khz > base_khz * 95 / 100 && khz < base_khz * 105 / 100, name, "%lu kHz times the divisor, want %lu",
			khz, base_khz);
	}
	apic_write(APIC_TDCR, 0xb);
	check_eq("divide register keeps its bits", apic_read(APIC_TDCR), 0xb);
}

static void test_one_shot(void)
{
	u64 start, us;

	timer_off();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, V | ONE_SHOT);
	start = rdtsc();
	apic_write(APIC_TMICT, (u32)(base_khz * 2));	/* 2 ms */
	wait_taken(1, 500000);
	us = to_us(first_at - start);
	check_eq("one-shot: one interrupt", (u64)taken, 1);
	report(us >= 1950 && us < 100000, "one-shot: after its time, not before", "%lu us, want 2000", us);
	check_eq("one-shot: the count ends at 0", apic_read(APIC_TMCCT), 0);
	check_eq("one-shot: the initial count stays", apic_read(APIC_TMICT), (u32)(base_khz * 2));
	wait_taken(2, 5000);
	check_eq("one-shot: no second interrupt", (u64)taken, 1);
	taken = 0;
	apic_write(APIC_TMICT, (u32)(base_khz * 3));
	apic_write(APIC_TMICT, 0);
	wait_taken(1, 6000);
	check_eq("initial count 0 stops the timer", (u64)taken, 0);
	check_eq("stopped timer reads 0", apic_read(APIC_TMCCT), 0);
	apic_write(APIC_LVTT, V | MASKED);
	apic_write(APIC_TMICT, (u32)base_khz);
	wait_taken(1, 3000);
	check_eq("masked: no interrupt", (u64)taken, 0);
	check_eq("masked: it counts all the same", apic_read(APIC_TMCCT), 0);
	apic_write(APIC_TMICT, (u32)base_khz * 20);
	report(apic_read(APIC_TMCCT) > base_khz * 10 && apic_read(APIC_TMCCT) <= base_khz * 20,
		"current count starts at the initial count", "%x", apic_read(APIC_TMCCT));
	apic_write(APIC_LVTT, V | ONE_SHOT);
	apic_write(APIC_TMICT, (u32)base_khz);
	wait_taken(1, 500000);
	check_eq("unmasked before the end", (u64)taken, 1);
	for (int i = 0; i < 20; i++) {
		taken = 0;
		apic_write(APIC_TMICT, (u32)(base_khz / 20));
		hlt_wait();
		if (!taken)
			wait_taken(1, 100000);
		if (taken != 1)
			break;
	}
	check_eq("one-shot wakes HLT, 20 times", (u64)taken, 1);
	timer_off();
}

static void test_periodic(void)
{
	u64 start, us, previous, now;
	bool wrapped = false;
	int n;

	apic_write(APIC_LVTT, V | PERIODIC);
	start = rdtsc();
	apic_write(APIC_TMICT, (u32)base_khz);	/* 1 ms */
	wait_taken(1 << 20, 50000);
	n = taken;
	us = to_us(rdtsc() - start);
	report(n >= 3 && (u64)n <= us / 1000 + 1, "periodic: 1 kHz", "%d interrupts in %lu us", n, us);
	previous = apic_read(APIC_TMCCT);
	for (int i = 0; i < 1000000 && !wrapped; i++) {
		now = apic_read(APIC_TMCCT);
		if (now > previous)
			wrapped = true;
		if (now > base_khz)
			break;
		previous = now;
	}
	report(wrapped, "periodic: the count reloads", "last %lx", previous);
	apic_write(APIC_LVTT, V | PERIODIC | MASKED);
	sti();
	nop();
	cli();
	taken = 0;
	wait_taken(1, 5000);
	check_eq("periodic, masked", (u64)taken, 0);
	apic_write(APIC_LVTT, V | PERIODIC);
	wait_taken(1, 500000);
	report(taken >= 1, "periodic, unmasked: goes on", "%d", taken);
	apic_write(APIC_TMICT, 0);
	wait_taken(1 << 20, 100);
	taken = 0;
	wait_taken(1, 5000);
	check_eq("periodic, stopped", (u64)taken, 0);
	timer_off();
}

static void test_deadline(void)
{
	u64 start, us;

	if (!has_tsc_deadline()) {
		report_skip("TSC deadline", "not in CPUID");
		return;
	}
	apic_write(APIC_LVTT, V | DEADLINE);
	check_eq("deadline: nothing armed", rdmsr(MSR_TSC_DEADLINE), 0);
	start = rdtsc();
	wrmsr(MSR_TSC_DEADLINE, start + 2 * tsc_khz());
	check_eq("deadline: reads back while armed", rdmsr(MSR_TSC_DEADLINE), start + 2 * tsc_khz());
	wait_taken(1, 500000);
	us = to_us(first_at - start);
	check_eq("deadline: one interrupt", (u64)taken, 1);
	report(first_at >= start + 2 * tsc_khz() && us < 100000, "deadline: not before its time", "%lu us, want 2000", us);
	check_eq("deadline: 0 after it fired", rdmsr(MSR_TSC_DEADLINE), 0);
	taken = 0;
	wrmsr(MSR_TSC_DEADLINE, rdtsc() - 1000);
	wait_taken(1, 100000);
	check_eq("deadline in the past: at once", (u64)taken, 1);
	taken = 0;
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 3 * tsc_khz());
	wrmsr(MSR_TSC_DEADLINE, 0);
	wait_taken(1, 6000);
	check_eq("deadline: 0 disarms", (u64)taken, 0);
	apic_write(APIC_TMICT, (u32)base_khz);
	check_eq("deadline: the initial count is ignored", apic_read(APIC_TMCCT), 0);
	for (int i = 0; i < 50; i++) {
		taken = 0;
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + tsc_khz() / 20);
		hlt_wait();
		if (!taken)
			wait_taken(1, 100000);
		if (taken != 1)
			break;
	}
	check_eq("deadline wakes HLT, 50 times", (u64)taken, 1);
	/* Leaving the mode disarms. */
	taken = 0;
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 3 * tsc_khz());
	apic_write(APIC_LVTT, V | ONE_SHOT);
	wait_taken(1, 6000);
	check_eq("deadline: another mode disarms", (u64)taken, 0);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + tsc_khz());
	check_eq("deadline MSR in another mode reads 0", rdmsr(MSR_TSC_DEADLINE), 0);
	wait_taken(1, 3000);
	check_eq("deadline MSR in another mode does nothing", (u64)taken, 0);
	timer_off();
}

static void test_registers(void)
{
	u32 version = apic_read(APIC_VERSION);

	report((version & 0xff) >= 0x10 && (version & 0xff) <= 0x1f && (version >> 16 & 0xff) >= 5, "version", "%x",
		version);
	apic_write(APIC_LVTT, x2apic ? 0x300ff : 0xffffffff);	/* xAPIC ignores reserved bits, x2APIC does not have it */
	report((apic_read(APIC_LVTT) & ~0x61000u) == 0x100ff, "LVT timer keeps what it knows", "%x", apic_read(APIC_LVTT));
	if (x2apic) {
		TRY("wrmsr", : "c"(0x832), "a"(0xffffffff), "d"(0));
		check_trap("x2APIC: #GP: LVT reserved bits", GP, 0, 0);
	}
	apic_write(APIC_LVTT, V | MASKED);
	apic_write(APIC_TPR, 0xab);
	check_eq("TPR", apic_read(APIC_TPR), 0xab);
	apic_write(APIC_TPR, 0);
	if (!x2apic) {
		apic_write(APIC_LDR, 0x12345678);
		check_eq("LDR", apic_read(APIC_LDR), 0x12000000);
		apic_write(APIC_DFR, 0x0fffffff);
		check_eq("DFR", apic_read(APIC_DFR), 0x0fffffff);
		apic_write(APIC_DFR, 0xffffffff);
		apic_write(APIC_LDR, 0);
		check_eq("ID by CPUID", cpuid(1, 0).b >> 24, apic_read(APIC_ID) >> 24);
	}
	/* Software disable masks all LVTs and refuses to unmask them. */
	apic_write(APIC_LVT0, V);
	apic_write(APIC_SPIV, 0xff);
	check_eq("software-disabled: LVTs masked", apic_read(APIC_LVT0) & MASKED, MASKED);
	apic_write(APIC_LVT0, V);
	check_eq("software-disabled: LVTs stay masked", apic_read(APIC_LVT0) & MASKED, MASKED);
	apic_write(APIC_SPIV, 0x1ff);
	apic_write(APIC_LVT0, 0x700);
	check_eq("enabled: LVT0 as ExtINT", apic_read(APIC_LVT0), 0x700);
	apic_write(APIC_LVT0, MASKED);
	for (int v = 0; v < 256; v += 32)
		if (apic_read(APIC_IRR + v / 2) | apic_read(APIC_ISR + v / 2))
			report(false, "IRR and ISR are empty", "%x: %x %x", v, apic_read(APIC_IRR + v / 2),
				apic_read(APIC_ISR + v / 2));
}

static void test_errors(void)
{
	if (under_tcg()) {
		report_skip("ESR", "TCG delivers vectors below 16 (SDM vol. 3, 10.5.3: they are errors)");
		return;
	}
	errors = 0;
	trap_handle(V_ERR, on_error);
	apic_write(APIC_LVTERR, V_ERR);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	check_eq("ESR is clear", apic_read(APIC_ESR), 0);
	cli();
	if (x2apic)
		wrmsr(0x830, 0x40000 | 5);
	else
		apic_write(APIC_ICR, 0x40000 | 5);
	sti();
	nop();
	nop();
	cli();
	apic_write(APIC_ESR, 0);
	report(apic_read(APIC_ESR) & 0x20, "ESR: send illegal vector", "ESR %x", apic_read(APIC_ESR));
	report(errors >= 1, "ESR: error interrupt", "%d", errors);
	apic_write(APIC_ESR, 0);
	check_eq("ESR cleared by a write", apic_read(APIC_ESR), 0);
	apic_write(APIC_LVTERR, MASKED);
	apic_write(APIC_ESR, 0);
}

static void test_x2(void)
{
	u32 id = apic_read(APIC_ID) >> 24;
	int e;

	if (!apic_enter_x2()) {
		report_skip("x2APIC", "not in CPUID");
		return;
	}
	check_eq("x2APIC: ID", apic_read(APIC_ID), id);
	check_eq("x2APIC: LDR follows from the ID", apic_read(APIC_LDR), (id >> 4) << 16 | 1u << (id & 15));
	trap_handle(V, on_timer);
	taken = 0;
	wrmsr(0x83f, V);
	sti();
	nop();
	nop();
	cli();
	check_eq("x2APIC: SELF IPI", (u64)taken, 1);
	TRY("wrmsr", : "c"(0x802), "a"(0), "d"(0));
	check_trap("x2APIC: #GP: write of the ID", GP, 0, 0);
	TRY("wrmsr", : "c"(0x80d), "a"(0), "d"(0));
	check_trap("x2APIC: #GP: write of the LDR", GP, 0, 0);
	TRY("rdmsr", : "c"(0x80e) : "rax", "rdx");
	check_trap("x2APIC: #GP: the DFR", GP, 0, 0);
	TRY("wrmsr", : "c"(0x80b), "a"(1), "d"(0));
	check_trap("x2APIC: #GP: EOI other than 0", GP, 0, 0);
	TRY("wrmsr", : "c"(0x808), "a"(0x100), "d"(0));
	check_trap("x2APIC: #GP: TPR reserved bits", GP, 0, 0);
	TRY("wrmsr", : "c"(0x832), "a"(V | MASKED), "d"(1));
	check_trap("x2APIC: #GP: upper half", GP, 0, 0);
	TRY("rdmsr", : "c"(0x831) : "rax", "rdx");
	check_trap("x2APIC: #GP: no ICR2", GP, 0, 0);
	TRY("wrmsr", : "c"(MSR_APIC_BASE), "a"(0xfee00900), "d"(0));
	check_trap("x2APIC: #GP: back to xAPIC", GP, 0, 0);
	e = (int)*(volatile u32 *)0xfee00030;
	(void)e;	/* MMIO in x2APIC mode: whatever it reads, it must not trap */
	test_registers();
	test_errors();
	test_one_shot();
	test_periodic();
	test_deadline();
	wrmsr(MSR_APIC_BASE, 0xfee00000 | 0x100);
	report(!(cpuid(1, 0).d >> 9 & 1), "APIC off: CPUID says so", "edx %x", cpuid(1, 0).d);
	x2apic = false;
	TRY("wrmsr", : "c"(MSR_APIC_BASE), "a"(0xfee00500), "d"(0));
	check_trap("#GP: EXTD without EN", GP, 0, 0);
	apic_enable();
	report(cpuid(1, 0).d >> 9 & 1, "APIC on again", "edx %x", cpuid(1, 0).d);
	check_eq("xAPIC again: ID", apic_read(APIC_ID) >> 24, id);
}

/* --- clocks against each other --- */
static u32 pci_read(int device, int function, int reg)
{
	outl(0xcf8, 0x80000000u | (u32)device << 11 | (u32)function << 8 | (u32)reg);
	return inl(0xcfc);
}

static u16 pm_timer_port(void)
{
	for (int function = 0; function < 8; function++)
		if (pci_read(1, function, 0) == 0x71138086) {	/* PIIX4 power management */
			if (!(pci_read(1, function, 0x80) & 1)) {
				outl(0xcf8, 0x80000040u | 1 << 11 | (u32)function << 8);
				outl(0xcfc, 0x601);
				outl(0xcf8, 0x80000080u | 1 << 11 | (u32)function << 8);
				outl(0xcfc, inl(0xcfc) | 1);
			}
			return (u16)((pci_read(1, function, 0x40) & 0xffc0) + 8);
		}
	return 0;
}

static void check_rate(const char *name, u64 got, u64 want, u64 percent)
{
	report(got > want * (100 - percent) / 100 && got < want * (100 + percent) / 100, name,
		"%lu, want %lu within %lu%%", got, want, percent);
}

static u16 pm_port;
static u64 read_pm(void) { return inl(pm_port); }
static u64 read_hpet(void) { return *(volatile u32 *)0xfed000f0; }
static u64 read_pit(void) { return pit_read(0); }

static void test_clocks(void)
{
	struct sample a, b;

	print("TSC by PIT: %lu kHz\n", tsc_khz());
	if (cpuid(0, 0).a >= 0x15 && cpuid(0x15, 0).a && cpuid(0x15, 0).c)
		check_rate("TSC rate by CPUID 15H", (u64)cpuid(0x15, 0).c * cpuid(0x15, 0).b / cpuid(0x15, 0).a / 1000,
			tsc_khz(), 1);
	if (cpuid(1, 0).c >> 31 && cpuid(0x40000000, 0).a >= 0x40000010)
		check_rate("TSC rate by CPUID 40000010H", cpuid(0x40000010, 0).a, tsc_khz(), 1);
	pm_port = pm_timer_port();
	if (pm_port) {
		a = clock_sample(read_pm);
		wait_us(100000);
		b = clock_sample(read_pm);
		check_rate("PM timer against the TSC",
			((b.clock - a.clock) & 0xffffff) * tsc_khz() / ((b.tsc - a.tsc) / 1000), 3579545, 1);
	} else {
		report_skip("PM timer", "no PIIX4");
	}
	if ((*(volatile u32 *)0xfed00000 >> 16) == 0x8086) {
		u64 period = *(volatile u32 *)0xfed00004;	/* femtoseconds */

		*(volatile u32 *)0xfed00010 |= 1;
		a = clock_sample(read_hpet);
		wait_us(50000);
		b = clock_sample(read_hpet);
		check_rate("HPET against the TSC (us)", (u32)(b.clock - a.clock) * (period / 1000) / 1000000,
			to_us(b.tsc - a.tsc), 1);
	} else {
		report_skip("HPET", "none there");
	}
	pit_set(0, 2, 0xffff);
	wait_us(200);
	a = clock_sample(read_pit);
	wait_us(20000);
	b = clock_sample(read_pit);
	check_rate("PIT count against the TSC (us)", ((a.clock - b.clock) & 0xffff) * 1000000ull / 1193182,
		to_us(b.tsc - a.tsc) % 54925, 2);
}

void metal_main(void)
{
	apic_enable();
	pic_init(0xff, 0xff);
	trap_handle(V, on_timer);
	trap_handle(0xff, on_timer);
	test_clocks();
	test_registers();
	test_errors();
	test_divides();
	test_one_shot();
	test_periodic();
	test_deadline();
	test_x2();
}
