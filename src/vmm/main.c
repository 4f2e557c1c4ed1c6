// SPDX-License-Identifier: MIT
//
// The monitor's half of the machine, put together: the bus with the virtual clock, the board's chips, the local APIC,
// and the lines between them. Runs once, in the zone, behind the closed jail. After a direct boot the app has already
// written the vCPU's registers (boot/).
#include "bus/ring.h"
#include "cpu/system.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <stdatomic.h>

static void log_access(void *opaque, const char *dev, enum bus_space s, bool write, uint64_t addr, unsigned size,
		       uint64_t value)
{
	vmm_trace(vmm_self()->vcpu, LOG_DEV, "dev: %s %s %s %lx size %u value %lx\n", dev,
		  s == BUS_PORT ? "port" : "mmio", write ? "write" : "read", addr, size, value);
}

static void run_app_timers(void *opaque, uint64_t now)
{
	world_request(vmm_self()->vcpu, REQ_TIMERS, 0, 0, 0);
}

static void wire_bus(struct bus *b, void *owner, const struct config *config)
{
	bus_init(b);
	b->opaque = owner;
	b->now = clock_now;
	b->deadline_changed = clock_arm;
	if (config->log & LOG_DEV)
		b->log = log_access;
}

static void init_bus(struct vmm *vm)
{
	wire_bus(&vm->bus, vm, &vm->shared->config);
	if (!vm->vcpu->index)
		wire_bus(&vm->chips->bus, vm->chips, &vm->shared->config);
	timer_init(&vm->bus, &vm->app_timer, run_app_timers, vm);
}

// -- the lines between board and processor

static void tell_vcpu(struct vmm *vm, unsigned i, uint32_t what)
{
	vm->chips->vcpu[i]->pending |= what;
	vmm_wake(vm->vcpu, i);
}

static void on_pic_intr(void *opaque, bool level)
{
	vmm_trace(vmm_self()->vcpu, LOG_IRQ, "irq: pic output %s\n", level ? "high" : "low");
	if (!vmm_self()->vcpu->index)
		lapic_set_lint(vmm_self()->vcpu, 0, level);
	else
		tell_vcpu(vmm_self(), 0, PENDING_LINES);
}

// To all local APICs. Those whose vCPUs sleep are woken.
static void send(struct vmm *vm, const struct vcpu *from, const struct lapic_message *msg)
{
	struct vcpu *const *vcpu = vm->chips->vcpu;
	unsigned n = vm->shared->config.vcpus;

	lapic_route(vcpu, n, from, msg);
	for (unsigned i = 0; i < n; i++)
		if (vcpu[i] != vm->vcpu && vcpu[i]->pending)
			vmm_wake(vm->vcpu, i);
}

static void on_ipi(void *opaque, struct vcpu *from, const struct lapic_message *m)
{
	send(vmm_self(), from, m);
}

static void on_ioapic_message(void *opaque, const struct ioapic_message *m)
{
	struct vmm *vm = vmm_self();
	const struct lapic_message msg = {
		.dest = m->dest, .logical = m->logical, .vector = m->vector, .mode = m->mode,
		.trigger = m->level ? LAPIC_LEVEL : LAPIC_EDGE,
	};

	vmm_trace(vm->vcpu, LOG_IRQ, "irq: ioapic sends vector %u to %x mode %u %s\n", m->vector, m->dest, m->mode,
		  m->level ? "level" : "edge");
	send(vm, NULL, &msg);
}

// A message is a write to the local APICs' page; elsewhere there is nothing that would take one.
static void on_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct vmm *vm = vmm_self();
	const struct lapic_message msg = {
		.dest = address >> 12 & 0xff, .logical = address & BIT(2), .vector = data, .mode = data >> 8 & 7,
		.trigger = LAPIC_EDGE,
	};

	vmm_trace(vm->vcpu, LOG_IRQ, "irq: msi to %lx data %x\n", address, data);
	if (address >> 20 == 0xfee)
		send(vm, NULL, &msg);
}

static uint64_t on_pci_access(void *opaque, bool write, uint64_t address, unsigned size, uint64_t value)
{
	return world_request(vmm_self()->vcpu, write ? REQ_PCI_WRITE : REQ_PCI_READ, address, size, value);
}

static uint64_t on_port_access(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value)
{
	return world_request(vmm_self()->vcpu, write ? REQ_PORT_WRITE : REQ_PORT_READ, port, size, value);
}

static void on_pci_kick(void *opaque, unsigned function)
{
	world_kick(vmm_self()->shared, function);
}

static void on_ejected(void *opaque, unsigned function)
{
	atomic_fetch_or(&vmm_self()->shared->pci_ejected, BIT(function));
	world_ring_doorbell(vmm_self()->shared);
}

static void on_eoi(void *opaque, uint8_t vector)
{
	struct chips *c = vmm_self()->chips;

	vmm_lock(&c->lock);
	vmm_take_app_lines(vmm_self()); // the handler may just have made a device of the app let go of its line
	board_eoi(&c->board, vector);
	vmm_unlock(&c->lock);
}

// --deterministic: a serial port's ring is never so full that its chip would notice.
static void await_serial(struct shared *sh)
{
	const struct linux_timespec moment = {0, 1000000};

	for (unsigned i = 0; i < SERIAL_PORTS; i++)
		while (sh->config.serial_present[i] && ring_space(&sh->serial_tx[i]) < RING_SIZE / 2)
			linux_futex_wait(&sh->serial_tx[i].tail, sh->serial_tx[i].tail, &moment);
}

static void on_doorbell(void *opaque)
{
	struct vmm *vm = vmm_self();

	world_ring_doorbell(vm->shared);
	if (vm->vcpu->counting)
		await_serial(vm->shared);
}

static void on_shutdown(void *opaque)
{
	vmm_shutdown(vmm_self()->vcpu);
}

static void on_reset(void *opaque)
{
	vmm_reset(vmm_self()->vcpu, RESET_REQUESTED);
}

// A guest moves it while it sets up its devices. Nobody waits for the others: they see it at their next poll.
static void on_screen_moved(void *opaque, uint32_t at)
{
	struct vmm *vm = vmm_self();

	if (vm->shared->config.mem.frame_at == at)
		return;
	vm->shared->config.mem.frame_at = at;
	for (unsigned i = 0; i < vm->shared->config.vcpus; i++)
		if (vm->chips->vcpu[i])
			vm->chips->vcpu[i]->pending |= PENDING_MOVED;
}

static void init_board(struct vmm *vm)
{
	const struct board_host host = {
		.pic_intr = on_pic_intr, .ioapic_deliver = on_ioapic_message, .power_off = on_shutdown,
		.reset = on_reset, .doorbell = on_doorbell, .msi = on_msi, .pci_access = on_pci_access,
		.pci_kick = on_pci_kick, .port_access = on_port_access, .screen_moved = on_screen_moved,
		.ide = vm->shared->ide, .screen = &vm->shared->screen,
		.screen_memory = vm->shared->config.vga ? (uint8_t *)ZONE_RAM + MEM_FRAME : NULL,
		.ejected = on_ejected,
	};
	struct shared *sh = vm->shared;
	struct chips *c = vm->chips;

	ASSERT(!board_init(&c->board, &sh->config, &c->bus, &host, sh->serial_tx, sh->serial_rx));
	board_add_pci(&c->board, sh->pci);
	board_reset(&c->board);
}

static void init_lapic(struct vmm *vm)
{
	struct vcpu *v = vm->vcpu;

	lapic_init(v, &vm->bus);
	lapic_reset(v);
	pmu_init(v, &vm->bus);
	if (!v->index)
		lapic_firmware_setup(v);
	v->lapic.hooks = (struct lapic_hooks){.eoi = on_eoi, .send = on_ipi};
}

// An application processor as firmware leaves it: it waits for INIT and SIPI.
static void init_application_processor(struct vcpu *v)
{
	vcpu_reset(v, v->shared);
	vcpu_firmware_setup(v);
	v->activity = VCPU_WAIT_SIPI;
}

// The boot processor begins when all can hear it.
static void await_all(struct vmm *vm)
{
	vm->chips->ready++;
	while (!vm->vcpu->index && vm->chips->ready < vm->shared->config.vcpus)
		vmm_yield(vm->vcpu);
}

void vmm_init(struct vmm *vm)
{
	struct vcpu *v = vm->vcpu;

	v->shared = vm->shared;
	v->peers = (struct peers *)ZONE_PEERS;
	for (unsigned i = 0; !v->index && i < VCPUS_MAX; i++)
		vm->chips->vcpu[i] = (struct vcpu *)ZONE_VCPU(i);
	if (v->index)
		init_application_processor(v);
	else if (!v->cr0) // nobody has written the registers (CR0.ET is always set): start at the reset vector
		vcpu_reset(v, vm->shared);
	cpuid_refresh(v);
	clock_init(vm);
	init_bus(vm);
	init_lapic(vm);
	if (!v->index)
		init_board(vm);
	vmm_load_vectors(v);
	if (vm->shared->config.log & LOG_RESET)
		report_trace_state(v, "reset: the processor starts with");
	await_all(vm);
}
