// SPDX-License-Identifier: MIT
//
// What the unit tests of cpu/ have in common: a vCPU outside any monitor, a clock the test moves, and bus timers on it.
#ifndef TESTS_CPU_HARNESS_H
#define TESTS_CPU_HARNESS_H

#include "base/assert.h"
#include "cpu/system.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;
#define CHECK(x) ((x) ? (void)0 : (void)(failures++, fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x)))
#define CHECK_EQ(a, b) check_eq(__FILE__, __LINE__, #a, (uint64_t)(a), (uint64_t)(b))

static inline void check_eq(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	failures++;
	fprintf(stderr, "%s:%d: %s is %#lx, not %#lx\n", file, line, what, got, want);
}

static uint64_t clock_ns = 1000;
static struct bus test_bus;
static struct shared *test_shared;
static struct vcpu *test_vcpu;

void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

static uint64_t test_now(void *opaque)
{
	return clock_ns;
}

void vmm_yield(struct vcpu *v)
{
}

uint64_t vmm_clock_ns(const struct vcpu *v)
{
	return clock_ns;
}

uint64_t vmm_clock_start(const struct vcpu *v)
{
	return UINT64_C(0x123456789a);
}

uint64_t vmm_wall_clock_ns(const struct vcpu *v)
{
	return UINT64_C(1700000000123456789);
}

void vmm_trace_text(struct vcpu *v, const char *fmt, ...)
{
}

void vcpu_space_changed(struct vcpu *v)
{
}

uint8_t *vcpu_ram_host(struct vcpu *v, gva_t gva, enum vmem_access access)
{
	return NULL;
}

void vcpu_ram_written(struct vcpu *v, gpa_t gpa, size_t size)
{
}

void vcpu_data_access(struct vcpu *v, gva_t gva, size_t size, bool write)
{
}

// Move the clock to `ns`, firing what is due at each deadline's own time.
static inline void run_until(uint64_t ns)
{
	while (test_bus.earliest && test_bus.earliest <= ns) {
		clock_ns = MAX(clock_ns, test_bus.earliest);
		bus_run_timers(&test_bus);
	}
	clock_ns = ns;
}

static inline void add_leaf(uint32_t leaf, int subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	struct config *c = &test_shared->config;

	c->cpuid[c->cpuid_count++] = (struct cpuid_leaf){leaf, subleaf < 0 ? 0 : (uint32_t)subleaf, subleaf >= 0,
							 eax, ebx, ecx, edx};
}

// An Intel-like model: everything cpu/ has code for.
static inline void make_vcpu(void)
{
	test_shared = calloc(1, sizeof(*test_shared));
	test_vcpu = aligned_alloc(64, align_up(sizeof(*test_vcpu), 64));
	memset(test_vcpu, 0, sizeof(*test_vcpu));
	test_shared->config.tsc_hz = 1000000000;
	test_shared->config.arch_capabilities = 0x1234;
	add_leaf(0, -1, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69);
	add_leaf(1, -1, 0xa0671, 0x00010800, 0x97fab3df, 0x0f8bfbff);
	add_leaf(7, 0, 0, 0xd19f47ab, 0x00405f46, 0xbc000010);
	add_leaf(0xb, 0, 0, 1, 0x100, 0);
	add_leaf(0xb, 1, 0, 1, 0x201, 0);
	add_leaf(0xd, 0, 0xe7, 0, 0xa80, 0);
	add_leaf(0xd, 1, 7, 0, 0, 0);
	add_leaf(0xd, 2, 0x100, 0x240, 0, 0);
	add_leaf(0xd, 5, 0x40, 0x440, 0, 0);
	add_leaf(0xd, 6, 0x200, 0x480, 0, 0);
	add_leaf(0xd, 7, 0x400, 0x680, 0, 0);
	add_leaf(0x40000000, -1, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	add_leaf(0x40000001, -1, 0x01000009, 0, 0, 0);
	add_leaf(0x80000000u, -1, 0x80000008u, 0, 0, 0);
	add_leaf(0x80000001u, -1, 0, 0, 0x21, 0x2c100800);
	add_leaf(0x80000008u, -1, 0x3030, 0, 0, 0);
	bus_init(&test_bus);
	test_bus.now = test_now;
	vcpu_reset(test_vcpu, test_shared);
	lapic_init(test_vcpu, &test_bus);
}

static inline int finish(void)
{
	if (failures)
		fprintf(stderr, "%d checks failed\n", failures);
	return failures != 0;
}

#endif
