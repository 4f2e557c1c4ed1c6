// SPDX-License-Identifier: MIT
//
// Between units: faults, interrupts, NMIs and what other parts of the machine ask of this vCPU are taken here.
#include "bt/run.h"

static const char *vector_name(unsigned vector)
{
	static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",
					    "#TS", "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};

	return vector < ARRAY_SIZE(names) ? names[vector] : "?";
}

static void note_fault(struct vcpu *v)
{
	vcpu_log_exit(v, vector_name(v->fault.vector), v->fault.vector == VEC_PF ? v->fault.cr2 : v->fault.error);
	vmm_trace(v, LOG_FAULT, "fault: %s error %x at %04x:%016lx cpl %u cr2 %lx\n", vector_name(v->fault.vector),
		  v->fault.error, v->seg[X86_CS].sel, v->rip, v->cpl, v->fault.vector == VEC_PF ? v->fault.cr2 : v->cr2);
}

void bt_deliver_fault(struct vcpu *v)
{
	struct sys_result res = {0};
	struct bt *b = bt_of(v);

	b->st->faults++;
	b->st->page_faults += v->fault.vector == VEC_PF;
	note_fault(v);
	b->data_hits = 0;
	sys_deliver_fault(v, &res);
	v->shadow = 0;
	bt_apply(v, &res);
}

// Deliver the pending interrupt if the guest takes it now; else see to it that we hear when it does.
void bt_try_interrupt(struct vcpu *v)
{
	struct sys_result res = {0};
	bool waits = vmm_next_interrupt(v) >= 0;

	*bt_slot(v, SLOT_IRQ_WAIT) = waits;
	if (!waits || v->shadow || !(v->rflags & RFLAGS_IF))
		return;
	if (v->nmis)
		return; // sent before the interrupt, perhaps, and of higher priority: PENDING_NMI is set, or will be at once
	if (bt_of(v)->step && v->activity == VCPU_RUNNING)
		return; // a debugger's step does not end in a handler
	v->activity = VCPU_RUNNING;
	uint8_t vector = vmm_ack_interrupt(v);

	vcpu_log_exit(v, "interrupt", vector);
	vmm_trace(v, LOG_IRQ, "irq: vector %02x delivered at %lx\n", vector, v->rip);
	bt_of(v)->st->irqs++;
	*bt_slot(v, SLOT_IRQ_WAIT) = vmm_next_interrupt(v) >= 0;
	sys_deliver_interrupt(v, vector, SYS_INT_EXTERNAL, &res);
	bt_apply(v, &res);
}

void bt_try_nmi(struct vcpu *v)
{
	struct sys_result res = {0};

	if (!bt_of(v)->nmi_waits || v->nmi_blocked || v->shadow)
		return;
	bt_of(v)->nmi_waits--;
	bt_of(v)->st->nmis++;
	v->activity = VCPU_RUNNING;
	sys_deliver_interrupt(v, VEC_NMI, SYS_INT_NMI, &res);
	bt_apply(v, &res);
}

// INIT, and what may follow it.
static void start_anew(struct vcpu *v, uint32_t what)
{
	struct bt *b = bt_of(v);

	known_forget(b);
	if (what & PENDING_INIT) {
		vcpu_init(v);
		b->nmi_waits = 0;
		*bt_slot(v, SLOT_IRQ_WAIT) = false;
		tlb_flush(v, true);
	}
	if (what & PENDING_SIPI)
		vcpu_sipi(v);
	vmm_trace(v, LOG_RESET, "reset: vcpu %u: %s%s, at %x:%lx\n", v->index, what & PENDING_INIT ? "INIT " : "",
		  what & PENDING_SIPI ? "SIPI" : "", v->seg[X86_CS].sel, v->rip);
	if (v->activity == VCPU_RUNNING) {
		bt_set_mode(v);
		b->flush_tc |= b->key != bt_translation_key(v);
		b->key = bt_translation_key(v);
	}
}

void bt_service(struct vcpu *v)
{
	uint32_t left = vmm_service_pending(v);

	sample_serve(v);
	if (left & PENDING_PEERS)
		peers_serve(v);
	if (left & (PENDING_INIT | PENDING_SIPI))
		start_anew(v, left);
	if (left & PENDING_MOVED)
		tlb_flush(v, true);
	if (left & PENDING_FLUSH) { // the debugger has had a stop
		bt_of(v)->stopped = true;
		bt_of(v)->stopped_at = v->rip;
		tlb_flush(v, true);
		known_forget(bt_of(v));
		bt_of(v)->flush_tc = true;
		bt_set_mode(v);
	}
	bt_of(v)->step = left & PENDING_STEP;
	if (v->activity == VCPU_WAIT_SIPI)
		return;
	if (left & PENDING_NMI) {
		unsigned came = __atomic_exchange_n((uint32_t *)&v->nmis, 0, __ATOMIC_SEQ_CST);

		bt_of(v)->nmi_waits = MIN(bt_of(v)->nmi_waits + came, v->nmi_blocked ? 1u : 2u);
	}
	bt_try_nmi(v);
	bt_try_interrupt(v);
}

void bt_idle(struct vcpu *v)
{
	if (v->activity == VCPU_SHUTDOWN)
		vmm_reset(v, RESET_TRIPLE_FAULT);
	if (v->pending)
		bt_service(v);
	else if (*bt_slot(v, SLOT_IRQ_WAIT) && v->rflags & RFLAGS_IF)
		bt_try_interrupt(v);
	if (v->activity != VCPU_RUNNING && v->activity != VCPU_SHUTDOWN && !v->pending)
		vmm_halt(v);
}
