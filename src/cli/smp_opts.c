// SPDX-License-Identifier: MIT
//
// -smp: how many processors, and in which packages; -numa and -object memory-backend-ram: which nodes of memory they
// and the RAM belong to. What is left out is filled in as QEMU does since version 6.2: cores before sockets, processors
// to nodes by package.
#include <string.h>

#include "cli/cli.h"

enum smp_key { SMP_CPUS, SMP_MAXCPUS, SMP_SOCKETS, SMP_DIES, SMP_CLUSTERS, SMP_CORES, SMP_THREADS, SMP_KEYS };

static const char *const smp_keys[SMP_KEYS] = {"cpus", "maxcpus", "sockets", "dies", "clusters", "cores", "threads"};

static enum cli_result smp_parse(struct cli *c, const char *arg, uint64_t n[SMP_KEYS])
{
	struct cli_prop p;
	unsigned key;

	while (cli_next_prop(&arg, &p)) {
		for (key = 0; key < SMP_KEYS && strcmp(*p.key ? p.key : "cpus", smp_keys[key]); key++)
			;
		if (key == SMP_KEYS)
			return cli_error(c, "unknown property '%s'", p.key);
		if (!cli_parse_number(p.value, &n[key]) || !n[key])
			return cli_error(c, "'%s' is not a number of processors", p.value);
		if (n[key] > VCPUS_MAX)
			return cli_error(c, "%s processors are more than ringer has (%d at most)", p.value, VCPUS_MAX);
	}
	if (n[SMP_CLUSTERS] > 1)
		return cli_error(c, "clusters are not for this board; leave them out");
	return CLI_OK;
}

static uint64_t share(uint64_t all, uint64_t by)
{
	return MAX(all / by, 1);
}

static void smp_complete(uint64_t n[SMP_KEYS])
{
	uint64_t most = n[SMP_MAXCPUS] ? n[SMP_MAXCPUS] : n[SMP_CPUS];

	n[SMP_DIES] = MAX(n[SMP_DIES], 1);
	if (most && !n[SMP_CORES]) {
		n[SMP_SOCKETS] = MAX(n[SMP_SOCKETS], 1);
		n[SMP_THREADS] = MAX(n[SMP_THREADS], 1);
		n[SMP_CORES] = share(most, n[SMP_SOCKETS] * n[SMP_DIES] * n[SMP_THREADS]);
	} else if (most && !n[SMP_SOCKETS]) {
		n[SMP_THREADS] = MAX(n[SMP_THREADS], 1);
		n[SMP_SOCKETS] = share(most, n[SMP_DIES] * n[SMP_CORES] * n[SMP_THREADS]);
	} else if (most && !n[SMP_THREADS]) {
		n[SMP_THREADS] = share(most, n[SMP_SOCKETS] * n[SMP_DIES] * n[SMP_CORES]);
	}
	for (unsigned key = SMP_SOCKETS; key < SMP_KEYS; key++)
		n[key] = MAX(n[key], 1);
	if (!n[SMP_MAXCPUS])
		n[SMP_MAXCPUS] = most ? most : n[SMP_SOCKETS] * n[SMP_DIES] * n[SMP_CORES] * n[SMP_THREADS];
	if (!n[SMP_CPUS])
		n[SMP_CPUS] = n[SMP_MAXCPUS];
}

enum cli_result cli_smp(struct cli *c, const char *arg)
{
	uint64_t n[SMP_KEYS] = {0}, product;

	if (smp_parse(c, arg, n) != CLI_OK)
		return CLI_ERROR;
	smp_complete(n);
	product = n[SMP_SOCKETS] * n[SMP_DIES] * n[SMP_CORES] * n[SMP_THREADS];
	if (n[SMP_MAXCPUS] > VCPUS_MAX)
		return cli_error(c, "%llu processors are more than ringer has (%d at most)",
				 (unsigned long long)n[SMP_MAXCPUS], VCPUS_MAX);
	if (n[SMP_CPUS] > n[SMP_MAXCPUS])
		return cli_error(c, "maxcpus must not be less than the number of processors");
	if (product != n[SMP_MAXCPUS])
		return cli_error(c, "%llu processors do not fill this topology: it has %llu places (sockets %llu, dies "
				 "%llu, cores %llu, threads %llu)", (unsigned long long)n[SMP_MAXCPUS],
				 (unsigned long long)product, (unsigned long long)n[SMP_SOCKETS],
				 (unsigned long long)n[SMP_DIES], (unsigned long long)n[SMP_CORES],
				 (unsigned long long)n[SMP_THREADS]);
	c->config.vcpus = (unsigned)n[SMP_CPUS];
	c->config.topology = (struct topology){(uint32_t)n[SMP_SOCKETS], (uint32_t)n[SMP_DIES], (uint32_t)n[SMP_CORES],
					       (uint32_t)n[SMP_THREADS], (uint32_t)n[SMP_MAXCPUS]};
	return CLI_OK;
}

// -- nodes ------------------------------------------------------------------------------------------------------------

enum cli_result cli_memory_object(struct cli *c, const char *arg)
{
	static const char *const host_only[] = {"share", "prealloc", "merge", "dump", "policy", "host-nodes", "reserve",
						"prealloc-threads", "mem-path", "discard-data", "pmem",
						"readonly", "seal", "hugetlb", "x-use-canonical-path-for-ramblock-id", NULL};
	struct cli_memdev *m = &c->memdev[c->memdevs];
	struct cli_prop p;

	if (c->memdevs == NODES_MAX)
		return cli_error(c, "%d pieces of memory are the most", NODES_MAX);
	while (cli_next_prop(&arg, &p)) {
		if (!strcmp(p.key, "id"))
			snprintf(m->id, sizeof(m->id), "%.63s", p.value);
		else if (!strcmp(p.key, "size") && !cli_parse_size(p.value, 1, &m->size))
			return cli_error(c, "size=%s is not a size; write it like 512M or 2G", p.value);
		else if (strcmp(p.key, "size") && !cli_is_one_of(p.key, host_only))
			return cli_error(c, "memory has no property '%s'", *p.key ? p.key : p.value);
	}
	if (!*m->id || !m->size || m->size % PAGE_SIZE)
		return cli_error(c, "memory wants id=ID and size=N, whole pages");
	c->memdevs++;
	return CLI_OK;
}

static enum cli_result place_cpu(struct cli *c, uint64_t cpu, unsigned node)
{
	if (cpu >= VCPUS_MAX)
		return cli_error(c, "there is no processor %llu", (unsigned long long)cpu);
	if (c->placed & BIT(cpu))
		return cli_error(c, "processor %llu has a node already", (unsigned long long)cpu);
	c->placed |= BIT(cpu);
	c->config.numa.of_cpu[cpu] = (uint8_t)node;
	return CLI_OK;
}

static enum cli_result node_cpus(struct cli *c, const char *range, unsigned node)
{
	char text[64];
	uint64_t first, last;
	char *dash;

	snprintf(text, sizeof(text), "%.63s", range);
	dash = strchr(text, '-');
	if (dash)
		*dash = 0;
	if (!cli_parse_number(text, &first) || !cli_parse_number(dash ? dash + 1 : text, &last) || last < first)
		return cli_error(c, "cpus=%s is not a range of processors", range);
	for (uint64_t i = first; i <= last; i++)
		if (place_cpu(c, i, node) != CLI_OK)
			return CLI_ERROR;
	return CLI_OK;
}

static enum cli_result numa_node(struct cli *c, const char *arg)
{
	uint64_t id = c->config.numa.nodes;
	struct cli_prop p;

	for (const char *at = arg; cli_next_prop(&at, &p);)
		if (!strcmp(p.key, "nodeid") && (!cli_parse_number(p.value, &id) || id != c->config.numa.nodes))
			return cli_error(c, "nodeid=%s: give nodes in order, from 0 on", p.value);
	if (id >= NODES_MAX)
		return cli_error(c, "%d nodes are the most", NODES_MAX);
	c->config.numa.nodes++;
	while (cli_next_prop(&arg, &p)) {
		struct cli_node *n = &c->node[id];

		if (!strcmp(p.key, "cpus")) {
			if (node_cpus(c, p.value, (unsigned)id) != CLI_OK)
				return CLI_ERROR;
		} else if (!strcmp(p.key, "memdev")) {
			snprintf(n->memdev, sizeof(n->memdev), "%.63s", p.value);
		} else if (!strcmp(p.key, "mem")) {
			if (!cli_parse_size(p.value, 1 << 20, &n->memory))
				return cli_error(c, "mem=%s is not a size; write it like 512M or 2G", p.value);
		} else if (strcmp(p.key, "nodeid")) {
			return cli_error(c, "a node has no property '%s'", *p.key ? p.key : p.value);
		}
	}
	return CLI_OK;
}

static enum cli_result numa_dist(struct cli *c, const char *arg)
{
	static const char *const keys[] = {"src", "dst", "val"};
	uint64_t n[] = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		unsigned i;

		for (i = 0; i < ARRAY_SIZE(keys) && strcmp(p.key, keys[i]); i++)
			;
		if (i == ARRAY_SIZE(keys) || !cli_parse_number(p.value, &n[i]))
			return cli_error(c, "dist takes src=, dst= and val=, numbers");
	}
	if (n[0] >= NODES_MAX || n[1] >= NODES_MAX || n[2] < NODE_DISTANCE_SELF || n[2] > 255 ||
	    (n[0] == n[1]) != (n[2] == NODE_DISTANCE_SELF))
		return cli_error(c, "a distance between two nodes is a number from 11 to 255; to itself it is 10");
	c->config.numa.distances = true;
	c->config.numa.distance[n[0]][n[1]] = (uint8_t)n[2];
	return CLI_OK;
}

// By socket-id=, core-id=, thread-id=: all processors there.
static enum cli_result numa_cpu(struct cli *c, const char *arg)
{
	static const char *const keys[] = {"node-id", "socket-id", "die-id", "core-id", "thread-id"};
	uint64_t want[] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	const struct topology *t = &c->config.topology;
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		unsigned i;

		for (i = 0; i < ARRAY_SIZE(keys) && strcmp(p.key, keys[i]); i++)
			;
		if (i == ARRAY_SIZE(keys) || !cli_parse_number(p.value, &want[i]))
			return cli_error(c, "cpu takes node-id=, socket-id=, die-id=, core-id= and thread-id=, numbers");
	}
	if (want[0] >= c->config.numa.nodes)
		return cli_error(c, "cpu wants node-id= of a node that has been given before");
	for (uint32_t i = 0; i < t->places; i++) {
		const uint64_t is[] = {want[0], i / topology_per_package(t), i / (t->cores * t->threads) % t->dies,
				       i / t->threads % t->cores, i % t->threads};
		bool meant = true;

		for (unsigned k = 1; k < ARRAY_SIZE(keys); k++)
			meant &= want[k] == UINT64_MAX || want[k] == is[k];
		if (meant && place_cpu(c, i, (unsigned)want[0]) != CLI_OK)
			return CLI_ERROR;
	}
	return CLI_OK;
}

enum cli_result cli_numa(struct cli *c, const char *arg)
{
	struct cli_prop p;

	if (!cli_next_prop(&arg, &p))
		return cli_error(c, "give node, cpu or dist");
	if (!strcmp(p.value, "node"))
		return numa_node(c, arg);
	if (!strcmp(p.value, "cpu"))
		return numa_cpu(c, arg);
	if (!strcmp(p.value, "dist"))
		return numa_dist(c, arg);
	return cli_error(c, "'%s' is not built; node, cpu and dist are", p.value);
}

// Sizes of nodes: those of their objects, those given, or equal shares of 8 MiB and more.
static enum cli_result settle_memory(struct cli *c)
{
	struct numa *numa = &c->config.numa;
	uint64_t left = c->config.ram_size, sum = 0;
	bool any = false;

	for (unsigned i = 0; i < numa->nodes; i++) {
		struct cli_node *n = &c->node[i];

		for (unsigned k = 0; k < c->memdevs; k++) {
			struct cli_memdev *m = &c->memdev[k];

			if (!*n->memdev || strcmp(n->memdev, m->id))
				continue;
			if (m->used)
				return cli_error(c, "memory '%s' belongs to two nodes", m->id);
			m->used = true;
			n->memory = m->size;
		}
		if (*n->memdev && !n->memory)
			return cli_error(c, "there is no memory '%s'; make it with -object memory-backend-ram", n->memdev);
		any |= n->memory != 0;
		numa->memory[i] = n->memory;
		sum += n->memory;
	}
	for (unsigned i = 0; !any && i < numa->nodes; i++, sum = c->config.ram_size) {
		numa->memory[i] = i + 1 == numa->nodes ? left : align_down(c->config.ram_size / numa->nodes, 8 << 20);
		left -= numa->memory[i];
	}
	if (sum != c->config.ram_size)
		return cli_error(c, "the nodes have %llu MiB together, the machine %llu: make them equal",
				 (unsigned long long)(sum >> 20), (unsigned long long)(c->config.ram_size >> 20));
	return CLI_OK;
}

// -machine memory-backend=ID: all of the machine's memory. Whatever kind it is, it is a memory file here.
static enum cli_result settle_backend(struct cli *c)
{
	for (unsigned i = 0; *c->memory_backend && i < c->memdevs; i++) {
		struct cli_memdev *m = &c->memdev[i];

		if (strcmp(m->id, c->memory_backend))
			continue;
		m->used = true;
		return m->size == c->config.ram_size ? CLI_OK :
			cli_error(c, "memory-backend=%s has %llu MiB, the machine %llu (-m): make them equal", m->id,
				  (unsigned long long)(m->size >> 20), (unsigned long long)(c->config.ram_size >> 20));
	}
	return !*c->memory_backend ? CLI_OK : cli_error(c, "memory-backend=%s: there is no such -object memory-backend-ram",
							c->memory_backend);
}

enum cli_result cli_settle_nodes(struct cli *c)
{
	struct numa *numa = &c->config.numa;
	const struct topology *t = &c->config.topology;

	c->option = "-machine";
	if (settle_backend(c) != CLI_OK)
		return CLI_ERROR;
	c->option = numa->nodes ? "-numa" : "-object";
	if (numa->nodes && settle_memory(c) != CLI_OK)
		return CLI_ERROR;
	for (unsigned i = 0; i < c->memdevs; i++)
		if (!c->memdev[i].used)
			return cli_error(c, "memory '%s' belongs to no node; give -numa node,memdev=%s", c->memdev[i].id,
					 c->memdev[i].id);
	if (c->placed >> t->places)
		return cli_error(c, "a node has processors that the machine has not (%u)", t->places);
	for (uint32_t i = 0; numa->nodes && i < t->places; i++)
		if (!(c->placed & BIT(i)))
			numa->of_cpu[i] = (uint8_t)(i / topology_per_package(t) % numa->nodes);
	for (unsigned i = 0; i < numa->nodes; i++)
		for (unsigned k = 0; k < numa->nodes; k++) {
			uint8_t there = numa->distance[k][i] ? numa->distance[k][i] : NODE_DISTANCE;

			if (!numa->distance[i][k])
				numa->distance[i][k] = i == k ? NODE_DISTANCE_SELF : there;
		}
	if (!numa->nodes && numa->distances)
		return cli_error(c, "there are no nodes to be distant");
	return CLI_OK;
}
