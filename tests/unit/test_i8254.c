// SPDX-License-Identifier: MIT
//
// The PIT with a clock in the test's hand: each mode's counts and output, latches, read-back, BCD, gate, port 0x61, and
// the rises that channel 0 sends to the interrupt controllers.
#include "base/muldiv.h"
#include "chip/i8254.h"
#include "chip_test.h"

static struct i8254 pit;
static struct probe irq;

static void setup(void)
{
	test_bus();
	irq = (struct probe){0};
	bus_init_dev(&bus, &pit.dev, &i8254_class);
	pit.irq = probe_line(&irq);
	CHECK(!bus_add(&bus, BUS_PORT, 0x40, 4, &pit.dev, I8254_RANGE_COUNTERS));
	CHECK(!bus_add(&bus, BUS_PORT, 0x61, 1, &pit.dev, I8254_RANGE_PORT61));
}

static void run_clocks(uint64_t n)
{
	uint64_t now = muldiv64(test_ns, I8254_HZ, 1000000000);

	run_to(muldiv64_up(now + n, 1000000000, I8254_HZ));
}

static void program(unsigned channel, unsigned mode, unsigned count)
{
	outb(0x43, channel << 6 | 0x30 | mode << 1);
	outb(0x40 + channel, count & 0xff);
	outb(0x40 + channel, count >> 8);
	run_clocks(1); // the count is loaded on the next clock
}

static unsigned count(unsigned channel)
{
	unsigned low;

	outb(0x43, channel << 6);
	low = inb(0x40 + channel);
	return low | inb(0x40 + channel) << 8;
}

static bool out2(void)
{
	return inb(0x61) >> 5 & 1;
}

static void test_mode0(void)
{
	setup();
	outb(0x61, 1);
	program(2, 0, 1000);
	CHECK_IS(count(2), 1000);
	CHECK(!out2());
	run_clocks(400);
	CHECK_IS(count(2), 600);
	outb(0x61, 0); // the gate holds it
	run_clocks(5000);
	CHECK_IS(count(2), 600);
	outb(0x61, 1);
	run_clocks(599);
	CHECK(!out2());
	run_clocks(1);
	CHECK(out2());
	run_clocks(10);
	CHECK_IS(count(2), 0x10000 - 10);
	program(0, 0, 100);
	CHECK(!irq.level);
	irq.rises = 0;
	run_clocks(99);
	CHECK(!irq.level);
	run_clocks(1);
	CHECK(irq.level);
	run_clocks(200000);
	CHECK_IS(irq.rises, 1);
}

static void test_mode1_and_5(void)
{
	setup();
	program(2, 1, 50);
	CHECK(out2());
	outb(0x61, 1);
	run_clocks(1);
	CHECK(!out2());
	run_clocks(30);
	CHECK_IS(count(2), 20);
	outb(0x61, 0);
	outb(0x61, 1); // triggered again
	run_clocks(50);
	CHECK(!out2());
	run_clocks(1);
	CHECK(out2());
	outb(0x61, 0);
	program(2, 5, 10);
	outb(0x61, 1);
	run_clocks(10);
	CHECK(out2());
	run_clocks(1);
	CHECK(!out2());
	run_clocks(1);
	CHECK(out2());
}

static void test_mode2(void)
{
	setup();
	program(0, 2, 1000);
	irq.rises = 0;
	run_clocks(999);
	CHECK_IS(count(0), 1);
	CHECK(!i8254_out(&pit, 0));
	CHECK_IS(irq.rises, 0);
	run_clocks(1);
	CHECK_IS(count(0), 1000);
	CHECK(i8254_out(&pit, 0));
	CHECK_IS(irq.rises, 1);
	run_clocks(10 * 1000);
	CHECK_IS(irq.rises, 11);
	outb(0x40, 100); // a new count waits for the period's end
	outb(0x40, 0);
	run_clocks(500);
	CHECK_IS(count(0), 500);
	run_clocks(500);
	CHECK_IS(irq.rises, 12);
	CHECK_IS(count(0), 100);
	run_clocks(300);
	CHECK_IS(irq.rises, 15);
	program(0, 6, 0); // 0 is 65536; mode 6 is 2
	irq.rises = 0;
	run_clocks(65535);
	CHECK_IS(irq.rises, 0);
	run_clocks(1);
	CHECK_IS(irq.rises, 1);
	test_ns += 100000000; // away for long: one rise, and on from there
	bus_run_timers(&bus);
	CHECK_IS(irq.rises, 2);
	CHECK(bus.earliest > test_ns && bus.earliest < test_ns + 55000000);
}

static void test_mode3(void)
{
	setup();
	outb(0x61, 1);
	program(2, 3, 10);
	CHECK(out2());
	CHECK_IS(count(2), 10);
	run_clocks(4);
	CHECK_IS(count(2), 2);
	run_clocks(1);
	CHECK(!out2());
	CHECK_IS(count(2), 10);
	run_clocks(5);
	CHECK(out2());
	program(2, 3, 7); // odd: four high, three low
	run_clocks(3);
	CHECK(out2());
	CHECK_IS(count(2), 0);
	run_clocks(1);
	CHECK(!out2());
	CHECK_IS(count(2), 6);
	run_clocks(2);
	CHECK(!out2());
	run_clocks(1);
	CHECK(out2());
	program(2, 3, 20);
	run_clocks(5);
	outb(0x42, 40); // taken over at the end of the high half: 20 low, then 20 high
	outb(0x42, 0);
	run_clocks(4);
	CHECK(out2());
	run_clocks(1);
	CHECK(!out2());
	run_clocks(19);
	CHECK(!out2());
	run_clocks(1);
	CHECK(out2());
	run_clocks(20);
	CHECK(!out2());
	outb(0x61, 0);
	CHECK(out2()); // a low gate puts the output high at once
	outb(0x61, 1);
	run_clocks(1);
	CHECK_IS(count(2), 40);
	program(0, 3, 100);
	irq.rises = 0;
	run_clocks(99);
	CHECK_IS(irq.rises, 0);
	run_clocks(1);
	CHECK_IS(irq.rises, 1);
	CHECK(irq.level);
}

static void test_mode4(void)
{
	setup();
	program(0, 4, 100);
	irq.rises = 0;
	run_clocks(99);
	CHECK(i8254_out(&pit, 0));
	run_clocks(1);
	CHECK(!i8254_out(&pit, 0));
	CHECK_IS(irq.rises, 0);
	run_clocks(1);
	CHECK(i8254_out(&pit, 0));
	CHECK_IS(irq.rises, 1);
	run_clocks(200000);
	CHECK_IS(irq.rises, 1);
}

static void test_reading(void)
{
	unsigned refresh;

	setup();
	outb(0x61, 1);
	outb(0x43, 0xb1); // channel 2, both bytes, mode 0, BCD
	outb(0x42, 0x34);
	outb(0x42, 0x12);
	run_clocks(1);
	CHECK_IS(count(2), 0x1234);
	run_clocks(1235);
	CHECK_IS(count(2), 0x9999);
	outb(0x43, 0x94); // low byte only, mode 2
	outb(0x42, 200);
	run_clocks(11);
	CHECK_IS(inb(0x42), 190);
	CHECK_IS(inb(0x42), 190);
	outb(0x43, 0x80); // a second latch does not disturb the first
	run_clocks(10);
	outb(0x43, 0x80);
	CHECK_IS(inb(0x42), 190);
	CHECK_IS(inb(0x42), 180);
	outb(0x43, 0xc8); // read-back: status, then count, of channel 2
	run_clocks(20);
	CHECK_IS(inb(0x42), 0x80 | 0x14);
	CHECK_IS(inb(0x42), 180);
	CHECK_IS(inb(0x42), 160);
	outb(0x43, 0xb0);
	outb(0x43, 0xe8);
	CHECK_IS(inb(0x42), 0x40 | 0x30); // null count, output low
	outb(0x42, 5);
	outb(0x42, 0);
	run_clocks(1);
	outb(0x43, 0xe8);
	CHECK_IS(inb(0x42), 0x30);
	run_clocks(5);
	outb(0x43, 0xe8);
	CHECK_IS(inb(0x42), 0x80 | 0x30);
	CHECK_IS(inb(0x43), 0xff);
	CHECK_IS(inb(0x61) & 0xef, 0x21);
	refresh = inb(0x61) & 0x10;
	run_for(15085);
	CHECK_IS(inb(0x61) & 0x10, refresh ^ 0x10);
}

int main(void)
{
	test_mode0();
	test_mode1_and_5();
	test_mode2();
	test_mode3();
	test_mode4();
	test_reading();
	return test_result();
}
