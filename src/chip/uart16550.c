// SPDX-License-Identifier: MIT
//
// National PC16550D register model. The line has no speed: a byte written to THR is in the transmit ring at once, so
// the transmitter is empty again at once, unless the ring has less room than a FIFO's worth; then THRE and TEMT stay
// away until the app has drained it, and nothing is ever lost to a guest that looks at THRE. Received bytes wait in
// the receive ring until there is place in the 16-byte FIFO, so the line never overruns. The character timeout,
// without time, comes as soon as the FIFO holds less than its trigger level and the ring has no more.
#include "chip/uart16550.h"

#include <stdatomic.h>

enum { R_DATA, R_IER, R_IIR_FCR, R_LCR, R_MCR, R_LSR, R_MSR, R_SCR };
enum { IER_RX = BIT(0), IER_THRE = BIT(1), IER_LINE = BIT(2), IER_MODEM = BIT(3), IER_WRITABLE = 0x0f };
enum { IIR_MODEM = 0x00, IIR_NONE = 0x01, IIR_THRE = 0x02, IIR_RX = 0x04, IIR_LINE = 0x06, IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = BIT(0), FCR_CLEAR_RX = BIT(1), FCR_KEPT = 0xc9 };
enum { LCR_DLAB = BIT(7) };
enum { MCR_DTR = BIT(0), MCR_RTS = BIT(1), MCR_OUT1 = BIT(2), MCR_OUT2 = BIT(3), MCR_LOOP = BIT(4),
	MCR_WRITABLE = 0x1f };
enum { LSR_DR = BIT(0), LSR_OE = BIT(1), LSR_BI = BIT(4), LSR_THRE = BIT(5), LSR_TEMT = BIT(6) };
enum { MSR_CTS = BIT(4), MSR_DSR = BIT(5), MSR_RI = BIT(6), MSR_DCD = BIT(7), MSR_RI_FELL = BIT(2) };

static bool uart_loops(const struct uart16550 *c)
{
	return c->mcr & MCR_LOOP;
}

static bool uart_fifos(const struct uart16550 *c)
{
	return c->fcr & FCR_ENABLE;
}

static unsigned uart_capacity(const struct uart16550 *c)
{
	return uart_fifos(c) ? UART_FIFO : 1;
}

static unsigned uart_trigger(const struct uart16550 *c)
{
	static const uint8_t level[] = {1, 4, 8, 14};

	return uart_fifos(c) ? level[c->fcr >> 6] : 1;
}

// Modem inputs, the high nibble of MSR: a null-modem partner that is always ready, or one's own outputs in loopback.
static uint8_t uart_modem(const struct uart16550 *c)
{
	if (!uart_loops(c))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (c->mcr & MCR_DTR ? MSR_DSR : 0) | (c->mcr & MCR_RTS ? MSR_CTS : 0) | (c->mcr & MCR_OUT1 ? MSR_RI : 0) |
	       (c->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static uint8_t uart_lsr(const struct uart16550 *c)
{
	return c->lsr_errors | (c->fifo_used ? LSR_DR : 0) | (c->room ? LSR_THRE | LSR_TEMT : 0);
}

// The pending interrupt of highest priority, as IIR names it.
static uint8_t uart_interrupt(const struct uart16550 *c)
{
	if ((c->ier & IER_LINE) && c->lsr_errors)
		return IIR_LINE;
	if ((c->ier & IER_RX) && c->fifo_used)
		return c->fifo_used >= uart_trigger(c) ? IIR_RX : IIR_TIMEOUT;
	if ((c->ier & IER_THRE) && c->thre_pending)
		return IIR_THRE;
	if ((c->ier & IER_MODEM) && c->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void uart_update_irq(struct uart16550 *c)
{
	bool level = uart_interrupt(c) != IIR_NONE;

	if (level == c->irq_level)
		return;
	c->irq_level = level;
	irq_set(&c->irq, level);
}

static void uart_ring_doorbell(struct uart16550 *c)
{
	if (c->doorbell)
		c->doorbell(c->opaque);
}

// A break is a zero byte and LSR's word for it.
static void uart_take_break(struct uart16550 *c)
{
	if (c->fifo_used || !atomic_load(&c->rx->broken))
		return;
	atomic_store(&c->rx->broken, 0);
	c->fifo[c->fifo_used++] = 0;
	c->lsr_errors |= LSR_BI;
}

static void uart_fill(struct uart16550 *c)
{
	unsigned capacity = uart_capacity(c), got;

	if (!c->rx || uart_loops(c))
		return;
	uart_take_break(c);
	if (c->fifo_used >= capacity)
		return;
	got = ring_pop(c->rx, c->fifo + c->fifo_used, capacity - c->fifo_used);
	c->fifo_used += got;
	if (got && ring_writer_waits(c->rx))
		uart_ring_doorbell(c);
}

// Is there room for as many bytes as software may write after seeing THRE?
static void uart_look_for_room(struct uart16550 *c)
{
	bool had = c->room;

	c->room = !c->tx || uart_loops(c) || ring_space(c->tx) >= UART_FIFO || ring_wait_space(c->tx, UART_FIFO);
	if (c->room && !had)
		c->thre_pending = true;
}

void uart16550_poll(struct uart16550 *c)
{
	uart_look_for_room(c);
	uart_fill(c);
	uart_update_irq(c);
}

static void uart_loop_byte(struct uart16550 *c, uint8_t byte)
{
	if (c->fifo_used < uart_capacity(c)) {
		c->fifo[c->fifo_used++] = byte;
		return;
	}
	c->lsr_errors |= LSR_OE; // without FIFOs the newer byte wins, with them the older ones stay
	if (!uart_fifos(c))
		c->fifo[0] = byte;
}

static void uart_transmit(struct uart16550 *c, uint8_t byte)
{
	if (uart_loops(c)) {
		uart_loop_byte(c, byte);
	} else if (c->tx) {
		ring_push(c->tx, &byte, 1);
		c->room = false;
		uart_look_for_room(c);
		uart_ring_doorbell(c);
	}
	c->thre_pending = c->room;
}

static uint8_t uart_receive(struct uart16550 *c)
{
	uint8_t byte = c->fifo[0];

	if (!c->fifo_used)
		return 0;
	c->fifo_used--;
	for (unsigned i = 0; i < c->fifo_used; i++)
		c->fifo[i] = c->fifo[i + 1];
	uart_fill(c);
	return byte;
}

static uint8_t uart_read_iir(struct uart16550 *c)
{
	uint8_t iir = uart_interrupt(c);

	if (iir == IIR_THRE)
		c->thre_pending = false;
	return iir | (uart_fifos(c) ? IIR_FIFO : 0);
}

static uint8_t uart_read_lsr(struct uart16550 *c)
{
	uint8_t lsr;

	uart_look_for_room(c);
	uart_fill(c);
	lsr = uart_lsr(c);
	c->lsr_errors = 0;
	return lsr;
}

static uint8_t uart_read_msr(struct uart16550 *c)
{
	uint8_t msr = uart_modem(c) | c->msr_delta;

	c->msr_delta = 0;
	return msr;
}

static uint8_t uart_read_register(struct uart16550 *c, unsigned reg)
{
	bool dlab = c->lcr & LCR_DLAB;

	switch (reg) {
	case R_DATA:
		return dlab ? c->divisor : uart_receive(c);
	case R_IER:
		return dlab ? c->divisor >> 8 : c->ier;
	case R_IIR_FCR:
		return uart_read_iir(c);
	case R_LCR:
		return c->lcr;
	case R_MCR:
		return c->mcr;
	case R_LSR:
		return uart_read_lsr(c);
	case R_MSR:
		return uart_read_msr(c);
	default:
		return c->scr;
	}
}

static void uart_write_ier(struct uart16550 *c, uint8_t value)
{
	if ((value & ~c->ier & IER_THRE) && c->room) // enabling it while the transmitter is empty interrupts at once
		c->thre_pending = true;
	c->ier = value & IER_WRITABLE;
}

// Writes to the other bits count only together with the enable bit; a change of that bit empties both FIFOs.
static void uart_write_fcr(struct uart16550 *c, uint8_t value)
{
	if (((value ^ c->fcr) & FCR_ENABLE) || (value & (FCR_ENABLE | FCR_CLEAR_RX)) == (FCR_ENABLE | FCR_CLEAR_RX))
		c->fifo_used = 0;
	c->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	uart_fill(c);
}

static void uart_write_mcr(struct uart16550 *c, uint8_t value)
{
	uint8_t before = uart_modem(c), after;

	c->mcr = value & MCR_WRITABLE;
	after = uart_modem(c);
	c->msr_delta |= ((before ^ after) & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
	if (before & ~after & MSR_RI)
		c->msr_delta |= MSR_RI_FELL;
	uart_look_for_room(c);
	uart_fill(c);
}

static void uart_set_divisor(struct uart16550 *c, unsigned shift, uint8_t value)
{
	c->divisor = (c->divisor & ~(0xff << shift)) | value << shift;
}

static void uart_write_register(struct uart16550 *c, unsigned reg, uint8_t value)
{
	bool dlab = c->lcr & LCR_DLAB;

	switch (reg) {
	case R_DATA:
		if (dlab)
			uart_set_divisor(c, 0, value);
		else
			uart_transmit(c, value);
		break;
	case R_IER:
		if (dlab)
			uart_set_divisor(c, 8, value);
		else
			uart_write_ier(c, value);
		break;
	case R_IIR_FCR:
		uart_write_fcr(c, value);
		break;
	case R_LCR:
		c->lcr = value;
		break;
	case R_MCR:
		uart_write_mcr(c, value);
		break;
	case R_SCR:
		c->scr = value;
		break;
	}
}

static uint64_t uart_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct uart16550 *c = (struct uart16550 *)d;
	uint8_t value = uart_read_register(c, off);

	uart_update_irq(c);
	return value;
}

static void uart_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct uart16550 *c = (struct uart16550 *)d;

	if (off == R_DATA && !(c->lcr & LCR_DLAB)) { // writing THR takes the THRE interrupt back, if only for a moment
		c->thre_pending = false;
		uart_update_irq(c);
	}
	uart_write_register(c, off, value);
	uart_update_irq(c);
}

static void uart_reset(struct dev *d)
{
	struct uart16550 *c = (struct uart16550 *)d;

	c->ier = c->fcr = c->lcr = c->mcr = c->scr = 0;
	c->msr_delta = c->lsr_errors = c->fifo_used = 0;
	c->divisor = 12; // 9600 baud
	c->thre_pending = false;
	c->room = true;
	uart_update_irq(c);
}

const struct dev_class uart16550_class = {"uart16550", sizeof(struct uart16550), 1, NULL, uart_reset, uart_read,
	uart_write};
