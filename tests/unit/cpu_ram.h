// SPDX-License-Identifier: MIT
//
// For tests of cpu/ that touch guest memory: RAM at its place in the zone, the hooks that the monitor would supply, and
// a way to run one piece of cpu/ and see the fault it raised.
#ifndef TESTS_CPU_RAM_H
#define TESTS_CPU_RAM_H

#include "cpu_harness.h"
#include "cpu/vmem.h"
#include <sys/mman.h>

enum { RAM_SIZE = 16 << 20 };

static uint64_t mmio_reads, mmio_writes, last_mmio_value;

uint64_t vcpu_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size)
{
	mmio_reads++;
	return 0x8877665544332211u;
}

void vcpu_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value)
{
	mmio_writes++;
	last_mmio_value = value;
}

bool vcpu_port_block(struct vcpu *v, uint16_t port, unsigned size, unsigned count, void *bytes, bool write)
{
	return false;
}

uint64_t vcpu_port_read(struct vcpu *v, uint16_t port, unsigned size)
{
	return 0xa5a5a5a5a5a5a500u | (port & 0xff);
}

static uint64_t ports_written[16];
static unsigned nports_written;

void vcpu_port_write(struct vcpu *v, uint16_t port, unsigned size, uint64_t value)
{
	ports_written[nports_written++ % 16] = (uint64_t)port << 32 | value;
}

_Noreturn void vcpu_nyi(struct vcpu *v, const char *what)
{
	fprintf(stderr, "not built yet: %s\n", what);
	abort();
}

static inline void *ram(gpa_t gpa)
{
	return (void *)(ZONE_RAM + gpa);
}

static inline void put64(gpa_t gpa, uint64_t x)
{
	memcpy(ram(gpa), &x, 8);
}

static inline uint64_t get64(gpa_t gpa)
{
	uint64_t x;

	memcpy(&x, ram(gpa), 8);
	return x;
}

static inline void make_ram(void)
{
	void *at = mmap((void *)ZONE_RAM, RAM_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at != (void *)ZONE_RAM) {
		perror("mmap");
		exit(1);
	}
	mem_layout(&test_shared->config.mem, RAM_SIZE);
}

// Run a statement; the vector it raised, or -1. The fault stands in v->fault.
#define RAISED(statement) (jump_set(&test_vcpu->landing) ? (int)test_vcpu->fault.vector : ((statement), -1))

#endif
