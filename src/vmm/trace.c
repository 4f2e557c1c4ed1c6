// SPDX-License-Identifier: MIT
//
// Text for the -d items: formatted on the stack and put into the trace ring, whole or not at all. When the ring is full
// the monitor waits for the app to read; if it does not for a second, text is dropped, and the loss said as soon as
// there is room again.
#include "base/format.h"
#include "bus/ring.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"

enum { LINE_MAX = 1024 };

static bool await_room(struct vmm *vm, struct ring *r, uint32_t need)
{
	const struct linux_timespec second = {1, 0};
	uint64_t since = linux_rdtsc();
	uint32_t tail;

	while (ring_space(r) < need) {
		tail = r->tail;
		if (ring_wait_space(r, need))
			return true;
		world_ring_doorbell(vm->shared);
		linux_futex_wait(&r->tail, tail, &second); // the timer's signal ends it early
		if (r->tail == tail && linux_rdtsc() - since > vm->shared->config.tsc_hz)
			return false;
	}
	return true;
}

void vmm_trace_text(struct vcpu *v, const char *fmt, ...)
{
	struct vmm *vm = vmm_self();
	struct ring *r = &vm->shared->trace;
	char line[LINE_MAX];
	size_t len = 0;
	va_list ap;

	if (vm->trace_lost)
		len = format_text(line, sizeof(line), "(%lu bytes of trace lost)\n", vm->trace_lost);
	va_start(ap, fmt);
	len += format_textv(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	vmm_lock(&vm->chips->trace_lock);
	if (!await_room(vm, r, (uint32_t)len)) {
		vmm_unlock(&vm->chips->trace_lock);
		vm->trace_lost += len;
		return;
	}
	vm->trace_lost = 0;
	ring_push(r, line, (uint32_t)len);
	vmm_unlock(&vm->chips->trace_lock);
	world_ring_doorbell(vm->shared);
}
