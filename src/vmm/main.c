// SPDX-License-Identifier: MIT
//
// The monitor's half of the machine, put together: the bus with the virtual clock, the board's chips, the local APIC,
// and the lines between them. Runs once, in the zone, behind the closed jail. After a direct boot the app has already
// written the vCPU's registers (boot/).
#include "bus/ring.h"
#include "cpu/system.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"

static void log_access(void *opaque, const char *dev, enum bus_space s, bool write, uint64_t addr, unsigned size,
		       uint64_t value)
{
	vmm_trace(((struct vmm *)opaque)->vcpu, LOG_DEV, "dev: %s %s %s %lx size %u value %lx\n", dev,
		  s == BUS_PORT ? "port" : "mmio", write ? "write" : "read", addr, size, value);
}

static void run_app_timers(void *opaque, uint64_t now)
{
	world_request(((struct vmm *)opaque)->vcpu, REQ_TIMERS, 0, 0, 0);
}

static void init_bus(struct vmm *vm)
{
	bus_init(&vm->bus);
	vm->bus.opaque = vm;
	vm->bus.now = clock_now;
	vm->bus.deadline_changed = clock_arm;
	if (vm->shared->config.log & LOG_DEV)
		vm->bus.log = log_access;
	timer_init(&vm->bus, &vm->app_timer, run_app_timers, vm);
}

// -- the lines between board and processor

static void on_pic_intr(void *opaque, bool level)
{
	vmm_trace(((struct vmm *)opaque)->vcpu, LOG_IRQ, "irq: pic output %s\n", level ? "high" : "low");
	lapic_set_lint(((struct vmm *)opaque)->vcpu, 0, level);
}

static void on_ioapic_message(void *opaque, const struct ioapic_message *m)
{
	struct vmm *vm = opaque;
	const struct lapic_message msg = {
		.dest = m->dest, .logical = m->logical, .vector = m->vector, .mode = m->mode,
		.trigger = m->level ? LAPIC_LEVEL : LAPIC_EDGE,
	};

	vmm_trace(vm->vcpu, LOG_IRQ, "irq: ioapic sends vector %u to %x mode %u %s\n", m->vector, m->dest, m->mode,
		  m->level ? "level" : "edge");
	lapic_route(&vm->vcpu, 1, NULL, &msg);
}

// A message is a write to the local APICs' page; elsewhere there is nothing that would take one.
static void on_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct vmm *vm = opaque;
	const struct lapic_message msg = {
		.dest = address >> 12 & 0xff, .logical = address & BIT(2), .vector = data, .mode = data >> 8 & 7,
		.trigger = LAPIC_EDGE,
	};

	vmm_trace(vm->vcpu, LOG_IRQ, "irq: msi to %lx data %x\n", address, data);
	if (address >> 20 == 0xfee)
		lapic_route(&vm->vcpu, 1, NULL, &msg);
}

static uint64_t on_pci_access(void *opaque, bool write, uint64_t address, unsigned size, uint64_t value)
{
	return world_request(((struct vmm *)opaque)->vcpu, write ? REQ_PCI_WRITE : REQ_PCI_READ, address, size, value);
}

static void on_pci_kick(void *opaque, unsigned function)
{
	world_kick(((struct vmm *)opaque)->shared, function);
}

static void on_eoi(void *opaque, uint8_t vector)
{
	board_eoi(&((struct vmm *)opaque)->board, vector);
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
	struct vmm *vm = opaque;

	world_ring_doorbell(vm->shared);
	if (vm->vcpu->counting)
		await_serial(vm->shared);
}

static void on_shutdown(void *opaque)
{
	vmm_shutdown(((struct vmm *)opaque)->vcpu);
}

static void on_reset(void *opaque)
{
	vmm_reset(((struct vmm *)opaque)->vcpu, RESET_REQUESTED);
}

static void init_board(struct vmm *vm)
{
	const struct board_host host = {
		.opaque = vm, .pic_intr = on_pic_intr, .ioapic_deliver = on_ioapic_message, .power_off = on_shutdown,
		.reset = on_reset, .doorbell = on_doorbell, .msi = on_msi, .pci_access = on_pci_access,
		.pci_kick = on_pci_kick,
	};
	struct shared *sh = vm->shared;

	ASSERT(!board_init(&vm->board, &sh->config, &vm->bus, &host, sh->serial_tx, sh->serial_rx));
	board_add_pci(&vm->board, sh->pci);
	board_reset(&vm->board);
}

static void init_lapic(struct vmm *vm)
{
	struct vcpu *v = vm->vcpu;

	lapic_init(v, &vm->bus);
	lapic_reset(v);
	lapic_firmware_setup(v);
	v->lapic.hooks = (struct lapic_hooks){.eoi = on_eoi, .opaque = vm};
}

void vmm_init(struct vmm *vm)
{
	struct vcpu *v = vm->vcpu;

	v->shared = vm->shared;
	if (!v->cr0) // nobody has written the registers (CR0.ET is always set): start at the reset vector
		vcpu_reset(v, vm->shared);
	cpuid_refresh(v);
	clock_init(vm);
	init_bus(vm);
	init_lapic(vm);
	init_board(vm);
	vmm_load_vectors(v);
	if (vm->shared->config.log & LOG_RESET)
		report_trace_state(v, "reset: the processor starts with");
}
