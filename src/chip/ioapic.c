// SPDX-License-Identifier: MIT
//
// Intel 82093AA I/O APIC (and the EOI register of its successors, version 0x20). A pin is given as asserted or not,
// so the polarity bit is kept but changes nothing. Edge: a rise while unmasked is delivered at once, a rise while
// masked is lost. Level: delivered whenever the pin is asserted, unmasked and its remote IRR is clear; delivery sets
// the remote IRR, the EOI message with its vector clears it. Messages of other modes than fixed and lowest priority
// are edges.
#include "chip/ioapic.h"

enum { REG_SELECT = 0x00, REG_WINDOW = 0x10, REG_EOI = 0x40 };
enum { IND_ID = 0, IND_VERSION = 1, IND_ARBITRATION = 2, IND_TABLE = 0x10 };
enum { ENTRY_LOGICAL = BIT(11), ENTRY_STATUS = BIT(12), ENTRY_REMOTE_IRR = BIT(14), ENTRY_LEVEL = BIT(15),
	ENTRY_MASK = BIT(16) };
enum { ENTRY_LOW_WRITABLE = 0x1afff };
#define ENTRY_HIGH_WRITABLE UINT64_C(0xff00000000000000)

static unsigned entry_mode(uint64_t e)
{
	return e >> 8 & 7;
}

static bool entry_level(uint64_t e)
{
	return (e & ENTRY_LEVEL) && entry_mode(e) <= IOAPIC_LOWEST;
}

static void pin_deliver(struct ioapic *c, unsigned pin)
{
	uint64_t e = c->entry[pin];
	struct ioapic_message m = {
		.dest = e >> 56,
		.logical = e & ENTRY_LOGICAL,
		.mode = entry_mode(e),
		.vector = e,
		.level = entry_level(e),
	};

	if (m.level)
		c->entry[pin] |= ENTRY_REMOTE_IRR; // before the message: its EOI may come back from within
	if (c->deliver)
		c->deliver(c->opaque, &m);
}

static void pin_serve_level(struct ioapic *c, unsigned pin)
{
	uint64_t e = c->entry[pin];

	if ((c->lines & BIT(pin)) && entry_level(e) && !(e & (ENTRY_MASK | ENTRY_REMOTE_IRR)))
		pin_deliver(c, pin);
}

void ioapic_set(struct ioapic *c, unsigned pin, bool level)
{
	bool was;

	if (pin >= IOAPIC_PINS)
		return;
	was = c->lines & BIT(pin);
	if (was == level)
		return;
	c->lines ^= BIT(pin);
	if (!level)
		return;
	if (entry_level(c->entry[pin]))
		pin_serve_level(c, pin);
	else if (!(c->entry[pin] & ENTRY_MASK))
		pin_deliver(c, pin);
}

void ioapic_eoi(struct ioapic *c, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = c->entry[pin];

		if ((uint8_t)e != vector || !(e & ENTRY_LEVEL) || !(e & ENTRY_REMOTE_IRR))
			continue;
		c->entry[pin] &= ~(uint64_t)ENTRY_REMOTE_IRR;
		pin_serve_level(c, pin);
	}
}

bool ioapic_has_level_vector(const struct ioapic *c, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = c->entry[pin];

		if ((uint8_t)e == vector && entry_level(e) && (!(e & ENTRY_MASK) || (e & ENTRY_REMOTE_IRR)))
			return true;
	}
	return false;
}

static uint32_t window_read(struct ioapic *c)
{
	unsigned n = (c->select - IND_TABLE) / 2;

	switch (c->select) {
	case IND_ID:
	case IND_ARBITRATION:
		return (uint32_t)c->id << 24;
	case IND_VERSION:
		return IOAPIC_VERSION | (IOAPIC_PINS - 1) << 16;
	}
	if (c->select < IND_TABLE || n >= IOAPIC_PINS)
		return 0;
	return c->select & 1 ? c->entry[n] >> 32 : c->entry[n];
}

static void entry_write(struct ioapic *c, unsigned n, bool high, uint32_t value)
{
	uint64_t *e = &c->entry[n];

	if (high)
		*e = (*e & ~ENTRY_HIGH_WRITABLE) | ((uint64_t)value << 32 & ENTRY_HIGH_WRITABLE);
	else
		*e = (*e & ~(uint64_t)ENTRY_LOW_WRITABLE) | (value & ENTRY_LOW_WRITABLE);
	if (!(*e & ENTRY_LEVEL)) // switching to edge and back is how software clears a stuck remote IRR
		*e &= ~(uint64_t)ENTRY_REMOTE_IRR;
	pin_serve_level(c, n);
}

static void window_write(struct ioapic *c, uint32_t value)
{
	unsigned n = (c->select - IND_TABLE) / 2;

	if (c->select == IND_ID)
		c->id = value >> 24 & 15;
	else if (c->select >= IND_TABLE && n < IOAPIC_PINS)
		entry_write(c, n, c->select & 1, value);
}

static uint64_t ioapic_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct ioapic *c = (struct ioapic *)d;

	switch (off & 0xff) {
	case REG_SELECT:
		return c->select;
	case REG_WINDOW:
		return window_read(c);
	}
	return 0;
}

static void ioapic_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct ioapic *c = (struct ioapic *)d;

	switch (off & 0xff) {
	case REG_SELECT:
		c->select = value;
		break;
	case REG_WINDOW:
		window_write(c, value);
		break;
	case REG_EOI:
		ioapic_eoi(c, value);
		break;
	}
}

static void ioapic_reset(struct dev *d)
{
	struct ioapic *c = (struct ioapic *)d;

	c->id = c->select = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		c->entry[pin] = ENTRY_MASK;
}

const struct dev_class ioapic_class = {"ioapic", sizeof(struct ioapic), 4, NULL, ioapic_reset, ioapic_read,
	ioapic_write};
