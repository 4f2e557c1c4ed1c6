/* SPDX-License-Identifier: MIT */
/*
 * Performance counters: instructions retired, exactly, in the kernel's code and the user's; the overflow interrupt;
 * cycles that go on; the registers' rules. Wants -cpu ...,pmu=on with a model of Intel's.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

enum { PMC0 = 0xc1, SELECT0 = 0x186, FIXED0 = 0x309, FIXED_CTRL = 0x38d, STATUS = 0x38e, CTRL = 0x38f, CLEAR = 0x390 };
enum { USER = 1 << 16, OS = 1 << 17, EDGE = 1 << 18, INT = 1 << 20, ENABLE = 1 << 22, INSNS = 0xc0, CYCLES = 0x3c };
enum { V_PMI = 0x65 };

static volatile u32 pmis;
static volatile u64 pmi_rip, pmi_status;

static void on_pmi(struct frame *f)
{
	pmis++;
	pmi_rip = f->rip;
	pmi_status = rdmsr(STATUS);
	wrmsr(CTRL, 0);
	wrmsr(CLEAR, pmi_status);
	apic_eoi();
}

static u64 rdpmc(u32 n)
{
	u32 a, d;

	__asm__ volatile("rdpmc" : "=a"(a), "=d"(d) : "c"(n));
	return (u64)d << 32 | a;
}

/* Between the two writes of the control register there are 4 instructions, 2 in each turn, and the second write. */
static void run_loop(u64 n, u64 enable)
{
	__asm__ volatile("wrmsr\n\tmov %[n], %%r8\n\t1: dec %%r8\n\tjnz 1b\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr"
			 : : "c"(CTRL), "a"((u32)enable), "d"((u32)(enable >> 32)), [n] "r"(n) : "r8", "memory", "cc");
}

enum { AROUND = 4 };

static void test_exact(void)
{
	static const u64 turns[] = {1, 2, 10, 1000, 100000};

	wrmsr(CTRL, 0); /* the general ones are enabled there at the start */

	wrmsr(SELECT0, INSNS | OS | ENABLE);
	wrmsr(FIXED_CTRL, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(turns); i++) {
		wrmsr(PMC0, 0);
		wrmsr(FIXED0, 0);
		run_loop(turns[i], 1 | 1ull << 32);
		check_eq("instructions of a loop, a general counter", rdmsr(PMC0), AROUND + 2 * turns[i]);
		check_eq("instructions of a loop, the fixed counter", rdpmc(1u << 30), AROUND + 2 * turns[i]);
	}
	wrmsr(SELECT0, INSNS | USER | ENABLE);
	wrmsr(PMC0, 0);
	run_loop(1000, 1);
	check_eq("of user code: none in the kernel", rdpmc(0), 0);
	wrmsr(SELECT0, INSNS | OS | ENABLE | EDGE);
	wrmsr(PMC0, 0);
	run_loop(1000, 1);
	check_eq("edges are not counted", rdpmc(0), 0);
	check_eq("a stopped counter", rdpmc(0), rdpmc(0));
}

__attribute__((__naked__, used, section(".user"))) static void user_loop(void)
{
	__asm__("mov $5000, %ecx\n\t1: dec %ecx\n\tjnz 1b\n\tint $0x81");
}

static void test_user(void)
{
	wrmsr(SELECT0, INSNS | USER | ENABLE);
	wrmsr(SELECT0 + 1, INSNS | OS | ENABLE);
	wrmsr(PMC0, 0);
	wrmsr(PMC0 + 1, 0);
	wrmsr(CTRL, 3);
	user_run(user_loop, 0);
	wrmsr(CTRL, 0);
	check_eq("of user code: all of it and INT", rdpmc(0), 2 + 2 * 5000);
	report(rdpmc(1) > 20 && rdpmc(1) < 2000, "of the kernel: the way there and back", "%lu", rdpmc(1));
}

extern u8 overflow_at[];
static void overflow(u64 before)
{
	wrmsr(SELECT0, INSNS | OS | INT | ENABLE);
	wrmsr(PMC0, -before);
	apic_write(APIC_LVTPC, V_PMI);
	pmis = 0;
	sti();
	__asm__ volatile("wrmsr\n\tmov $100, %%eax\n\t.globl overflow_at\noverflow_at:\n\t.rept 64\n\tinc %%eax\n\t.endr"
			 : : "c"(CTRL), "a"(1), "d"(0) : "cc");
	wait_us(1000);
	cli();
	wrmsr(CTRL, 0);
}

/* An interrupt is taken at the end of a unit: no more than these 64 later. INC is two bytes. */
static void test_overflow(void)
{
	overflow(20);
	check_eq("one overflow interrupt", pmis, 1);
	check_eq("says which", pmi_status, 1);
	report(pmi_rip >= (u64)overflow_at + 19 * 2, "not before its time", "at %lx of %lx", pmi_rip, (u64)overflow_at);
	report(apic_read(APIC_LVTPC) & 0x10000, "the entry is masked then", "%x", apic_read(APIC_LVTPC));
	apic_write(APIC_LVTPC, 0x10000);
	wrmsr(PMC0, -10ull);
	run_loop(100, 1);
	check_eq("status without an interrupt", rdmsr(STATUS), 1);
	wrmsr(CLEAR, 1);
	check_eq("cleared", rdmsr(STATUS), 0);
}

static void test_cycles(void)
{
	u64 start, t, first;

	wrmsr(SELECT0, CYCLES | OS | USER | ENABLE);
	wrmsr(PMC0, 0);
	wrmsr(CTRL, 1);
	start = rdtsc();
	first = rdpmc(0);
	wait_us(2000);
	t = rdtsc() - start;
	first = rdpmc(0) - first;
	report(first <= t + 1000000 && first > t / 100, "cycles go on", "%lu of %lu", first, t);
	apic_write(APIC_LVTPC, V_PMI);
	wrmsr(SELECT0, CYCLES | OS | USER | INT | ENABLE);
	wrmsr(PMC0, -100000ull);
	pmis = 0;
	sti();
	for (start = rdtsc(); !pmis && rdtsc() - start < 200 * tsc_khz();)
		__asm__ volatile("pause");
	cli();
	check_eq("an overflow of cycles", pmis, 1);
	wrmsr(CTRL, 0);
}

static void test_rules(void)
{
	struct cpuid c = cpuid(0xa, 0);

	check_eq("version and counters", c.a & 0xffffff, 0x300402);
	check_eq("fixed counters", c.d & 0x1fff, 48 << 5 | 3);
	wrmsr(PMC0, 0x80000000);
	check_eq("a general counter takes 32 bits with their sign", rdmsr(PMC0), 0xffff80000000);
	TRY("wrmsr", : "c"(FIXED0), "a"(0), "d"(0x10000));
	check_trap("49 bits of a fixed counter", GP, 0, 0);
	TRY("wrmsr", : "c"(STATUS), "a"(0), "d"(0));
	check_trap("the status is cleared elsewhere", GP, 0, 0);
	TRY("wrmsr", : "c"(FIXED_CTRL), "a"(4), "d"(0));
	check_trap("no such bit in the fixed control", GP, 0, 0);
	TRY("wrmsr", : "c"(CTRL), "a"(0x10), "d"(0));
	check_trap("no fifth counter", GP, 0, 0);
	TRY("rdpmc", : "c"(4) : "eax", "edx");
	check_trap("nor by RDPMC", GP, 0, 0);
	TRY("rdpmc", : "c"(3) : "eax", "edx");
	check_none("the fourth");
}

void metal_main(void)
{
	if (!(cpuid(0xa, 0).a & 0xff)) {
		report_skip("all", "there are no counters");
		return;
	}
	apic_enable();
	trap_handle(V_PMI, on_pmi);
	tsc_khz();
	test_rules();
	test_exact();
	test_user();
	test_overflow();
	test_cycles();
}
