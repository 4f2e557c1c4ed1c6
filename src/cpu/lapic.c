// SPDX-License-Identifier: MIT
//
// The local APIC's core: delivery, priorities, acknowledge and EOI. Registers as the guest sees them are in
// lapic_regs.c, the timer in lapic_timer.c.
#include "cpu/lapic_internal.h"

static unsigned top_bit(uint32_t x)
{
	return 31 - (unsigned)__builtin_clz(x);
}

static int irr_top(const struct lapic *a)
{
	uint32_t words = a->irr_words;

	while (words) {
		unsigned w = top_bit(words);
		uint32_t bits = a->irr[w];

		if (bits)
			return (int)(w * 32 + top_bit(bits));
		words &= ~BIT(w);
	}
	return -1;
}

static void irr_set(struct lapic *a, uint8_t vector)
{
	a->irr[vector / 32] |= BIT(vector % 32);
	a->irr_words |= BIT(vector / 32);
}

// By the owner only. The word's summary bit goes first, so that a vector set meanwhile is not lost.
static void irr_clear(struct lapic *a, uint8_t vector)
{
	unsigned w = vector / 32;

	a->irr[w] &= ~BIT(vector % 32);
	if (a->irr[w])
		return;
	a->irr_words &= ~BIT(w);
	if (a->irr[w])
		a->irr_words |= BIT(w);
}

static int isr_find_top(const struct lapic *a)
{
	for (int w = 7; w >= 0; w--)
		if (a->isr[w])
			return w * 32 + (int)top_bit(a->isr[w]);
	return -1;
}

// What has been written to this APIC is to be seen before IRR is read: a vCPU that sends a vector now either finds the
// new priority, or its vector is found here.
void lapic_update(struct vcpu *v)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (lapic_pending_vector(v) >= 0)
		vcpu_set_pending(v, PENDING_IRQ);
}

uint32_t lapic_ppr(const struct vcpu *v)
{
	const struct lapic *a = &v->lapic;
	uint32_t isrv = a->isr_top < 0 ? 0 : (uint32_t)a->isr_top;

	return (a->tpr & 0xf0) >= (isrv & 0xf0) ? a->tpr : isrv & 0xf0;
}

int lapic_pending_vector(const struct vcpu *v)
{
	int vector;

	if (!v->lapic.irr_words || !(v->apic_base & APIC_BASE_ENABLE))
		return -1;
	vector = irr_top(&v->lapic);
	return vector >= 0 && ((uint32_t)vector & 0xf0) > (lapic_ppr(v) & 0xf0) ? vector : -1;
}

uint8_t lapic_ack(struct vcpu *v)
{
	struct lapic *a = &v->lapic;
	int vector = lapic_pending_vector(v);

	if (vector < 0)
		return (uint8_t)a->svr;
	irr_clear(a, (uint8_t)vector);
	a->isr[vector / 32] |= BIT(vector % 32);
	a->isr_top = vector;
	return (uint8_t)vector;
}

void lapic_eoi(struct vcpu *v)
{
	struct lapic *a = &v->lapic;
	int vector = a->isr_top;

	if (vector < 0)
		return;
	a->isr[vector / 32] &= ~BIT(vector % 32);
	a->isr_top = isr_find_top(a);
	if (a->tmr[vector / 32] & BIT(vector % 32)) {
		lapic_lint_eoi(v, (uint8_t)vector);
		if (a->hooks.eoi)
			a->hooks.eoi(a->hooks.opaque, (uint8_t)vector);
	}
	lapic_update(v);
}

bool lapic_accept_extint(const struct vcpu *v)
{
	uint32_t lint0 = v->lapic.lvt[LAPIC_LVT_LINT0];

	if (!(v->apic_base & APIC_BASE_ENABLE))
		return v->apic_base & APIC_BASE_BSP; // LINT0 is the INTR pin then
	return !(lint0 & LVT_MASKED) && lvt_mode(lint0) == LAPIC_EXTINT;
}

uint64_t lapic_get_cr8(const struct vcpu *v)
{
	return v->lapic.tpr >> 4;
}

void lapic_set_cr8(struct vcpu *v, uint64_t cr8)
{
	v->lapic.tpr = (uint32_t)(cr8 & 0xf) << 4;
	lapic_update(v);
}

// -- delivery -------------------------------------------------------------------------------------------------------

void lapic_error(struct vcpu *v, uint32_t esr_bit)
{
	struct lapic *a = &v->lapic;
	bool first = !(a->esr & esr_bit);
	uint32_t lvt = a->lvt[LAPIC_LVT_ERROR];

	a->esr |= esr_bit;
	// An illegal vector in the error LVT itself must not raise another error.
	if (first && !(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		lapic_deliver(v, (uint8_t)lvt, LAPIC_FIXED, LAPIC_EDGE);
}

static void deliver_vector(struct vcpu *v, uint8_t vector, enum lapic_trigger trigger)
{
	struct lapic *a = &v->lapic;

	if (!(a->svr & SVR_ENABLE) || !(v->apic_base & APIC_BASE_ENABLE))
		return;
	if (vector < 16) {
		lapic_error(v, ESR_RECV_VECTOR);
		return;
	}
	if (trigger == LAPIC_LEVEL)
		a->tmr[vector / 32] |= BIT(vector % 32);
	else
		a->tmr[vector / 32] &= ~BIT(vector % 32);
	irr_set(a, vector);
	lapic_update(v);
}

void lapic_deliver(struct vcpu *v, uint8_t vector, enum lapic_delivery mode, enum lapic_trigger trigger)
{
	switch (mode) {
	case LAPIC_FIXED:
	case LAPIC_LOWEST:
		deliver_vector(v, vector, trigger);
		break;
	case LAPIC_NMI:
		vcpu_send_nmi(v);
		break;
	case LAPIC_INIT:
		vcpu_set_pending(v, PENDING_INIT);
		break;
	case LAPIC_SIPI:
		v->sipi_vector = vector;
		vcpu_set_pending(v, PENDING_SIPI);
		break;
	case LAPIC_EXTINT:
		vcpu_set_pending(v, PENDING_IRQ);
		break;
	case LAPIC_SMI: // the board has no SMM
	default:
		vmm_trace(v, LOG_UNIMP, "lapic: delivery mode %u ignored\n", mode);
		break;
	}
}

// -- destinations ---------------------------------------------------------------------------------------------------

static bool matches_logical(const struct vcpu *v, const struct lapic_message *m)
{
	const struct lapic *a = &v->lapic;
	uint32_t dest = m->dest & 0xff, id = a->ldr >> 24;

	if (lapic_is_x2(v))
		return (m->dest >> 16) == (a->ldr >> 16) && (m->dest & a->ldr & 0xffff);
	if ((a->dfr >> 28) == 0xf)
		return dest & id;
	return (dest >> 4) == (id >> 4) && (dest & id & 0xf); // cluster model
}

bool lapic_matches(const struct vcpu *v, const struct lapic_message *m)
{
	if (!(v->apic_base & APIC_BASE_ENABLE))
		return false;
	if (m->dest == (m->wide ? UINT32_MAX : 0xff))
		return true;
	return m->logical ? matches_logical(v, m) : m->dest == v->lapic.id;
}

static bool in_shorthand(const struct vcpu *v, const struct vcpu *from, const struct lapic_message *m)
{
	switch ((enum lapic_shorthand)m->shorthand) {
	case LAPIC_TO_SELF: return v == from;
	case LAPIC_TO_ALL: return true;
	case LAPIC_TO_OTHERS: return v != from;
	case LAPIC_TO_DEST: break;
	}
	return lapic_matches(v, m);
}

bool lapic_route(struct vcpu *const *vcpus, unsigned n, const struct vcpu *from, const struct lapic_message *m)
{
	struct vcpu *lowest = NULL;
	bool reached = false;

	for (unsigned i = 0; i < n; i++) {
		struct vcpu *v = vcpus[i];

		if (!in_shorthand(v, from, m))
			continue;
		reached = true;
		if (m->mode != LAPIC_LOWEST)
			lapic_deliver(v, m->vector, m->mode, m->trigger);
		else if ((v->lapic.svr & SVR_ENABLE) && (!lowest || lapic_ppr(v) < lapic_ppr(lowest)))
			lowest = v;
	}
	if (lowest)
		lapic_deliver(lowest, m->vector, LAPIC_FIXED, m->trigger);
	return reached;
}

// -- local pins -----------------------------------------------------------------------------------------------------

static void lint_fire(struct vcpu *v, unsigned pin)
{
	uint32_t *lvt = &v->lapic.lvt[LAPIC_LVT_LINT0 + pin];
	enum lapic_delivery mode = lvt_mode(*lvt);

	if (*lvt & LVT_MASKED)
		return;
	if (mode != LAPIC_FIXED) {
		lapic_deliver(v, 0, mode, LAPIC_EDGE);
		return;
	}
	if (!(*lvt & LVT_LEVEL) || pin == 1) { // LINT1 is edge-sensitive whatever the LVT says
		lapic_deliver(v, (uint8_t)*lvt, LAPIC_FIXED, LAPIC_EDGE);
	} else if (!(*lvt & LVT_REMOTE_IRR)) {
		*lvt |= LVT_REMOTE_IRR;
		lapic_deliver(v, (uint8_t)*lvt, LAPIC_FIXED, LAPIC_LEVEL);
	}
}

void lapic_set_lint(struct vcpu *v, unsigned pin, bool level)
{
	struct lapic *a = &v->lapic;
	bool rising = level && !a->lint_level[pin];

	a->lint_level[pin] = level;
	if (!rising)
		return;
	if (v->apic_base & APIC_BASE_ENABLE)
		lint_fire(v, pin);
	else if (v->apic_base & APIC_BASE_BSP && pin)
		vcpu_send_nmi(v);
	else if (v->apic_base & APIC_BASE_BSP)
		vcpu_set_pending(v, PENDING_IRQ);
}

// A level-triggered local vector has ended: the pin, if still asserted, asks again.
void lapic_lint_eoi(struct vcpu *v, uint8_t vector)
{
	struct lapic *a = &v->lapic;
	uint32_t *lvt = &a->lvt[LAPIC_LVT_LINT0];

	if (!(*lvt & LVT_REMOTE_IRR) || (uint8_t)*lvt != vector)
		return;
	*lvt &= ~LVT_REMOTE_IRR;
	if (a->lint_level[0])
		lint_fire(v, 0);
}

// A LINT entry was written: a pin asserted before it was unmasked is seen now if level-sensitive, or the PIC's.
void lapic_lint_changed(struct vcpu *v, unsigned pin)
{
	uint32_t lvt = v->lapic.lvt[LAPIC_LVT_LINT0 + pin];

	if (v->lapic.lint_level[pin] && ((lvt & LVT_LEVEL) || lvt_mode(lvt) == LAPIC_EXTINT))
		lint_fire(v, pin);
}

// -- life -----------------------------------------------------------------------------------------------------------

void lapic_init(struct vcpu *v, struct bus *bus)
{
	struct lapic *a = &v->lapic;

	a->bus = bus;
	a->id = v->index;
	timer_init(bus, &a->timer, lapic_timer_fire, v);
	lapic_reset(v);
}

void lapic_reset(struct vcpu *v)
{
	struct lapic *a = &v->lapic;

	a->tpr = 0;
	a->ldr = lapic_is_x2(v) ? lapic_x2_ldr(a->id) : 0;
	a->dfr = UINT32_MAX;
	a->svr = 0xff;
	a->esr = a->esr_latched = 0;
	a->icr = 0;
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		a->lvt[i] = LVT_MASKED;
	for (unsigned i = 0; i < ARRAY_SIZE(a->isr); i++) {
		a->irr[i] = 0;
		a->tmr[i] = 0;
		a->isr[i] = 0;
	}
	a->irr_words = 0;
	a->isr_top = -1;
	lapic_timer_reset(v);
}

void lapic_firmware_setup(struct vcpu *v)
{
	struct lapic *a = &v->lapic;

	a->svr = 0xf | SVR_ENABLE;
	a->lvt[LAPIC_LVT_LINT0] = LAPIC_EXTINT << LVT_MODE_SHIFT;
	a->lvt[LAPIC_LVT_LINT1] = LAPIC_NMI << LVT_MODE_SHIFT;
}
