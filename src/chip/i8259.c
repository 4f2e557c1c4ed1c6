// SPDX-License-Identifier: MIT
//
// Intel 8259A, two of them, after the 8259A data sheet; edge or level by input from the ELCR of the PIIX instead of
// ICW1's LTIM. Nothing is scheduled: what each half would signal is computed from its registers whenever one changes,
// the slave's output drives the master's input 2, and the master's output is handed on when it differs from before.
// An edge that goes away before it is acknowledged is forgotten, as in the chip: that is where the spurious input 7
// comes from.
#include "chip/i8259.h"

enum { CASCADE = 2, SPURIOUS = 7, NONE = -1 };
enum { ICW1_IC4 = BIT(0), ICW1_SINGLE = BIT(1), ICW1_INIT = BIT(4) };
enum { ICW4_AUTO_EOI = BIT(1), ICW4_SPECIAL_FULLY_NESTED = BIT(4) };
enum { OCW3 = BIT(3), OCW3_READ_ISR = BIT(0), OCW3_READ = BIT(1), OCW3_POLL = BIT(2), OCW3_SMM = BIT(5),
	OCW3_SET_SMM = BIT(6) };

static uint8_t half_irr(const struct i8259_half *h)
{
	return (h->lines & h->elcr) | (h->latch & ~h->elcr);
}

// The input of highest priority in set, or NONE.
static int half_first(const struct i8259_half *h, uint8_t set)
{
	for (unsigned i = 1; i <= 8; i++) {
		unsigned n = (h->lowest + i) & 7;

		if (set & BIT(n))
			return n;
	}
	return NONE;
}

static unsigned half_rank(const struct i8259_half *h, int n)
{
	return n == NONE ? 8 : (n - h->lowest - 1) & 7;
}

// The request this half would present to the processor now, or NONE.
static int half_request(const struct i8259_half *h)
{
	uint8_t in_service = h->isr;
	int request = half_first(h, half_irr(h) & ~h->imr);

	if (h->icw)
		return NONE;
	if (h->special_mask)
		in_service &= ~h->imr;
	if (h->fully_nested_special && h->is_master)
		in_service &= ~BIT(CASCADE);
	if (half_rank(h, request) >= half_rank(h, half_first(h, in_service)))
		return NONE;
	return request;
}

static void half_set(struct i8259_half *h, unsigned n, bool level)
{
	uint8_t bit = BIT(n);

	if (!level) {
		h->lines &= ~bit;
		h->latch &= ~bit;
	} else if (!(h->lines & bit)) {
		h->lines |= bit;
		h->latch |= bit;
	}
}

static void i8259_update(struct i8259 *c)
{
	bool level;

	half_set(&c->half[0], CASCADE, half_request(&c->half[1]) != NONE);
	level = half_request(&c->half[0]) != NONE;
	if (level == c->intr_level)
		return;
	c->intr_level = level;
	irq_set(&c->intr, level);
}

void i8259_set(struct i8259 *c, unsigned n, bool level)
{
	if (n == CASCADE || n > 15)
		return;
	half_set(&c->half[n >> 3], n & 7, level);
	i8259_update(c);
}

static void half_ack(struct i8259_half *h, int n)
{
	h->latch &= ~BIT(n);
	if (!h->auto_eoi)
		h->isr |= BIT(n);
	else if (h->rotate_on_auto_eoi)
		h->lowest = n;
}

// One half's acknowledge: its input's number; a request that has gone in the meantime is input 7, not in service.
static unsigned half_answer(struct i8259_half *h)
{
	int n = half_request(h);

	if (n == NONE)
		return SPURIOUS;
	half_ack(h, n);
	return n;
}

uint8_t i8259_ack(struct i8259 *c)
{
	struct i8259_half *h = &c->half[0];
	int n = half_request(h);
	unsigned answer = half_answer(h);

	if (n == CASCADE && !h->single) {
		h = &c->half[1];
		answer = half_answer(h);
		half_set(&c->half[0], CASCADE, false); // the slave's output falls with its acknowledge
	}
	i8259_update(c);
	return h->base + answer;
}

static void half_start_init(struct i8259_half *h, uint8_t icw1)
{
	h->latch = 0;
	h->imr = h->isr = 0;
	h->lowest = 7;
	h->special_mask = h->read_isr = h->poll = false;
	h->auto_eoi = h->rotate_on_auto_eoi = h->fully_nested_special = false;
	h->need_icw4 = icw1 & ICW1_IC4;
	h->single = icw1 & ICW1_SINGLE;
	h->icw = 2;
}

static void half_continue_init(struct i8259_half *h, uint8_t value)
{
	switch (h->icw) {
	case 2:
		h->base = value & 0xf8;
		h->icw = !h->single ? 3 : h->need_icw4 ? 4 : 0;
		break;
	case 3: // who is cascaded where is wired on this board
		h->icw = h->need_icw4 ? 4 : 0;
		break;
	case 4:
		h->auto_eoi = value & ICW4_AUTO_EOI;
		h->fully_nested_special = value & ICW4_SPECIAL_FULLY_NESTED;
		h->icw = 0;
		break;
	}
}

enum ocw2 { OCW2_AEOI_FIXED, OCW2_EOI, OCW2_NOP, OCW2_EOI_OF, OCW2_AEOI_ROTATE, OCW2_EOI_ROTATE, OCW2_PRIORITY,
	OCW2_EOI_OF_ROTATE };

static void half_command(struct i8259_half *h, uint8_t value)
{
	enum ocw2 command = value >> 5;
	int n = value & 7;

	switch (command) {
	case OCW2_AEOI_FIXED:
	case OCW2_AEOI_ROTATE:
		h->rotate_on_auto_eoi = command == OCW2_AEOI_ROTATE;
		break;
	case OCW2_EOI:
	case OCW2_EOI_ROTATE: // in special mask mode a masked input stays in service
		n = half_first(h, h->special_mask ? h->isr & ~h->imr : h->isr);
		if (n == NONE)
			break;
		h->isr &= ~BIT(n);
		if (command == OCW2_EOI_ROTATE)
			h->lowest = n;
		break;
	case OCW2_EOI_OF:
	case OCW2_EOI_OF_ROTATE:
		h->isr &= ~BIT(n);
		if (command == OCW2_EOI_OF_ROTATE)
			h->lowest = n;
		break;
	case OCW2_PRIORITY:
		h->lowest = n;
		break;
	case OCW2_NOP:
		break;
	}
}

static void half_control(struct i8259_half *h, uint8_t value)
{
	if (value & OCW3_POLL)
		h->poll = true;
	else if (value & OCW3_READ)
		h->read_isr = value & OCW3_READ_ISR;
	if (value & OCW3_SET_SMM)
		h->special_mask = value & OCW3_SMM;
}

static void half_write(struct i8259_half *h, uint64_t off, uint8_t value)
{
	if (off && h->icw)
		half_continue_init(h, value);
	else if (off)
		h->imr = value;
	else if (value & ICW1_INIT)
		half_start_init(h, value);
	else if (value & OCW3)
		half_control(h, value);
	else
		half_command(h, value);
}

// A read after the poll command is an acknowledge of this half alone.
static uint8_t half_poll(struct i8259_half *h)
{
	int n = half_request(h);

	h->poll = false;
	if (n == NONE)
		return 0;
	half_ack(h, n);
	return BIT(7) | n;
}

static uint8_t half_read(struct i8259_half *h, uint64_t off)
{
	if (h->poll)
		return half_poll(h);
	if (off)
		return h->imr;
	return h->read_isr ? h->isr : half_irr(h);
}

static uint64_t i8259_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct i8259 *c = (struct i8259 *)d;
	uint8_t value;

	if (range == I8259_RANGE_ELCR)
		return c->half[off].elcr;
	value = half_read(&c->half[range], off);
	i8259_update(c);
	return value;
}

static void i8259_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct i8259 *c = (struct i8259 *)d;

	if (range == I8259_RANGE_ELCR)
		c->half[off].elcr = value & c->half[off].elcr_writable;
	else
		half_write(&c->half[range], off, value);
	i8259_update(c);
}

static void i8259_reset(struct dev *d)
{
	struct i8259 *c = (struct i8259 *)d;

	for (unsigned i = 0; i < 2; i++) {
		c->half[i] = (struct i8259_half){
			.lines = c->half[i].lines,
			.imr = 0xff, // not in the data sheet, but nothing can come before ICW1 either
			.lowest = 7,
			.is_master = i == 0,
			.elcr_writable = i == 0 ? 0xf8 : 0xde, // 0 to 2, 8 and 13 are always edges
		};
	}
	i8259_update(c);
}

const struct dev_class i8259_class = {"i8259", sizeof(struct i8259), 1, NULL, i8259_reset, i8259_read, i8259_write};
