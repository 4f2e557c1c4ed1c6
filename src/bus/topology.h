// SPDX-License-Identifier: MIT
//
// How the processors are arranged, as CPUID and the ACPI tables say it: packages of dies of cores of threads, and the
// APIC IDs that follow (each level has as many bits as its largest number needs); and the nodes that memory and
// processors belong to. Written by the app, constant while the machine runs. To the host all of it is one memory.
#ifndef BUS_TOPOLOGY_H
#define BUS_TOPOLOGY_H

#include "base/types.h"

enum { NODES_MAX = 8, TOPOLOGY_CPUS = 16, NODE_DISTANCE_SELF = 10, NODE_DISTANCE = 20 };

struct topology {
	uint32_t sockets, dies, cores, threads; // dies a socket, cores a die, threads a core
	uint32_t places;                        // processors there could be: the product, maxcpus
};

struct numa {
	uint32_t nodes;                    // 0: none are told of
	uint64_t memory[NODES_MAX];        // bytes, from address 0 on
	uint8_t of_cpu[TOPOLOGY_CPUS];
	bool distances;                    // they were given
	uint8_t distance[NODES_MAX][NODES_MAX];
};

static inline uint32_t topology_bits(uint32_t n)
{
	uint32_t bits = 0;

	while (BIT(bits) < n)
		bits++;
	return bits;
}

static inline uint32_t topology_core_shift(const struct topology *t)
{
	return topology_bits(t->threads);
}

static inline uint32_t topology_die_shift(const struct topology *t)
{
	return topology_core_shift(t) + topology_bits(t->cores);
}

static inline uint32_t topology_package_shift(const struct topology *t)
{
	return topology_die_shift(t) + topology_bits(t->dies);
}

static inline uint32_t topology_per_package(const struct topology *t)
{
	return t->dies * t->cores * t->threads;
}

// Of the processor with that number. A machine that has not been told of any arrangement numbers them.
static inline uint32_t topology_apic_id(const struct topology *t, uint32_t cpu)
{
	uint32_t thread, core, die;

	if (!t->threads)
		return cpu;
	thread = cpu % t->threads;
	core = cpu / t->threads % t->cores;
	die = cpu / (t->threads * t->cores) % t->dies;
	return cpu / topology_per_package(t) << topology_package_shift(t) | die << topology_die_shift(t) |
	       core << topology_core_shift(t) | thread;
}

#endif
