// SPDX-License-Identifier: MIT
//
// Guest RAM at the guest's own addresses: the host calls of the mapped form (shadow/). Pieces of the RAM file outside
// the zone, shared with the mapping of all RAM in it, never executable. The jail lets exactly these calls pass.
#include "mem/mem.h"
#include "vmm/jail.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <errno.h>
#include <sys/mman.h>

_Static_assert(JAIL_MAP_FLAGS == (MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE), "jail.h has no mman.h");

#define USER_END 0x7ffffffff000

// Does it lie in guest user space, all of it, and below or above the zone?
static bool outside(gva_t gva, uint64_t size)
{
	return !(size >> 32) && gva < USER_END && gva + size <= USER_END &&
	       (gva + size <= ZONE_START || gva >= ZONE_END);
}

int vmm_map_guest(struct vcpu *v, gva_t gva, gpa_t gpa, uint64_t size, bool write)
{
	uint64_t offset = mem_file_offset(&v->shared->config.mem, gpa), prot = PROT_READ | (write ? PROT_WRITE : 0);

	if (!outside(gva, size))
		return -EINVAL;
	ASSERT(mem_is_ram(&v->shared->config.mem, gpa, size));
	return (int)MIN(linux_call6(SYS_mmap, gva, size, prot, JAIL_MAP_FLAGS, MONITOR_FD_RAM, offset), 0);
}

int vmm_unmap_guest(struct vcpu *v, gva_t gva, uint64_t size)
{
	ASSERT(outside(gva, size));
	return (int)linux_call3(SYS_munmap, gva, size, 0);
}

int vmm_unmap_guest_all(struct vcpu *v)
{
	long err = linux_call3(SYS_munmap, 0, ZONE_START, 0);

	return (int)(err ? err : linux_call3(SYS_munmap, ZONE_END, USER_END - ZONE_END, 0));
}
