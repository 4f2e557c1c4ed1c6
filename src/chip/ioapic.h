// SPDX-License-Identifier: MIT
//
// The I/O APIC, 82093AA registers with 24 pins, at 0xfec00000. See chip/ioapic.c.
#ifndef CHIP_IOAPIC_H
#define CHIP_IOAPIC_H

#include "bus/bus.h"

enum { IOAPIC_PINS = 24, IOAPIC_VERSION = 0x20, IOAPIC_SIZE = 0x1000 };
#define IOAPIC_BASE UINT64_C(0xfec00000)

// Values of the delivery mode field, as in the local APIC's ICR and LVT.
enum ioapic_mode { IOAPIC_FIXED, IOAPIC_LOWEST, IOAPIC_SMI, IOAPIC_NMI = 4, IOAPIC_INIT, IOAPIC_EXTINT = 7 };

// An interrupt message to the local APICs.
struct ioapic_message {
	uint8_t dest;
	bool logical;
	uint8_t mode;   // enum ioapic_mode; IOAPIC_EXTINT: the vector comes from the PIC at acknowledge
	uint8_t vector;
	bool level;     // level-triggered: the local APIC sets its TMR bit, and ioapic_eoi is expected
};

struct ioapic {
	struct dev dev;
	uint8_t id, select;
	uint32_t lines;                 // levels of the pins, logical: polarity is ignored
	uint64_t entry[IOAPIC_PINS];
	void (*deliver)(void *opaque, const struct ioapic_message *m);
	void *opaque;
};

extern const struct dev_class ioapic_class;

void ioapic_set(struct ioapic *c, unsigned pin, bool level);

// A local APIC has ended a level-triggered interrupt (not when directed EOI is on: then the guest writes IOEOI).
void ioapic_eoi(struct ioapic *c, uint8_t vector);

// Is any unmasked or remote-IRR pin using this vector as level-triggered? For EOI exits only; not needed to be exact.
bool ioapic_has_level_vector(const struct ioapic *c, uint8_t vector);

#endif
