// SPDX-License-Identifier: MIT
//
// A stop of the vCPU for the app (gdb, the monitor's commands): the vector state, which otherwise lives in the host's
// registers, goes into vcpu.xsave and comes back from there, so that the app can read and change it.
#include "vmm/vmm.h"

// x87, SSE, AVX and AVX-512: what the guest's registers hold in the host's. The host's PKRU is never the guest's.
enum { GUEST_STATE = 0xe7 };

void vmm_save_vectors(struct vcpu *v)
{
	uint32_t mask = (uint32_t)v->shared->config.host_xcr0 & GUEST_STATE;

	if (mask)
		__asm__ volatile("xsave64 %0" : "+m"(v->xsave) : "a"(mask), "d"(0));
	else
		__asm__ volatile("fxsave64 %0" : "=m"(v->xsave));
}

void vmm_load_vectors(struct vcpu *v)
{
	uint32_t mask = (uint32_t)v->shared->config.host_xcr0 & GUEST_STATE;

	if (mask)
		__asm__ volatile("xrstor64 %0" : : "m"(v->xsave), "a"(mask), "d"(0));
	else
		__asm__ volatile("fxrstor64 %0" : : "m"(v->xsave));
}

// The guest's clocks stand still while it is stopped.
static void skip_time(struct vcpu *v, uint64_t cycles)
{
	vmm_of(v)->tsc_start += cycles;
	clock_shifted(vmm_of(v));
	v->tsc_offset -= cycles;
}

enum resume vmm_stopped(struct vcpu *v, enum stop_reason why)
{
	uint64_t since = vcpu_cycles(v);
	enum resume how;

	vmm_save_vectors(v);
	how = (enum resume)world_request(v, REQ_STOPPED, 0, 0, why);
	vmm_load_vectors(v);
	skip_time(v, vcpu_cycles(v) - since);
	return how;
}
