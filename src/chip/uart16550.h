// SPDX-License-Identifier: MIT
//
// A 16550A UART between the guest's ports and a pair of byte rings shared with the app. See chip/uart16550.c.
#ifndef CHIP_UART16550_H
#define CHIP_UART16550_H

#include "bus/bus.h"
#include "bus/ring.h"

enum { UART_FIFO = 16 };

struct uart16550 {
	struct dev dev;
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t msr_delta;          // the low nibble of MSR
	uint8_t lsr_errors;         // OE PE FE BI, until LSR is read
	uint16_t divisor;
	bool thre_pending;          // the THRE interrupt, until IIR is read or THR written
	bool room;                  // THRE: a FIFO's worth of bytes finds place in tx
	uint8_t fifo[UART_FIFO], fifo_used; // receive FIFO; filled from rx, or by loopback
	struct ring *tx, *rx;       // either may be NULL: nothing is attached
	struct irq_line irq;
	bool irq_level;
	void (*doorbell)(void *opaque); // there are bytes in tx, or room in rx for a writer who waits
	void *opaque;
};

extern const struct dev_class uart16550_class;

// The other side of a ring has moved: look at both.
void uart16550_poll(struct uart16550 *c);

#endif
