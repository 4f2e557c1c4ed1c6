// SPDX-License-Identifier: MIT
//
// What the run loop asks between two units: serve what others have put into vcpu.pending (timers, interrupt lines and
// rings of the app, a stop), and say which external interrupt the processor would take. An interrupt reaches the
// processor from the local APIC, or from the PIC through the APIC's LINT0 in virtual wire mode.
#include "vmm/vmm.h"
#include <stdatomic.h>

static void run_timers(struct vmm *vm)
{
	vm->armed = 0; // the host timer has fired: whatever comes next must be armed
	bus_run_timers(&vm->bus);
	if (vm->vcpu->index)
		return;
	vmm_lock(&vm->chips->lock);
	bus_run_timers(&vm->chips->bus);
	vmm_unlock(&vm->chips->lock);
}

// Lines of the app's devices have changed, or messages are wanted. A line that fell and rose again before we looked, or
// rose and fell, is taken through both: whoever waits for edges needs that. With the lock held, by any vCPU.
void vmm_take_app_lines(struct vmm *vm)
{
	struct board *board = &vm->chips->board;
	uint32_t functions = atomic_exchange(&vm->shared->pci_events, 0);
	uint64_t fell = atomic_exchange(&vm->shared->irq_fell, 0), rose = atomic_exchange(&vm->shared->irq_rose, 0);
	uint64_t lines = vm->shared->irq_lines;

	if (fell & lines)
		board_set_app_lines(board, lines & ~fell);
	if (rose & ~lines)
		board_set_app_lines(board, lines | rose);
	board_set_app_lines(board, lines);
	if (atomic_exchange(&vm->shared->power_pressed, 0))
		board_press_power(board);
	if (functions)
		board_serve_pci(board, functions);
	if (atomic_load(&vm->shared->pci_plugged))
		board_plug_pci(board, atomic_exchange(&vm->shared->pci_plugged, 0));
	if (atomic_load(&vm->shared->pci_unplug))
		board_ask_eject(board, atomic_exchange(&vm->shared->pci_unplug, 0));
}

// A device of the app has changed a line, or a serial ring wants attention: vCPU 0 is told.
static void take_lines(struct vmm *vm)
{
	struct board *board = &vm->chips->board;

	if (vm->vcpu->index)
		return;
	vmm_lock(&vm->chips->lock);
	vmm_take_app_lines(vm);
	board_poll_serial(board);
	lapic_set_lint(vm->vcpu, 0, board->pic.intr_level); // it may have changed while another vCPU was at the board
	vmm_unlock(&vm->chips->lock);
}

// One stop, if it is time for one: asked for by the app, or after the step that the last one ended with.
static uint32_t take_stop(struct vmm *vm, uint32_t got)
{
	enum stop_reason why = got & PENDING_STOP ? STOP_ASKED : STOP_STEP;
	struct vcpu *v = vm->vcpu;

	if (!(got & PENDING_STOP) && !vm->stepping)
		return 0;
	if (v->shared->debugger.hit)
		why = STOP_WATCHPOINT;
	else if (debugger_breaks_at(&v->shared->debugger, vcpu_linear_pc(v)))
		why = STOP_BREAKPOINT;
	v->shared->debugger.hit = false;
	vm->stepping = vmm_stopped(v, why) == RESUME_STEP;
	v->pending |= PENDING_TIMER; // the host's timer has not stood still, the guest's clock has
	return PENDING_FLUSH; // the app may have written registers and memory
}

uint32_t vmm_service_pending(struct vcpu *v)
{
	const uint32_t served = PENDING_TIMER | PENDING_LINES | PENDING_STOP;
	struct vmm *vm = vmm_of(v);
	uint32_t got = atomic_exchange(&v->pending, 0);

	if (got & PENDING_TIMER)
		run_timers(vm);
	if (got & PENDING_LINES)
		take_lines(vm);
	got |= take_stop(vm, got);
	got |= atomic_fetch_and(&v->pending, served); // what that has brought about, PENDING_IRQ above all
	if (vm->stepping) { // the run loop must come back after the next unit
		v->pending |= PENDING_STEP;
		got |= PENDING_STEP;
	}
	return got & ~served;
}

static bool pic_interrupts(const struct vmm *vm)
{
	return vm->chips->board.pic.intr_level && lapic_accept_extint(vm->vcpu);
}

int vmm_next_interrupt(struct vcpu *v)
{
	int vector = lapic_pending_vector(v);

	if (vector < 0 && pic_interrupts(vmm_of(v)))
		return EXTINT_VECTOR;
	return vector;
}

uint8_t vmm_ack_interrupt(struct vcpu *v)
{
	struct vmm *vm = vmm_of(v);
	uint8_t vector;

	if (lapic_pending_vector(v) >= 0 || !pic_interrupts(vm))
		return lapic_ack(v);
	vmm_lock(&vm->chips->lock);
	vector = board_pic_ack(&vm->chips->board);
	vmm_unlock(&vm->chips->lock);
	return vector;
}
