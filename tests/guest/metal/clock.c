/* SPDX-License-Identifier: MIT */
/*
 * The TSC is monotonic in every way of reading it, can be written and adjusted, and the kvmclock page (where CPUID
 * offers it) agrees with it.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"rdtsc at CPL 3, rdmsr: one clock", "SDM vol. 3, 17.17: IA32_TIME_STAMP_COUNTER is what RDTSC reads"},
	{"TSC written", "SDM vol. 3, 17.17"},
	{0},
};

static u64 rdtscp(u32 *aux)
{
	u32 a, d, c;

	__asm__ volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c));
	*aux = c;
	return (u64)d << 32 | a;
}

void u_tsc(void);
__asm__(".pushsection .user.text, \"ax\", @progbits\nu_tsc: rdtsc\n shl $32, %rdx\n or %rdx, %rax\n int $0x81\n"
	".popsection");

static void test_tsc(void)
{
	u64 last = rdtsc(), bad = 0, now, longest = 0;
	u32 aux;

	for (int i = 0; i < 300000; i++) {
		now = rdtsc();
		bad += now < last;
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	report(!bad, "rdtsc is monotonic", "%lu of 300000 backwards, longest step %lu", bad, longest);
	bad = 0;
	for (int i = 0; i < 1000; i++) {
		user_run(u_tsc, 0);
		now = trap.f.rax;
		bad += now <= last;
		last = rdtsc();
		bad += last <= now;
		now = rdmsr(0x10);
		bad += now < last;
		last = now;
	}
	report(!bad, "rdtsc at CPL 3, rdmsr: one clock", "%lu bad", bad);
	if (cpuid(0x80000001, 0).d >> 27 & 1) {
		wrmsr(0xc0000103, 0x1234);
		now = rdtscp(&aux);
		report(now > last && aux == 0x1234, "rdtscp", "aux %x", aux);
	}
	wrmsr(0x10, 0x100000000000);
	now = rdtsc();
	report(now >= 0x100000000000 && now - 0x100000000000 < tsc_khz() * 1000, "TSC written", "%lx", now);
	if (cpuid(0, 0).a >= 7 && cpuid(7, 0).b >> 1 & 1) {
		u64 adjust = rdmsr(0x3b), moved;

		last = rdtsc();
		wrmsr(0x3b, adjust + 0x1000000000);
		now = rdtsc();
		report(now - last >= 0x1000000000 && now - last < 0x1000000000 + tsc_khz() * 1000, "TSC_ADJUST", "%lx",
			now - last);
		check_eq("TSC_ADJUST reads back", rdmsr(0x3b), adjust + 0x1000000000);
		wrmsr(0x10, rdtsc() + (1ull << 40));
		moved = rdmsr(0x3b) - adjust - 0x1000000000;	/* less what the way to the write took */
		report(moved <= 1ull << 40 && moved > (1ull << 40) - tsc_khz() * 1000, "a TSC write moves TSC_ADJUST",
			"%lx", moved);
	}
}

static aligned(64) volatile struct kvmclock page;

static u64 kvmclock_ns(void)
{
	u64 delta, ns;
	u32 version;

	do {
		version = page.version;
		__asm__ volatile("" : : : "memory");
		delta = rdtsc() - page.tsc;
		delta = page.shift < 0 ? delta >> -page.shift : delta << page.shift;
		ns = page.ns + (u64)((unsigned __int128)delta * page.mul >> 32);
		__asm__ volatile("" : : : "memory");
	} while (version & 1 || version != page.version);
	return ns;
}

static void test_kvmclock(void)
{
	struct cpuid c = cpuid(0x40000000, 0);
	u64 last, now, bad = 0, want;
	struct sample a, b;

	if (!(cpuid(1, 0).c >> 31) || c.b != 0x4b4d564b || !(cpuid(0x40000001, 0).a >> 3 & 1)) {
		report_skip("kvmclock", "not in CPUID");
		return;
	}
	wrmsr(0x4b564d01, (u64)&page | 1);
	report(page.version && !(page.version & 1) && page.mul, "kvmclock page is filled", "version %x mul %x shift %d",
		page.version, page.mul, page.shift);
	report(page.flags & 1, "kvmclock says that the TSC is stable", "flags %x", page.flags);
	last = kvmclock_ns();
	for (int i = 0; i < 100000; i++) {
		now = kvmclock_ns();
		bad += now < last;
		last = now;
	}
	report(!bad, "kvmclock is monotonic", "%lu backwards", bad);
	a = clock_sample(kvmclock_ns);
	wait_us(50000);
	b = clock_sample(kvmclock_ns);
	now = b.clock - a.clock;
	want = (b.tsc - a.tsc) * 1000 / (tsc_khz() / 1000);
	report(now > want * 99 / 100 && now < want * 101 / 100, "kvmclock against the TSC", "%lu ns, want %lu", now, want);
	wrmsr(0x4b564d00, (u64)&page + 32);
	wrmsr(0x4b564d01, 0);
	report(true, "kvmclock off", "%d", 0);
}

static volatile u32 wall[3] aligned(64);

static void test_wall(void)
{
	u8 a, b;

	if (cpuid(1, 0).c >> 31 && cpuid(0x40000000, 0).b == 0x4b4d564b && cpuid(0x40000001, 0).a >> 3 & 1) {
		wrmsr(0x4b564d00, (u64)wall);
		report(wall[1] > 1600000000 && !(wall[0] & 1), "wall clock of kvmclock", "version %x seconds %u", wall[0],
			wall[1]);
	}
	outb(0x70, 0x09);
	a = inb(0x71);
	outb(0x70, 0x32);
	b = inb(0x71);
	report((a >> 4) <= 9 && (b == 0x20 || b == 0x21), "RTC year and century", "%x%x", b, a);
}

void metal_main(void)
{
	tsc_khz();
	test_tsc();
	test_kvmclock();
	test_wall();
}
