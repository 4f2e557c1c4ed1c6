// SPDX-License-Identifier: MIT
//
// The TSC's rate: stated by CPUID leaf 0x15 (with the crystal's rate), or by a hypervisor's timing leaf, or measured.
// A measurement pairs TSC and clock readings taken as close together as luck allows, so that being scheduled away
// between them costs precision only if it happens every time.
#include "host/tsc.h"
#include <cpuid.h>
#include <time.h>

enum { MEASURE_NS = 50000000, TRIES = 32 };

struct sample {
	uint64_t tsc, ns;
};

static uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}

static uint64_t clock_raw(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

// The tightest of several readings of both.
static struct sample take_sample(void)
{
	struct sample best = {0};
	uint64_t best_width = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t before = rdtsc(), ns = clock_raw(), after = rdtsc();

		if (after - before >= best_width)
			continue;
		best_width = after - before;
		best = (struct sample){before + best_width / 2, ns};
	}
	return best;
}

static uint64_t measure(void)
{
	struct timespec pause = {.tv_nsec = MEASURE_NS};
	struct sample a = take_sample(), b;

	nanosleep(&pause, NULL);
	b = take_sample();
	return (uint64_t)((double)(b.tsc - a.tsc) * 1e9 / (double)(b.ns - a.ns) + 0.5);
}

static uint64_t stated_by_cpu(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(0x15, &eax, &ebx, &ecx, &edx) || !eax || !ebx || !ecx)
		return 0;
	return (uint64_t)ecx * ebx / eax;
}

// VMware's convention, which QEMU and others follow: leaf 0x4000_0010, EAX is kHz. A leaf beyond the hypervisor's range
// reads as something else, so the range is checked.
static uint64_t stated_by_hypervisor(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx >> 31 & 1))
		return 0;
	__cpuid(0x40000000, eax, ebx, ecx, edx);
	if (eax < 0x40000010 || eax > 0x400000ff)
		return 0;
	__cpuid(0x40000010, eax, ebx, ecx, edx);
	return (uint64_t)eax * 1000;
}

uint64_t host_tsc_hz(void)
{
	static uint64_t hz;

	if (!hz)
		hz = stated_by_cpu();
	if (!hz)
		hz = stated_by_hypervisor();
	if (!hz)
		hz = measure();
	return hz;
}
