// SPDX-License-Identifier: MIT
//
// The local APIC, in its xAPIC (MMIO) and x2APIC (MSR) forms, by the SDM's chapter "Advanced Programmable Interrupt
// Controller". One a vCPU, embedded in struct vcpu. IRR and TMR may be written by any thread (atomically); all the rest
// belongs to the thread that runs the vCPU. Whenever a vector may have become deliverable PENDING_IRQ is set, and the
// run loop asks lapic_pending_vector. The timer counts nanoseconds of the virtual clock: one tick is 1 ns before
// division, which CPUID leaf 0x15 states as a 1 GHz crystal.
#ifndef CPU_LAPIC_H
#define CPU_LAPIC_H

#include "base/types.h"
#include "bus/bus.h"

struct vcpu;

enum lapic_delivery { // delivery modes, as in the ICR, LVTs, MSIs and IO-APIC entries
	LAPIC_FIXED = 0, LAPIC_LOWEST = 1, LAPIC_SMI = 2, LAPIC_NMI = 4, LAPIC_INIT = 5, LAPIC_SIPI = 6, LAPIC_EXTINT = 7,
};
enum lapic_trigger { LAPIC_EDGE, LAPIC_LEVEL };
enum lapic_lvt { LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,
	LAPIC_LVTS };
enum lapic_shorthand { LAPIC_TO_DEST, LAPIC_TO_SELF, LAPIC_TO_ALL, LAPIC_TO_OTHERS };

enum apic_base_bits { APIC_BASE_BSP = BIT(8), APIC_BASE_X2APIC = BIT(10), APIC_BASE_ENABLE = BIT(11) };
#define APIC_BASE_DEFAULT UINT64_C(0xfee00000)

struct lapic_message { // an interrupt on its way to one or more local APICs: from an ICR, the IO-APIC, or an MSI
	uint32_t dest;
	bool logical;
	bool wide;         // dest has 32 bits (x2APIC ICR); else the 8 of xAPIC, IO-APIC and MSI
	uint8_t vector;
	uint8_t mode;      // enum lapic_delivery
	uint8_t trigger;   // enum lapic_trigger
	uint8_t shorthand; // enum lapic_shorthand
};

struct lapic_hooks { // to the rest of the machine; each may be NULL
	void (*eoi)(void *opaque, uint8_t vector); // a level-triggered vector has ended: to the IO-APIC
	void (*send)(void *opaque, struct vcpu *from, const struct lapic_message *m); // to other vCPUs (lapic_route there)
	void *opaque;
};

struct lapic {
	struct bus *bus;
	struct timer timer;
	struct lapic_hooks hooks;
	uint32_t id;                // initial APIC ID, also the x2APIC ID
	uint32_t xapic_id;          // what software has written into the ID register in xAPIC form: 8 bits
	uint32_t tpr, ldr, dfr, svr;
	uint32_t esr, esr_latched;  // collected errors; what ESR shows since the last write to it
	uint64_t icr;
	uint32_t lvt[LAPIC_LVTS];
	uint32_t divide;            // divide configuration register
	uint32_t initial;           // initial count register
	uint32_t count;             // counts left at `start`: initial, or less after the divider has changed
	uint64_t start;             // ns; 0: stopped
	uint64_t tsc_deadline;      // guest TSC; 0: off
	int32_t isr_top;            // highest vector in service, -1: none
	bool lint_level[2];
	_Atomic uint32_t irr_words; // bit w: irr[w] may be nonzero
	_Atomic uint32_t irr[8], tmr[8];
	uint32_t isr[8];
};

void lapic_init(struct vcpu *v, struct bus *bus);
void lapic_reset(struct vcpu *v);          // power-on or INIT; the base MSR is the caller's
void lapic_firmware_setup(struct vcpu *v); // enabled, in virtual wire mode, as firmware leaves the boot processor's

// MMIO: does the APIC's page hold gpa in the present mode? off is within the page.
bool lapic_claims(const struct vcpu *v, gpa_t gpa);
uint32_t lapic_mmio_read(struct vcpu *v, uint32_t off, unsigned size);
void lapic_mmio_write(struct vcpu *v, uint32_t off, unsigned size, uint32_t value);

// MSRs 0x800-0x8ff, IA32_APIC_BASE, IA32_TSC_DEADLINE. False: #GP(0).
bool lapic_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
bool lapic_set_base(struct vcpu *v, uint64_t value);
uint64_t lapic_get_tsc_deadline(struct vcpu *v);
void lapic_set_tsc_deadline(struct vcpu *v, uint64_t deadline);
void lapic_tsc_changed(struct vcpu *v); // the guest's TSC was set: the deadline lies elsewhere now

// Delivery to this APIC.
void lapic_deliver(struct vcpu *v, uint8_t vector, enum lapic_delivery mode, enum lapic_trigger trigger);
void lapic_set_lint(struct vcpu *v, unsigned pin, bool level); // pin 0: the PIC's output; pin 1: NMI
bool lapic_matches(const struct vcpu *v, const struct lapic_message *m);
// To other processors' APICs and this one's. False: it certainly reached nobody.
bool lapic_send(struct vcpu *v, const struct lapic_message *m);
// Deliver m to those of vcpus[0..n) that it is meant for. False: it reached nobody.
bool lapic_route(struct vcpu *const *vcpus, unsigned n, const struct vcpu *from, const struct lapic_message *m);

// Towards the processor.
int lapic_pending_vector(const struct vcpu *v);     // the highest vector above PPR, or -1
uint8_t lapic_ack(struct vcpu *v);                  // IRR to ISR; the vector, or the spurious one if nothing is pending
void lapic_eoi(struct vcpu *v);
bool lapic_accept_extint(const struct vcpu *v);     // does the PIC's INTR reach the processor?
uint32_t lapic_ppr(const struct vcpu *v);
uint64_t lapic_get_cr8(const struct vcpu *v);
void lapic_set_cr8(struct vcpu *v, uint64_t cr8);   // 0-15, checked by the caller

#endif
