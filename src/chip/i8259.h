// SPDX-License-Identifier: MIT
//
// The pair of 8259A interrupt controllers of a PC: master at 0x20, slave at 0xa0 behind the master's input 2, with the
// edge/level registers of the PIIX at 0x4d0. See chip/i8259.c.
#ifndef CHIP_I8259_H
#define CHIP_I8259_H

#include "bus/bus.h"

enum { I8259_RANGE_MASTER, I8259_RANGE_SLAVE, I8259_RANGE_ELCR };

struct i8259_half {
	uint8_t lines;    // levels of the inputs
	uint8_t latch;    // edge inputs: a rise was seen, the line is still high, and it was not acknowledged
	uint8_t imr, isr;
	uint8_t elcr, elcr_writable;
	uint8_t base;     // vector of input 0
	uint8_t lowest;   // the input of lowest priority
	uint8_t icw;      // next initialization word expected, 2 to 4; 0: operational
	bool need_icw4, single;
	bool auto_eoi, rotate_on_auto_eoi, fully_nested_special;
	bool special_mask, read_isr, poll;
	bool is_master;
};

struct i8259 {
	struct dev dev;
	struct i8259_half half[2]; // master, slave
	struct irq_line intr;      // to the processor
	bool intr_level;
};

extern const struct dev_class i8259_class;

// Drive ISA line n, 0 to 15 (2 is the cascade: ignored).
void i8259_set(struct i8259 *c, unsigned n, bool level);

// The processor's interrupt acknowledge cycles: returns the vector; the spurious input 7 if nothing is requested.
uint8_t i8259_ack(struct i8259 *c);

#endif
