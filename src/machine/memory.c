// SPDX-License-Identifier: MIT
//
// The machine's memory files and where they stand: state (struct shared, then one struct vcpu each), guest RAM at its
// zone addresses, and the translation cache, which only the monitor maps.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/memfd.h"
#include "machine/machine.h"
#include "mem/zone.h"

#define Q35_LOW_MAX (UINT64_C(2) << 30) // with firmware, of memory that reaches configuration space

static int create(int *fd, const char *name, uint64_t size, char *err, size_t errlen)
{
	*fd = host_memfd_create(name, size);
	if (*fd < 0)
		snprintf(err, errlen, "cannot create %llu MiB of memory (%s): %s", (unsigned long long)(size >> 20),
			 name, strerror(-*fd));
	return MIN(*fd, 0);
}

static int map(int fd, uint64_t addr, uint64_t size, uint64_t offset, char *err, size_t errlen)
{
	int r = size ? host_map_fixed(fd, addr, size, offset) : 0;

	if (r < 0)
		snprintf(err, errlen, "cannot map %llu MiB at %#llx: %s; is the address space limited (ulimit -v)?",
			 (unsigned long long)(size >> 20), (unsigned long long)addr, strerror(-r));
	return r;
}

static int map_ram(struct machine *m, const struct mem *mem, char *err, size_t errlen)
{
	int r = map(m->ram_fd, ZONE_RAM, mem->low_end, 0, err, errlen);

	if (r == 0)
		r = map(m->ram_fd, ZONE_RAM + mem->rom_start, mem_rom_size(mem), mem->ram_size, err, errlen);
	if (r == 0)
		r = map(m->ram_fd, ZONE_RAM + MEM_FRAME, mem->frame_size, mem_frame_offset(mem), err, errlen);
	if (r < 0 || mem->high_end <= MEM_HIGH_START)
		return r;
	return map(m->ram_fd, ZONE_RAM + MEM_HIGH_START, mem->high_end - MEM_HIGH_START,
		   mem_file_offset(mem, MEM_HIGH_START), err, errlen);
}

// Each vCPU translates for itself.
static int create_caches(struct machine *m, char *err, size_t errlen)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < m->config->vcpus; i++)
		r = create(&m->tc_fd[i], "ringer-tc", m->config->tc_size, err, errlen);
	return r;
}

static int preallocate(struct machine *m, char *err, size_t errlen)
{
	int r = m->config->prealloc ? host_memfd_take(m->ram_fd, m->config->ram_size) : 0;

	if (r < 0)
		snprintf(err, errlen, "-mem-prealloc: the host does not have %llu MiB to give: %s",
			 (unsigned long long)(m->config->ram_size >> 20), strerror(-r));
	return r;
}

int machine_map(struct machine *m, char *err, size_t errlen)
{
	const struct machine_config *c = m->config;
	struct mem mem;
	int r;

	if (c->board == BOARD_Q35 && c->boot.bios)
		mem_layout_below(&mem, c->ram_size, c->ram_size >= PCI_ECAM_FIRMWARE ? Q35_LOW_MAX : PCI_ECAM_FIRMWARE);
	else
		mem_layout(&mem, c->ram_size);
	mem.rom_start -= boot_firmware_size(&c->boot);
	mem.frame_size = machine_has_vga(c) ? SCREEN_MEMORY : 0;
	if ((r = create(&m->state_fd, "ringer-state", STATE_FILE_SIZE, err, errlen)) < 0 ||
	    (r = create(&m->ram_fd, "ringer-ram", mem_frame_offset(&mem) + mem.frame_size, err, errlen)) < 0 ||
	    (r = preallocate(m, err, errlen)) < 0 || (r = create_caches(m, err, errlen)) < 0 ||
	    (r = map(m->state_fd, ZONE_SHARED, SHARED_SIZE, 0, err, errlen)) < 0)
		return r;
	m->shared = (struct shared *)ZONE_SHARED;
	for (unsigned i = 0; i < VCPUS_MAX; i++) {
		r = map(m->state_fd, ZONE_VCPU(i), VCPU_SHARED_SIZE, vcpu_file_offset(i), err, errlen);
		if (r < 0)
			return r;
		m->vcpu[i] = (struct vcpu *)ZONE_VCPU(i);
	}
	r = map(m->state_fd, ZONE_PEERS, PEERS_SHARED_SIZE, PEERS_FILE_OFFSET, err, errlen);
	if (r < 0)
		return r;
	m->peers = (struct peers *)ZONE_PEERS;
	m->shared->config.mem = mem;
	return map_ram(m, &mem, err, errlen);
}

int machine_clear_memory(struct machine *m)
{
	int r = host_memfd_zero(m->ram_fd, 0, m->config->ram_size);

	if (r == 0 && m->config->prealloc)
		r = host_memfd_take(m->ram_fd, m->config->ram_size);
	for (unsigned i = 0; r == 0 && i < m->config->vcpus; i++)
		r = host_memfd_zero(m->tc_fd[i], 0, m->config->tc_size);
	if (r == 0)
		r = host_memfd_zero(m->state_fd, SHARED_SIZE, STATE_FILE_SIZE - SHARED_SIZE);
	return r;
}

static void close_file(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void machine_unmap(struct machine *m)
{
	if (m->shared) {
		struct mem mem = m->shared->config.mem;

		if (mem.low_end)
			host_unmap(ZONE_RAM, mem.low_end);
		if (mem_rom_size(&mem))
			host_unmap(ZONE_RAM + mem.rom_start, mem_rom_size(&mem));
		if (mem.frame_size)
			host_unmap(ZONE_RAM + MEM_FRAME, mem.frame_size);
		if (mem.high_end > MEM_HIGH_START)
			host_unmap(ZONE_RAM + MEM_HIGH_START, mem.high_end - MEM_HIGH_START);
		for (unsigned i = 0; i < VCPUS_MAX; i++)
			host_unmap(ZONE_VCPU(i), VCPU_SHARED_SIZE);
		host_unmap(ZONE_PEERS, PEERS_SHARED_SIZE);
		host_unmap(ZONE_SHARED, SHARED_SIZE);
	}
	m->shared = NULL;
	close_file(&m->state_fd);
	close_file(&m->ram_fd);
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		close_file(&m->tc_fd[i]);
}
