// SPDX-License-Identifier: MIT
//
// The I/O APIC: registers, edges, levels with remote IRR and EOI, masking, message contents.
#include "chip/ioapic.h"
#include "chip_test.h"

static struct ioapic ioapic;
static struct ioapic_message last;
static unsigned messages;

static void on_deliver(void *opaque, const struct ioapic_message *m)
{
	last = *m;
	messages++;
}

static void put(unsigned reg, uint32_t v)
{
	bus_write(&bus, BUS_MMIO, IOAPIC_BASE, 4, reg);
	bus_write(&bus, BUS_MMIO, IOAPIC_BASE + 0x10, 4, v);
}

static uint32_t get(unsigned reg)
{
	bus_write(&bus, BUS_MMIO, IOAPIC_BASE, 4, reg);
	return bus_in(BUS_MMIO, IOAPIC_BASE + 0x10, 4);
}

static void route(unsigned pin, uint64_t entry)
{
	put(0x11 + 2 * pin, entry >> 32);
	put(0x10 + 2 * pin, entry);
}

static unsigned sent(void)
{
	unsigned n = messages;

	messages = 0;
	return n;
}

static void setup(void)
{
	test_bus();
	bus_init_dev(&bus, &ioapic.dev, &ioapic_class);
	ioapic.deliver = on_deliver;
	messages = 0;
	CHECK(!bus_add(&bus, BUS_MMIO, IOAPIC_BASE, IOAPIC_SIZE, &ioapic.dev, 0));
}

static void test_registers(void)
{
	setup();
	CHECK_IS(get(1), 0x00170020);
	put(1, 99);
	CHECK_IS(get(1), 0x00170020);
	put(0, 0xffffffff);
	CHECK_IS(get(0), 0x0f000000);
	CHECK_IS(get(2), 0x0f000000);
	CHECK_IS(get(0x10), 0x10000);
	put(0x10 + 47, 0xffffffff);
	CHECK_IS(get(0x10 + 47), 0xff000000);
	put(0x10 + 46, 0xffffffff);
	CHECK_IS(get(0x10 + 46), 0x1afff); // status and remote IRR cannot be written
	put(0x10 + 48, 0xffffffff);
	CHECK_IS(get(0x10 + 48), 0);
	CHECK_IS(get(0xff), 0);
}

static void test_edge(void)
{
	setup();
	route(14, UINT64_C(0x55) << 56 | 0x0977);
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 1);
	CHECK(last.dest == 0x55 && last.logical && last.mode == IOAPIC_LOWEST && last.vector == 0x77 && !last.level);
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 0);
	ioapic_set(&ioapic, 14, false);
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 1);
	CHECK_IS(get(0x10 + 28), 0x0977);
	ioapic_set(&ioapic, 14, false);
	route(14, 0x10077);
	ioapic_set(&ioapic, 14, true);
	route(14, 0x00077);
	CHECK_IS(sent(), 0); // an edge while masked is lost
	ioapic_eoi(&ioapic, 0x77);
	CHECK_IS(sent(), 0);
	ioapic_set(&ioapic, 99, true);
	CHECK_IS(sent(), 0);
}

static void test_level(void)
{
	setup();
	route(14, 0x8082);
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 1);
	CHECK(last.level && last.vector == 0x82);
	CHECK_IS(get(0x10 + 28), 0xc082);
	CHECK(ioapic_has_level_vector(&ioapic, 0x82) && !ioapic_has_level_vector(&ioapic, 0x83));
	ioapic_set(&ioapic, 14, false);
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 0); // remote IRR holds it back
	ioapic_eoi(&ioapic, 0x81);
	CHECK_IS(sent(), 0);
	ioapic_eoi(&ioapic, 0x82);
	CHECK_IS(sent(), 1); // still high
	ioapic_set(&ioapic, 14, false);
	bus_write(&bus, BUS_MMIO, IOAPIC_BASE + 0x40, 4, 0x82);
	CHECK_IS(sent(), 0);
	CHECK_IS(get(0x10 + 28), 0x8082);
	route(14, 0x18082);
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 0);
	route(14, 0x8082); // a level is seen when unmasked
	CHECK_IS(sent(), 1);
	put(0x10 + 28, 0x10082); // to edge and back clears a remote IRR
	put(0x10 + 28, 0x18082);
	CHECK_IS(get(0x10 + 28), 0x18082);
	ioapic_set(&ioapic, 14, false);
	route(14, 0x8400); // an NMI is an edge, whatever the trigger mode says
	ioapic_set(&ioapic, 14, true);
	CHECK_IS(sent(), 1);
	CHECK(last.mode == IOAPIC_NMI && !last.level);
	CHECK_IS(get(0x10 + 28), 0x8400);
}

static void test_two_pins_one_vector(void)
{
	setup();
	route(16, 0x8090);
	route(17, 0x8090);
	ioapic_set(&ioapic, 16, true);
	ioapic_set(&ioapic, 17, true);
	CHECK_IS(sent(), 2);
	ioapic_set(&ioapic, 17, false);
	ioapic_eoi(&ioapic, 0x90);
	CHECK_IS(sent(), 1);
	CHECK_IS(get(0x10 + 34), 0x8090);
}

int main(void)
{
	test_registers();
	test_edge();
	test_level();
	test_two_pins_one_vector();
	return test_result();
}
