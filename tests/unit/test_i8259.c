// SPDX-License-Identifier: MIT
//
// The pair of PICs: initialization, priorities, every way to end an interrupt, rotation, special mask and special fully
// nested mode, poll, edge and level, spurious requests.
#include "chip/i8259.h"
#include "chip_test.h"

static struct i8259 pic;
static struct probe intr;

static void setup_with(uint8_t master_icw4, uint8_t slave_icw4)
{
	test_bus();
	bus_init_dev(&bus, &pic.dev, &i8259_class);
	intr = (struct probe){0};
	pic.intr = probe_line(&intr);
	CHECK(!bus_add(&bus, BUS_PORT, 0x20, 2, &pic.dev, I8259_RANGE_MASTER));
	CHECK(!bus_add(&bus, BUS_PORT, 0xa0, 2, &pic.dev, I8259_RANGE_SLAVE));
	CHECK(!bus_add(&bus, BUS_PORT, 0x4d0, 2, &pic.dev, I8259_RANGE_ELCR));
	outb(0x20, 0x11);
	outb(0x21, 0x30);
	outb(0x21, 0x04);
	outb(0x21, master_icw4);
	outb(0xa0, 0x11);
	outb(0xa1, 0x38);
	outb(0xa1, 0x02);
	outb(0xa1, slave_icw4);
}

static void setup(void)
{
	setup_with(1, 1);
}

static void pulse(unsigned n)
{
	i8259_set(&pic, n, false);
	i8259_set(&pic, n, true);
}

static uint8_t isr(unsigned port)
{
	outb(port, 0x0b);
	return inb(port);
}

static uint8_t irr(unsigned port)
{
	outb(port, 0x0a);
	return inb(port);
}

static void test_priorities(void)
{
	setup();
	CHECK_IS(inb(0x21), 0); // ICW1 clears the mask
	pulse(5);
	CHECK(intr.level);
	pulse(3);
	CHECK_IS(irr(0x20), 0x28);
	CHECK_IS(i8259_ack(&pic), 0x33);
	CHECK(!intr.level); // 5 is lower than 3
	CHECK_IS(isr(0x20), 0x08);
	pulse(1);
	CHECK_IS(i8259_ack(&pic), 0x31); // nests
	outb(0x20, 0x20);
	CHECK_IS(isr(0x20), 0x08);
	CHECK(!intr.level);
	outb(0x20, 0x20);
	CHECK(intr.level);
	CHECK_IS(i8259_ack(&pic), 0x35);
	outb(0x20, 0x65); // specific
	CHECK_IS(isr(0x20), 0);
	outb(0x21, 0x40);
	pulse(6);
	CHECK(!intr.level);
	outb(0x21, 0);
	CHECK(intr.level);
	CHECK_IS(i8259_ack(&pic), 0x36);
}

static void test_slave(void)
{
	setup();
	pulse(12);
	CHECK_IS(i8259_ack(&pic), 0x3c);
	CHECK_IS(isr(0x20), 0x04);
	CHECK_IS(isr(0xa0), 0x10);
	pulse(9); // higher on the slave, but the master has its input 2 in service
	CHECK(!intr.level);
	outb(0xa0, 0x20);
	CHECK(!intr.level);
	outb(0x20, 0x20);
	CHECK(intr.level);
	CHECK_IS(i8259_ack(&pic), 0x39);
	outb(0x20, 0x20);
	outb(0xa0, 0x20);
	CHECK(!intr.level);
	pulse(14); // two at once: the second must not be lost
	pulse(8);
	CHECK_IS(i8259_ack(&pic), 0x38);
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	CHECK_IS(i8259_ack(&pic), 0x3e);
	setup_with(0x11, 1); // special fully nested
	pulse(12);
	CHECK_IS(i8259_ack(&pic), 0x3c);
	pulse(9);
	CHECK(intr.level);
	CHECK_IS(i8259_ack(&pic), 0x39);
}

static void test_rotation(void)
{
	setup();
	pulse(2 + 1);
	CHECK_IS(i8259_ack(&pic), 0x33);
	outb(0x20, 0xa0); // non-specific EOI with rotation: 3 is now lowest
	pulse(3);
	pulse(4);
	CHECK_IS(i8259_ack(&pic), 0x34);
	outb(0x20, 0xe4); // specific with rotation: 4 is lowest
	CHECK_IS(pic.half[0].lowest, 4);
	CHECK_IS(i8259_ack(&pic), 0x33);
	outb(0x20, 0x20);
	outb(0x20, 0xc0); // 0 is lowest
	pulse(0);
	pulse(7);
	CHECK_IS(i8259_ack(&pic), 0x37);
	outb(0x20, 0x20);
	CHECK_IS(i8259_ack(&pic), 0x30);
	setup_with(3, 1); // automatic EOI
	outb(0x20, 0x80);
	pulse(5);
	CHECK_IS(i8259_ack(&pic), 0x35);
	CHECK_IS(isr(0x20), 0);
	CHECK_IS(pic.half[0].lowest, 5);
}

static void test_special_mask(void)
{
	setup();
	pulse(1);
	CHECK_IS(i8259_ack(&pic), 0x31);
	pulse(4);
	CHECK(!intr.level);
	outb(0x21, 0x02);
	CHECK(!intr.level);
	outb(0x20, 0x68);
	CHECK(intr.level);
	CHECK_IS(i8259_ack(&pic), 0x34);
	outb(0x20, 0x20); // ends 4: 1 is masked, so it stays
	CHECK_IS(isr(0x20), 0x02);
	outb(0x20, 0x48);
	pulse(5);
	CHECK(!intr.level);
}

static void test_edge_and_level(void)
{
	setup();
	i8259_set(&pic, 4, true);
	CHECK_IS(i8259_ack(&pic), 0x34);
	outb(0x20, 0x20);
	CHECK(!intr.level); // still high, no new edge
	CHECK_IS(irr(0x20), 0);
	i8259_set(&pic, 4, false);
	i8259_set(&pic, 4, true);
	CHECK(intr.level);
	i8259_set(&pic, 4, false); // gone before the acknowledge
	CHECK(!intr.level);
	CHECK_IS(i8259_ack(&pic), 0x37);
	CHECK_IS(isr(0x20), 0);
	outb(0x4d0, 0xff);
	outb(0x4d1, 0xff);
	CHECK_IS(inw(0x4d0), 0xdef8);
	i8259_set(&pic, 5, true);
	CHECK_IS(i8259_ack(&pic), 0x35);
	CHECK(!intr.level);
	outb(0x20, 0x20);
	CHECK(intr.level); // a level asks again
	i8259_set(&pic, 5, false);
	CHECK(!intr.level);
	i8259_set(&pic, 10, true);
	CHECK_IS(i8259_ack(&pic), 0x3a);
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	CHECK(intr.level);
	i8259_set(&pic, 1, true);
	outb(0x20, 0x11); // ICW1 forgets edges; nothing is requested before initialization ends
	CHECK(!intr.level);
	outb(0x21, 0x30);
	outb(0x21, 0x04);
	CHECK(!intr.level);
	outb(0x21, 0x01);
	CHECK(!intr.level); // the slave still asks, but its line has not risen again
}

static void test_poll(void)
{
	setup();
	outb(0x20, 0x0c);
	CHECK_IS(inb(0x20), 0);
	pulse(6);
	outb(0x20, 0x0c);
	CHECK_IS(inb(0x21), 0x86);
	CHECK_IS(inb(0x21), 0);
	CHECK_IS(isr(0x20), 0x40);
	CHECK(!intr.level);
	pulse(15);
	outb(0xa0, 0x0c);
	CHECK_IS(inb(0xa0), 0x87);
	CHECK_IS(isr(0xa0), 0x80);
}

int main(void)
{
	test_priorities();
	test_slave();
	test_rotation();
	test_special_mask();
	test_edge_and_level();
	test_poll();
	return test_result();
}
