// SPDX-License-Identifier: MIT
//
// The 16550A: registers as drivers probe them, FIFO and trigger levels, every interrupt and its way to go away,
// loopback, and flow control against rings that fill up.
#include <stdatomic.h>
#include "chip/uart16550.h"
#include "chip_test.h"

enum { DATA = 0x3f8, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct uart16550 uart;
static struct ring tx, rx;
static struct probe irq;
static unsigned doorbells;

static void on_doorbell(void *opaque)
{
	doorbells++;
}

static void setup(void)
{
	test_bus();
	bus_init_dev(&bus, &uart.dev, &uart16550_class);
	memset(&tx, 0, sizeof(tx));
	memset(&rx, 0, sizeof(rx));
	irq = (struct probe){0};
	doorbells = 0;
	uart.tx = &tx;
	uart.rx = &rx;
	uart.irq = probe_line(&irq);
	uart.doorbell = on_doorbell;
	CHECK(!bus_add(&bus, BUS_PORT, DATA, 8, &uart.dev, 0));
}

static void receive(const char *s)
{
	ring_push(&rx, s, strlen(s));
	uart16550_poll(&uart);
}

// A break: a zero byte with LSR's bit, as the line status interrupt; then what is typed.
static void test_break(void)
{
	setup();
	outb(IIR, 1);
	outb(IER, 5);
	atomic_store(&rx.broken, 1);
	receive("h");
	CHECK_IS(irq.level, 1);
	CHECK_IS(inb(IIR) & 0xf, 6);
	CHECK_IS(inb(LSR), 0x71);
	CHECK_IS(inb(DATA), 0);
	CHECK_IS(inb(LSR), 0x61);
	CHECK_IS(inb(DATA), 'h');
	CHECK_IS(inb(LSR), 0x60);
	CHECK_IS(rx.broken, 0);
}

static void test_registers(void)
{
	setup();
	CHECK_IS(inb(LSR), 0x60);
	CHECK_IS(inb(IIR), 0x01);
	CHECK_IS(inb(MSR), 0xb0);
	outb(SCR, 0xa5);
	CHECK_IS(inb(SCR), 0xa5);
	outb(IER, 0xff);
	CHECK_IS(inb(IER), 0x0f);
	outb(IER, 0);
	outb(LCR, 0x83);
	outb(DATA, 0x34);
	outb(IER, 0x12);
	CHECK_IS(inb(DATA) | inb(IER) << 8, 0x1234);
	outb(LCR, 0x03);
	CHECK_IS(inb(IER), 0);
	outb(IIR, 0xe1); // no 64-byte FIFO here
	CHECK_IS(inb(IIR), 0xc1);
	outb(IIR, 0xc0); // without the enable bit nothing counts
	CHECK_IS(inb(IIR), 0x01);
	CHECK_IS(ring_used(&tx), 0);
}

static void test_transmit(void)
{
	uint8_t byte;

	setup();
	outb(DATA, 'x');
	CHECK_IS(ring_pop(&tx, &byte, 1), 1);
	CHECK_IS(byte, 'x');
	CHECK_IS(doorbells, 1);
	CHECK(!irq.level);
	outb(IER, 2); // enabling it while empty interrupts
	CHECK(irq.level);
	CHECK_IS(inb(IIR), 0x02);
	CHECK(!irq.level); // reading IIR ends it
	CHECK_IS(inb(IIR), 0x01);
	outb(DATA, 'y');
	CHECK(irq.level);
	irq.rises = 0;
	outb(DATA, 'z');
	CHECK_IS(irq.rises, 1); // a new edge for each
	outb(IER, 0);
	CHECK(!irq.level);
	outb(IER, 2);
	CHECK_IS(inb(IIR), 0x02);
}

static void test_flow_control(void)
{
	static uint8_t out[RING_SIZE];
	unsigned sent = 0;

	setup();
	while (inb(LSR) & 0x20) {
		for (unsigned i = 0; i < UART_FIFO; i++)
			outb(DATA, sent++);
	}
	CHECK(sent <= RING_SIZE && sent + UART_FIFO >= RING_SIZE);
	CHECK_IS(ring_used(&tx), sent);
	CHECK_IS(inb(LSR), 0);
	outb(IER, 2);
	CHECK(!irq.level);
	CHECK_IS(ring_pop(&tx, out, 100), 100);
	CHECK(ring_writer_waits(&tx)); // the app is to tell us
	uart16550_poll(&uart);
	CHECK(irq.level);
	CHECK_IS(inb(IIR), 0x02);
	CHECK_IS(inb(LSR), 0x60);
	CHECK_IS(ring_pop(&tx, out + 100, RING_SIZE), sent - 100);
	for (unsigned i = 0; i < sent; i++)
		CHECK(out[i] == (uint8_t)i);
}

static void test_receive(void)
{
	setup();
	outb(IER, 1);
	receive("ab");
	CHECK(irq.level);
	CHECK_IS(inb(IIR), 0x04);
	CHECK_IS(inb(LSR), 0x61);
	CHECK_IS(inb(DATA), 'a');
	CHECK_IS(inb(DATA), 'b');
	CHECK(!irq.level);
	CHECK_IS(inb(LSR), 0x60);
	outb(IIR, 0xc7); // trigger level 14
	receive("0123456789abc");
	CHECK_IS(inb(IIR), 0xcc); // below it: time-out
	receive("d");
	CHECK_IS(inb(IIR), 0xc4);
	receive("efghijklmnopqrstuvwxyz");
	CHECK_IS(uart.fifo_used, UART_FIFO);
	for (const char *s = "0123456789abcdefghijklmnopqrstuvwxyz"; *s; s++)
		CHECK_IS(inb(DATA), *s);
	CHECK(!irq.level);
	receive("junk");
	outb(IIR, 0xc3); // clears the receive FIFO
	CHECK_IS(inb(LSR) & 1, 0);
	doorbells = 0;
	memset(rx.data, 'q', RING_SIZE);
	rx.head = rx.tail + RING_SIZE;
	CHECK(!ring_wait_space(&rx, 1));
	uart16550_poll(&uart);
	CHECK_IS(doorbells, 1); // whoever waits for room is told
}

static void test_modem_and_loopback(void)
{
	setup();
	outb(IER, 8);
	outb(MCR, 0x1a); // loop, RTS, OUT2
	CHECK(irq.level);
	CHECK_IS(inb(IIR), 0x00);
	CHECK_IS(inb(MSR), 0x92); // CTS, DCD; DSR went away
	CHECK(!irq.level);
	outb(MCR, 0x14); // OUT1: RI
	CHECK_IS(inb(MSR), 0x49);
	outb(MCR, 0x10); // RI's trailing edge
	CHECK_IS(inb(MSR), 0x04);
	outb(IER, 5);
	outb(DATA, 'l');
	CHECK_IS(ring_used(&tx), 0);
	CHECK_IS(inb(IIR), 0x04);
	outb(DATA, 'm'); // overrun
	CHECK_IS(inb(IIR), 0x06);
	CHECK_IS(inb(LSR), 0x63);
	CHECK_IS(inb(LSR), 0x61);
	CHECK_IS(inb(DATA), 'm');
	outb(IIR, 0x01);
	for (unsigned i = 0; i < 17; i++)
		outb(DATA, i);
	CHECK_IS(inb(LSR) & 2, 2);
	CHECK_IS(inb(DATA), 0);
	receive("r");
	CHECK_IS(uart.fifo_used, 15); // not from outside
	outb(IIR, 0x03);
	outb(MCR, 0);
	CHECK_IS(inb(DATA), 'r');
}

int main(void)
{
	test_registers();
	test_break();
	test_transmit();
	test_flow_control();
	test_receive();
	test_modem_and_loopback();
	return test_result();
}
