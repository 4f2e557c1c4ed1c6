// SPDX-License-Identifier: MIT
//
// Device access from the vCPU, nearest first: the local APIC's page, the chips on the monitor's bus, and last the app,
// by a world switch: fill the request slot, post it, spin a little for the answer, then sleep on the slot's futex.
// world_request is also the way to every other service of the app.
#include "vmm/linux.h"
#include "vmm/vmm.h"

static uint64_t size_mask(unsigned size)
{
	return size >= 8 ? ~UINT64_C(0) : BIT64(8 * size) - 1;
}

static void await_answer(struct vmm *vm, struct request *r, uint64_t since)
{
	while (r->state != REQ_ANSWERED) {
		if (linux_rdtsc() - since < vm->spin_cycles) {
			linux_pause();
			continue;
		}
		r->monitor_asleep = 1;
		if (r->state != REQ_ANSWERED)
			linux_futex_wait(&r->state, REQ_POSTED, NULL);
		r->monitor_asleep = 0;
	}
}

uint64_t world_request(struct vcpu *v, enum request_kind kind, uint64_t addr, unsigned size, uint64_t value)
{
	struct vmm *vm = vmm_of(v);
	struct request *r = &vm->shared->request[v->index];
	uint64_t since = linux_rdtsc();

	r->kind = kind;
	r->addr = addr;
	r->size = size;
	r->value = value;
	r->dev[0] = 0;
	r->now = vmm_clock_ns(v);
	if (v->counting)
		vcpu_stats(v)->insns = vcpu_count(v) - v->count_skipped;
	r->state = REQ_POSTED;
	if (r->app_asleep)
		linux_futex_wake(&r->state);
	await_answer(vm, r, since);
	value = r->value;
	if (v->counting && r->deadline != vm->app_timer.deadline)
		timer_set(&vm->bus, &vm->app_timer, r->deadline);
	r->state = REQ_IDLE;
	vcpu_stats(vm->vcpu)->world_switches++;
	vcpu_stats(vm->vcpu)->world_switch_ns += vmm_tsc_to_ns(v, linux_rdtsc() - since);
	return value;
}

void world_ring_doorbell(struct shared *sh)
{
	sh->doorbell++;
	if (sh->doorbell_asleep)
		linux_futex_wake(&sh->doorbell);
}

void world_kick(struct shared *sh, unsigned function)
{
	struct pci_app *a = &sh->pci[function]; // whose kicks are set

	a->bell++;
	if (a->asleep)
		linux_futex_wake(&a->bell);
}

// An access that the app has answered, or nobody.
static void trace_app(struct vcpu *v, const char *what, uint64_t addr, unsigned size, uint64_t value)
{
	char name[sizeof(v->shared->request[0].dev)];

	__builtin_memcpy(name, v->shared->request[v->index].dev, sizeof(name));
	name[sizeof(name) - 1] = 0;
	if (name[0])
		vmm_trace(v, LOG_DEV, "dev: %s %s %lx size %u value %lx\n", name, what, addr, size, value);
	else
		vmm_trace(v, LOG_UNIMP, "unimp: %s %lx size %u value %lx at %lx: no device\n", what, addr, size, value, v->rip);
}

static uint64_t app_read(struct vcpu *v, enum request_kind kind, const char *what, uint64_t addr, unsigned size)
{
	uint64_t value = world_request(v, kind, addr, size, 0) & size_mask(size);

	if (v->shared->config.log)
		trace_app(v, what, addr, size, value);
	return value;
}

static void follow_a20(struct vcpu *v)
{
	if (v->shared->a20_masked == v->a20_masked)
		return;
	v->a20_masked = v->shared->a20_masked; // keyboard controller, port 92
	vcpu_set_pending(v, PENDING_FLUSH);
}

static void app_write(struct vcpu *v, enum request_kind kind, const char *what, uint64_t addr, unsigned size,
		      uint64_t value)
{
	world_request(v, kind, addr, size, value);
	follow_a20(v);
	if (v->shared->config.log)
		trace_app(v, what, addr, size, value);
}

// With one processor there is nobody else.
static void enter_board(struct chips *c, const struct vcpu *v)
{
	if (v->shared->config.vcpus > 1)
		vmm_lock(&c->lock);
}

static void leave_board(struct chips *c, const struct vcpu *v)
{
	if (v->shared->config.vcpus > 1)
		vmm_unlock(&c->lock);
}

static bool board_read(struct vcpu *v, enum bus_space space, uint64_t addr, unsigned size, uint64_t *value)
{
	struct chips *c = vmm_of(v)->chips;
	bool got;

	enter_board(c, v);
	got = bus_read(&c->bus, space, addr, size, value);
	leave_board(c, v);
	return got;
}

static bool board_write(struct vcpu *v, enum bus_space space, uint64_t addr, unsigned size, uint64_t value)
{
	struct chips *c = vmm_of(v)->chips;
	bool taken;

	enter_board(c, v);
	taken = bus_write(&c->bus, space, addr, size, value);
	leave_board(c, v);
	return taken;
}

bool vcpu_port_quick(struct vcpu *v, uint16_t port, unsigned size, uint64_t *value, bool write)
{
	bool done = write ? board_write(v, BUS_PORT, port, size, *value & size_mask(size)) :
			    board_read(v, BUS_PORT, port, size, value);

	vcpu_stats(v)->port_accesses += done;
	return done;
}

uint64_t vcpu_port_read(struct vcpu *v, uint16_t port, unsigned size)
{
	uint64_t value;

	vcpu_stats(v)->port_accesses++;
	if (!board_read(v, BUS_PORT, port, size, &value))
		value = app_read(v, REQ_PORT_READ, "port read", port, size);
	return value & size_mask(size);
}

void vcpu_port_write(struct vcpu *v, uint16_t port, unsigned size, uint64_t value)
{
	vcpu_stats(v)->port_accesses++;
	value &= size_mask(size);
	if (!board_write(v, BUS_PORT, port, size, value))
		app_write(v, REQ_PORT_WRITE, "port write", port, size, value);
}

static void board_block(struct bus *bus, uint16_t port, unsigned size, unsigned count, uint8_t *bytes, bool write)
{
	for (; count; count--, bytes += size) {
		uint64_t value = 0;

		if (write)
			__builtin_memcpy(&value, bytes, size);
		if (write)
			bus_write(bus, BUS_PORT, port, size, value);
		else
			bus_read(bus, BUS_PORT, port, size, &value);
		if (!write)
			__builtin_memcpy(bytes, &value, size);
	}
}

bool vcpu_port_block(struct vcpu *v, uint16_t port, unsigned size, unsigned count, void *bytes, bool write)
{
	struct chips *c = vmm_of(v)->chips;
	uint8_t *block = (uint8_t *)v->shared->request[v->index].block;
	bool here;

	if (v->shared->config.log)
		return false;
	vcpu_stats(v)->port_accesses += count;
	enter_board(c, v);
	here = bus_has(&c->bus, BUS_PORT, port);
	if (here)
		board_block(&c->bus, port, size, count, bytes, write);
	leave_board(c, v);
	if (here)
		return true;
	if (write)
		__builtin_memcpy(block, bytes, size * count);
	world_request(v, write ? REQ_PORT_WRITE_BLOCK : REQ_PORT_READ_BLOCK, port, size, count);
	if (write)
		follow_a20(v);
	else
		__builtin_memcpy(bytes, block, size * count);
	return true;
}

uint64_t vcpu_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size)
{
	const void *at;
	uint64_t value;

	vcpu_stats(v)->mmio_accesses++;
	if (lapic_claims(v, gpa)) {
		value = lapic_mmio_read(v, gpa & PAGE_OFFSET, size);
		vmm_trace(v, LOG_DEV, "dev: lapic mmio read %lx size %u value %lx\n", gpa, size, value);
		return value;
	}
	if ((at = mem_data(&v->shared->config.mem, gpa, size))) { // the frame buffer, where two steps make one access
		value = 0;
		__builtin_memcpy(&value, at, size);
		return value;
	}
	if (mem_is_rom(&v->shared->config.mem, gpa, size)) {
		value = 0;
		__builtin_memcpy(&value, mem_code(&v->shared->config.mem, gpa, size), size);
		return value;
	}
	if (!board_read(v, BUS_MMIO, gpa, size, &value))
		value = app_read(v, REQ_MMIO_READ, "mmio read", gpa, size);
	return value & size_mask(size);
}

bool vcpu_mmio_write_quick(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value)
{
	bool done = lapic_claims(v, gpa);

	value &= size_mask(size);
	if (done) {
		vcpu_mmio_write(v, gpa, size, value);
	} else if (!mem_is_rom(&v->shared->config.mem, gpa, size)) {
		done = board_write(v, BUS_MMIO, gpa, size, value);
		vcpu_stats(v)->mmio_accesses += done;
	}
	return done;
}

void vcpu_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value)
{
	void *at = mem_data(&v->shared->config.mem, gpa, size);

	vcpu_stats(v)->mmio_accesses++;
	value &= size_mask(size);
	if (lapic_claims(v, gpa)) {
		vmm_trace(v, LOG_DEV, "dev: lapic mmio write %lx size %u value %lx\n", gpa, size, value);
		lapic_mmio_write(v, gpa & PAGE_OFFSET, size, (uint32_t)value);
	} else if (at) {
		__builtin_memcpy(at, &value, size);
	} else if (mem_is_rom(&v->shared->config.mem, gpa, size)) {
		return;
	} else if (!board_write(v, BUS_MMIO, gpa, size, value))
		app_write(v, REQ_MMIO_WRITE, "mmio write", gpa, size, value);
}

_Noreturn void vmm_shutdown(struct vcpu *v)
{
	world_request(v, REQ_SHUTDOWN, 0, 0, 0);
	linux_exit(0);
}

_Noreturn void vmm_reset(struct vcpu *v, enum reset_reason why)
{
	if (v->shared->config.log & LOG_RESET)
		report_trace_state(v, why == RESET_TRIPLE_FAULT ? "reset: triple fault" : "reset: asked for by the guest");
	world_request(v, REQ_RESET, 0, 0, why);
	linux_exit(0);
}
