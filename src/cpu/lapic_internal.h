// SPDX-License-Identifier: MIT
//
// What the three files of the local APIC share: register bits, and the calls between them.
#ifndef CPU_LAPIC_INTERNAL_H
#define CPU_LAPIC_INTERNAL_H

#include "cpu/lapic.h"
#include "cpu/vcpu.h"

enum lapic_lvt_bits {
	LVT_MODE_SHIFT = 8, LVT_PENDING = BIT(12), LVT_REMOTE_IRR = BIT(14), LVT_LEVEL = BIT(15), LVT_MASKED = BIT(16),
	LVT_TIMER_SHIFT = 17,
};
enum lapic_svr_bits { SVR_ENABLE = BIT(8) };
enum lapic_esr_bits { ESR_SEND_VECTOR = BIT(5), ESR_RECV_VECTOR = BIT(6), ESR_REGISTER = BIT(7) };
enum lapic_timer_mode { TIMER_ONESHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE };

static inline enum lapic_delivery lvt_mode(uint32_t lvt)
{
	return (enum lapic_delivery)(lvt >> LVT_MODE_SHIFT & 7);
}

static inline bool lapic_is_x2(const struct vcpu *v)
{
	return v->apic_base & APIC_BASE_X2APIC;
}

static inline uint32_t lapic_x2_ldr(uint32_t id)
{
	return (id >> 4) << 16 | BIT(id & 15);
}

void lapic_update(struct vcpu *v); // something may have become deliverable
void lapic_error(struct vcpu *v, uint32_t esr_bit);
void lapic_lint_eoi(struct vcpu *v, uint8_t vector);
void lapic_lint_changed(struct vcpu *v, unsigned pin);

void lapic_timer_fire(void *opaque, uint64_t now);
void lapic_timer_reset(struct vcpu *v);
void lapic_timer_set_lvt(struct vcpu *v, uint32_t lvt);
void lapic_timer_set_initial(struct vcpu *v, uint32_t count);
void lapic_timer_set_divide(struct vcpu *v, uint32_t divide);
uint32_t lapic_timer_current(struct vcpu *v);

#endif
