// SPDX-License-Identifier: MIT
//
// Memory that the translator has no use for at present goes back to the host. The jail lets this call pass for the
// tables and the cache of vCPUs only. If the host refuses, it keeps its pages.
#include "mem/zone.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <sys/mman.h>

void vmm_release(struct vcpu *v, const void *from, const void *to, bool cache)
{
	uint64_t start = align_up((uint64_t)from, PAGE_SIZE), end = align_down((uint64_t)to, PAGE_SIZE);

	if (start >= end)
		return;
	ASSERT(start >= (uint64_t)v + ZONE_VCPU_BT && end <= (uint64_t)v + ZONE_VCPU_STRIDE);
	linux_call3(SYS_madvise, start, end - start, cache ? MADV_REMOVE : MADV_DONTNEED);
}
