// SPDX-License-Identifier: MIT
//
// The monitor's board as a whole: who answers where, which line goes to which input of both interrupt controllers; the
// PM block with its timer, power-off and SCI; PCI configuration and the PM block's move; reset; HPET.
#include "chip/board.h"
#include "chip_test.h"

static struct board board;
static struct config config;
static struct probe intr;
static struct ioapic_message last;
static unsigned messages, power_offs, resets;

static void on_intr(void *opaque, bool level)
{
	probe_set(&intr, 0, level);
}

static void on_deliver(void *opaque, const struct ioapic_message *m)
{
	last = *m;
	messages++;
}

static void on_power_off(void *opaque)
{
	power_offs++;
}

static void on_reset(void *opaque)
{
	resets++;
}

static void setup(void)
{
	struct board_host host = {
		.pic_intr = on_intr, .ioapic_deliver = on_deliver, .power_off = on_power_off, .reset = on_reset,
	};

	test_bus();
	memset(&config, 0, sizeof(config));
	config.pit = config.pic = config.hpet = config.serial_present[0] = config.serial_present[2] = true;
	messages = power_offs = resets = 0;
	CHECK_IS(board_init(&board, &config, &bus, &host, NULL, NULL), 0);
}

static void route(unsigned pin, uint32_t entry)
{
	bus_write(&bus, BUS_MMIO, IOAPIC_BASE, 4, 0x10 + 2 * pin);
	bus_write(&bus, BUS_MMIO, IOAPIC_BASE + 0x10, 4, entry);
}

static void test_lines(void)
{
	setup();
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		route(pin, 0x40 + pin);
	messages = 0;
	outb(0x43, 0x34);
	outb(0x40, 0);
	outb(0x40, 1);
	run_for(1000000);
	CHECK(messages && last.vector == 0x42); // the PIT is on pin 2
	outb(0x43, 0x30);
	messages = 0;
	board_set_gsi(&board, 8, true);
	CHECK_IS(messages, 1);
	CHECK_IS(last.vector, 0x48);
	board_set_gsi(&board, 20, true);
	CHECK_IS(last.vector, 0x54);
	board_set_gsi(&board, 2, true);
	board_set_gsi(&board, 24, true);
	CHECK_IS(messages, 2);
	board_set_app_lines(&board, BIT(8) | BIT(1) | BIT64(40));
	CHECK_IS(messages, 3);
	CHECK_IS(last.vector, 0x41);
	outb(0x3f9, 2); // COM1 and COM3 share line 4
	CHECK_IS(last.vector, 0x44);
	outb(0x3e9, 2);
	CHECK_IS(messages, 4);
	outb(0x3f9, 0);
	CHECK_IS(board.gsi_sources[4] != 0, 1);
	CHECK_IS(inb(0x2f8), 0xff); // COM2 is not there
	route(0, 0x0700); // ExtINT from the PIC's output
	for (const char *p = "\x11\x30\x04\x01"; *p; p++)
		outb(0x20 + (p[0] != 0x11), *p);
	outb(0x21, 0xfd);
	messages = 0;
	board_set_gsi(&board, 1, false);
	board_set_gsi(&board, 1, true);
	CHECK(intr.level);
	CHECK(messages == 2 && last.mode == IOAPIC_FIXED);
	CHECK_IS(board_pic_ack(&board), 0x31);
	CHECK(!intr.level);
}

static void test_pm(void)
{
	uint32_t before;

	setup();
	CHECK_IS(inw(0x604), 0);
	outb(0xb2, 0xf1);
	CHECK_IS(inw(0x604), 1);
	outb(0xb2, 0xf0);
	CHECK_IS(inw(0x604), 0);
	outb(0xb2, 0xf1);
	before = inl(0x608);
	run_for(1000000000);
	CHECK_IS((inl(0x608) - before) & 0xffffff, 3579545);
	run_to(test_ns + UINT64_C(10000000000));
	CHECK(inl(0x608) < 1 << 24);
	CHECK_IS(inw(0x600) & 1, 1); // bit 23 has toggled meanwhile
	outw(0x600, 1);
	CHECK_IS(inw(0x600), 0);
	route(9, 0x8049);
	messages = 0;
	outw(0x602, 1);
	run_for(2400000000u);
	CHECK_IS(messages, 1);
	CHECK(last.vector == 0x49 && last.level);
	CHECK_IS(bus.earliest ? bus.earliest > test_ns : 1, 1);
	outw(0x602, 0x100);
	outw(0x600, 1);
	board_eoi(&board, 0x49);
	CHECK_IS(messages, 1);
	acpi_pm_event(&board.pm, ACPI_PWRBTN);
	CHECK_IS(messages, 2);
	CHECK_IS(inl(0x600), 0x01000100);
	outb(0x601, 1);
	CHECK_IS(inw(0x600), 0);
	outw(0x604, 1 << 10 | 1 << 13); // S3: not offered
	CHECK_IS(power_offs, 0);
	outb(0x604, 0x20);
	outb(0x605, 0x24);
	CHECK_IS(power_offs, 0);
	outw(0x604, 0x2001);
	CHECK_IS(power_offs, 1);
	outw(0xafe2, 0xffff);
	CHECK_IS(inl(0xafe0), 0xffff0000);
}

static uint32_t pci_in(unsigned devfn, unsigned reg)
{
	outl(0xcf8, 0x80000000 | devfn << 8 | reg);
	return inl(0xcfc);
}

static void pci_out(unsigned devfn, unsigned reg, uint32_t v)
{
	outl(0xcf8, 0x80000000 | devfn << 8 | reg);
	outl(0xcfc, v);
}

static void test_pci(void)
{
	setup();
	outl(0xcf8, 0x80000000);
	CHECK_IS(inl(0xcf8), 0x80000000);
	outb(0xcfb, 0x01); // Linux' test for mechanism 2
	CHECK_IS(inl(0xcf8), 0x80000000);
	CHECK_IS(pci_in(0, 0), 0x12378086);
	CHECK_IS(pci_in(0, 8), 0x06000002);
	CHECK_IS(pci_in(8, 0), 0x70008086);
	CHECK_IS(pci_in(8, 0xc), 0x00800000);
	CHECK_IS(pci_in(11, 0), 0x71138086);
	CHECK_IS(pci_in(11, 0x2c), 0x11001af4);
	CHECK_IS(pci_in(11, 0x3c), 0x00000109);
	CHECK_IS(pci_in(9, 0), 0xffffffff);
	CHECK_IS(pci_in(1 << 8, 0), 0xffffffff);
	outl(0xcf8, 0); // not enabled
	CHECK_IS(inl(0xcfc), 0xffffffff);
	pci_in(0, 0);
	CHECK_IS(inb(0xcfe) | inb(0xcff) << 8, 0x1237);
	CHECK_IS(inw(0xcfd), 0x3780);
	pci_out(0, 0, 0);
	CHECK_IS(pci_in(0, 0), 0x12378086);
	pci_out(0, 0x10, 0xffffffff);
	CHECK_IS(pci_in(0, 0x10), 0); // no BARs
	CHECK_IS(pci_in(11, 0x40), 0x601);
	pci_out(11, 0x40, 0xb001);
	CHECK_IS(inl(0x608), 0xffffffff);
	run_for(1000);
	CHECK_IS(inl(0xb008), 3);
	CHECK_IS(inb(0xb2), 0);
	pci_out(11, 0x80, 0);
	CHECK_IS(inl(0xb008), 0xffffffff);
	board_reset(&board);
	CHECK_IS(inl(0x608), 3);
	outb(0xcf9, 2);
	CHECK_IS(resets, 0);
	outb(0xcf9, 6);
	CHECK_IS(resets, 1);
	CHECK_IS(inb(0xcf9), 2);
}

static uint64_t hpet_in(unsigned reg)
{
	return bus_in(BUS_MMIO, HPET_BASE + reg, 8);
}

static void hpet_out(unsigned reg, unsigned size, uint64_t v)
{
	bus_write(&bus, BUS_MMIO, HPET_BASE + reg, size, v);
}

static void test_hpet(void)
{
	setup();
	CHECK_IS(hpet_in(0), 0x009896808086a201);
	CHECK_IS(bus_in(BUS_MMIO, HPET_BASE + 4, 4), 10000000);
	route(2, 0x42);
	outb(0x43, 0x30); // silence the PIT
	messages = 0;
	hpet_out(0xf0, 8, 1000);
	CHECK_IS(hpet_in(0xf0), 1000);
	hpet_out(0x10, 4, 1);
	run_for(500);
	CHECK_IS(hpet_in(0xf0), 1050);
	hpet_out(0x100, 4, 2 << 9 | 4); // one shot, edge, input 2
	hpet_out(0x108, 4, 2000);
	hpet_out(0x10c, 4, 0);
	run_for(9499);
	CHECK_IS(messages, 0);
	run_for(1);
	CHECK_IS(messages, 1);
	hpet_out(0x100, 4, 2 << 9 | 4 | 8 | 0x40); // periodic
	hpet_out(0x108, 4, 3000);
	hpet_out(0x108, 4, 100);
	run_for(10000);
	CHECK_IS(messages, 2);
	run_for(1000);
	CHECK_IS(messages, 3);
	test_ns += 5500; // late: once, and on in step
	bus_run_timers(&bus);
	CHECK_IS(messages, 4);
	CHECK_IS(hpet_in(0x108), 3700);
	hpet_out(0x100, 4, 2 << 9 | 8); // nobody hears it: no deadline, and on in step
	test_ns += 25000;
	CHECK_IS(bus_run_timers(&bus), 0);
	CHECK_IS(hpet_in(0x108), 6200);
	CHECK_IS(messages, 4);
	hpet_out(0x100, 4, 2 << 9 | 4 | 8);
	run_for(1000);
	CHECK_IS(messages, 5);
	CHECK_IS(hpet_in(0x108), 6300);
	hpet_out(0x100, 4, 0);
	hpet_out(0x120, 4, 2 << 9 | 4 | 2); // level
	route(2, 0x8042);
	messages = 0;
	hpet_out(0x128, 8, hpet_in(0xf0) + 10);
	run_for(200);
	CHECK_IS(messages, 1);
	CHECK_IS(hpet_in(0x20), 2);
	hpet_out(0x20, 4, 2);
	CHECK_IS(hpet_in(0x20), 0);
	board_eoi(&board, 0x42);
	CHECK_IS(messages, 1);
	hpet_out(0x10, 4, 3); // legacy: timer 1 is the RTC's line, the RTC is cut off
	hpet_out(0x120, 4, 4);
	route(8, 0x48);
	messages = 0;
	board_set_gsi(&board, 8, true);
	CHECK_IS(messages, 0);
	hpet_out(0x128, 8, hpet_in(0xf0) + 10);
	run_for(200);
	CHECK_IS(messages, 1);
	CHECK_IS(last.vector, 0x48);
	for (const char *p = "\x11\x30\x04\x01"; *p; p++) // the master, all inputs open
		outb(0x20 + (*p != 0x11), *p);
	hpet_out(0x100, 4, 4); // timer 0 is the PIT's line: an edge is still there when the 8259A is asked, as with nolapic
	hpet_out(0x108, 8, hpet_in(0xf0) + 10);
	run_for(200);
	CHECK_IS(i8259_ack(&board.pic), 0x30);
	outb(0x20, 0x20);
	hpet_out(0x108, 8, hpet_in(0xf0) + 10);
	run_for(200);
	CHECK_IS(i8259_ack(&board.pic), 0x30);
	outb(0x20, 0x20);
	hpet_out(0x108, 8, hpet_in(0xf0) + 10);
	run_for(200);
	hpet_out(0x10, 4, 1); // not its line any more
	CHECK_IS(i8259_ack(&board.pic), 0x37);
	board_reset(&board);
	CHECK_IS(hpet_in(0x10), 0);
}

static uint64_t mmio_in(uint64_t at, unsigned size)
{
	uint64_t v = 0;

	return bus_read(&bus, BUS_MMIO, at, size, &v) ? v : 0xdead;
}

static uint32_t config_in(uint32_t address)
{
	uint64_t v = 0;

	bus_write(&bus, BUS_PORT, 0xcf8, 4, 0x80000000 | address);
	return bus_read(&bus, BUS_PORT, 0xcfc, 4, &v) ? (uint32_t)v : 0xdead;
}

static void setup_as(enum board_kind kind)
{
	struct board_host host = {.ioapic_deliver = on_deliver, .power_off = on_power_off, .reset = on_reset};

	test_bus();
	memset(&config, 0, sizeof(config));
	config.pic = true;
	config.board = kind;
	config.ecam = PCI_ECAM_BASE;
	messages = power_offs = resets = 0;
	CHECK_IS(board_init(&board, &config, &bus, &host, NULL, NULL), 0);
}

static void test_q35(void)
{
	const uint64_t moved = UINT64_C(0xd0000000);

	setup_as(BOARD_Q35);
	CHECK_IS(config_in(0), 0x29c08086);
	CHECK_IS(config_in(0x1f << 11), 0x29188086);
	CHECK_IS(config_in(1 << 11), 0xffffffff);
	CHECK_IS(mmio_in(PCI_ECAM_BASE, 4), 0x29c08086);
	CHECK_IS(mmio_in(PCI_ECAM_BASE + (0x1f << 15) + 2, 2), 0x2918);
	CHECK_IS(mmio_in(PCI_ECAM_BASE + 0x100, 4), 0);            // no extended capabilities
	CHECK_IS(mmio_in(PCI_ECAM_BASE + (1 << 15), 4), UINT32_MAX); // no function
	CHECK_IS(mmio_in(PCI_ECAM_BASE + (1 << 20), 1) & 0xff, 0xff); // no bus
	bus_write(&bus, BUS_MMIO, PCI_ECAM_BASE + 0x3c, 1, 0x5a);
	CHECK_IS(config_in(0x3c) & 0xff, 0x5a);
	bus_write(&bus, BUS_MMIO, PCI_ECAM_BASE + 0xffe, 4, UINT32_MAX); // over the function's end: nothing
	bus_write(&bus, BUS_MMIO, PCI_ECAM_BASE + 0x60, 4, moved | 1);
	CHECK_IS(mmio_in(PCI_ECAM_BASE, 4), 0xdead);
	CHECK_IS(mmio_in(moved, 4), 0x29c08086);
	bus_write(&bus, BUS_MMIO, moved + 0x60, 4, 0);
	CHECK_IS(mmio_in(moved, 4), 0xdead);
	bus_write(&bus, BUS_PORT, 0x604, 2, 0x2000);
	CHECK_IS(power_offs, 1);
	board_reset(&board);
	CHECK_IS(mmio_in(PCI_ECAM_BASE, 4), 0x29c08086);
}

// Two virtio-mmio devices on one line: it falls when both have been acknowledged.
// -- root ports

enum { PORT_AT = 2 << 15, SLOT_AT = 1 << 20 /* bus 1 */, SLT_CTL = 0x60, SLT_STA = 0x62, WINDOW = 0xf0000000 };
static unsigned ejected;

static void on_ejected(void *opaque, unsigned function)
{
	ejected |= BIT(function);
}

static uint32_t cfg_in(uint32_t at, unsigned size)
{
	return (uint32_t)mmio_in(PCI_ECAM_BASE + at, size) & (size == 4 ? UINT32_MAX : (1u << 8 * size) - 1);
}

static void cfg_out(uint32_t at, unsigned size, uint32_t value)
{
	bus_write(&bus, BUS_MMIO, PCI_ECAM_BASE + at, size, value);
}

static void setup_port(struct pci_app *apps)
{
	setup_as(BOARD_Q35);
	memset(apps, 0, PCI_APP_MAX * sizeof(*apps));
	board.config = &config;
	config.root_port[0] = (struct pcie_port_place){.present = true, .devfn = 2 << 3, .slot = 7, .number = 1};
	board.host.ejected = on_ejected;
	ejected = 0;
	board_add_pci(&board, apps);
}

// A device that comes to an empty slot is found behind the port, in its window alone, and goes when the power does.
static void test_root_port(void)
{
	static struct pci_app apps[PCI_APP_MAX];

	setup_port(apps);
	CHECK_IS(cfg_in(PORT_AT, 4), 0x000c1b36);
	CHECK_IS(cfg_in(PORT_AT + 0x0e, 1), 1);
	CHECK_IS(cfg_in(PORT_AT + 0x4a, 2), 0x0142);
	CHECK_IS(cfg_in(PORT_AT + 0x5c, 4) >> 19, 7);
	CHECK_IS(cfg_in(PORT_AT + SLT_STA, 2), 0);
	CHECK(cfg_in(PORT_AT + SLT_CTL, 2) & BIT(10)); // no power
	CHECK_IS(cfg_in(SLOT_AT, 4), UINT32_MAX);
	cfg_out(PORT_AT + 0x18, 4, 0x00010100); // bus 1
	cfg_out(PORT_AT + 0x20, 4, WINDOW >> 16 | WINDOW);
	CHECK_IS(cfg_in(PORT_AT + 0x20, 4), 0xf000f000);
	cfg_out(PORT_AT + 0x24, 4, UINT32_MAX); // no prefetchable window, no ports
	CHECK_IS(cfg_in(PORT_AT + 0x24, 4) | cfg_in(PORT_AT + 0x1c, 2), 0);
	cfg_out(PORT_AT + 4, 2, 6);
	cfg_out(PORT_AT + SLT_CTL, 2, 0x7e9); // button, presence, interrupts; power off
	CHECK(!board.root_port[0].line);
	apps[3] = (struct pci_app){.present = true, .port = 1, .vendor = 0x1af4, .device = 0x1041};
	board_plug_pci(&board, BIT(3));
	CHECK_IS(cfg_in(PORT_AT + SLT_STA, 2), 0x49); // a device; it has come; the button
	CHECK(board.root_port[0].line);
	cfg_out(PORT_AT + SLT_STA, 2, 0x1ff);
	CHECK_IS(cfg_in(PORT_AT + SLT_STA, 2), 0x40);
	CHECK(!board.root_port[0].line);
	CHECK_IS(cfg_in(SLOT_AT, 4), UINT32_MAX);
	cfg_out(PORT_AT + SLT_CTL, 2, 0x1e9); // power
	CHECK_IS(cfg_in(PORT_AT + SLT_STA, 2), 0x140); // the link is up
	CHECK_IS(cfg_in(PORT_AT + 0x5a, 2), 0x2011);
	CHECK_IS(cfg_in(SLOT_AT, 4), 0x10411af4);
	CHECK_IS(cfg_in(SLOT_AT + (1 << 15), 4), UINT32_MAX); // the one place
	cfg_out(SLOT_AT + 0x10, 4, WINDOW + 0x100000);
	cfg_out(SLOT_AT + 4, 2, 6);
	CHECK_IS(mmio_in(WINDOW + 0x100000 + PCI_APP_PBA, 4), 0xdead); // beside the window
	cfg_out(SLOT_AT + 0x10, 4, WINDOW);
	CHECK_IS(mmio_in(WINDOW + PCI_APP_PBA, 4), 0);
	cfg_out(PORT_AT + 4, 2, 4);
	CHECK_IS(mmio_in(WINDOW + PCI_APP_PBA, 4), 0xdead); // the port passes nothing
	cfg_out(PORT_AT + 4, 2, 6);
	CHECK_IS(mmio_in(WINDOW + PCI_APP_PBA, 4), 0);
	cfg_out(PORT_AT + 0x18, 4, 0x00020200); // another number for the bus
	CHECK_IS(cfg_in(SLOT_AT, 4), UINT32_MAX);
	CHECK_IS(cfg_in(SLOT_AT * 2, 4), 0x10411af4);
	cfg_out(PORT_AT + SLT_CTL, 2, 0x7e9); // off and on: nobody has asked for it to go
	CHECK_IS(mmio_in(WINDOW + PCI_APP_PBA, 4), 0xdead);
	cfg_out(PORT_AT + SLT_CTL, 2, 0x1e9);
	CHECK(!ejected && cfg_in(SLOT_AT * 2, 4) == 0x10411af4 && !cfg_in(SLOT_AT * 2 + 0x10, 4));
	cfg_out(PORT_AT + SLT_STA, 2, 0x1ff);
	board_ask_eject(&board, BIT(3));
	CHECK_IS(cfg_in(PORT_AT + SLT_STA, 2), 0x41);
	CHECK(!ejected);
	cfg_out(PORT_AT + SLT_CTL, 2, 0x7e9);
	CHECK_IS(ejected, BIT(3));
	CHECK_IS(cfg_in(PORT_AT + SLT_STA, 2) & 0x48, 8);
	cfg_out(PORT_AT + SLT_CTL, 2, 0x1e9);
	CHECK_IS(cfg_in(SLOT_AT * 2, 4), UINT32_MAX);
	board_reset(&board);
	CHECK_IS(cfg_in(PORT_AT + 0x18, 4), 0);
	for (unsigned i = 0; i < 200000; i++) { // nothing that is written does worse than hide it
		uint32_t r = random_bits();

		cfg_out(PORT_AT + (r & 0xff & -(r >> 8 & 3 ? 4 : 1)), r >> 8 & 3 ? 4 : 1, random_bits());
		if (!(r >> 10 & 63))
			board_plug_pci(&board, BIT(3));
		if (!(r >> 16 & 63))
			board_ask_eject(&board, BIT(3));
		cfg_in((r >> 24 & 3) << 20, 4);
	}
	CHECK_IS(cfg_in(PORT_AT, 4), 0x000c1b36);
}

static void test_microvm(void)
{
	static struct pci_app apps[PCI_APP_MAX];
	const uint64_t first = VIRTIO_MMIO_BASE, second = first + VIRTIO_MMIO_SIZE;

	memset(apps, 0, sizeof(apps));
	for (unsigned i = 0; i < 2; i++) {
		apps[i].present = true;
		apps[i].mmio = (uint32_t)(i ? second : first);
		apps[i].gsi = 17;
	}
	setup_as(BOARD_MICROVM);
	board_add_pci(&board, apps);
	CHECK_IS(config_in(0), 0xffffffff);
	route(17, 0x8000 | 0x51); // level-triggered
	messages = 0;
	bus_write(&bus, BUS_MMIO, first + 0x50, 4, 3);
	bus_write(&bus, BUS_MMIO, first + 0x50, 4, 64);
	CHECK_IS(apps[0].kicks, 8);
	CHECK_IS(apps[0].stat_kicks, 1);
	apps[0].isr = 1;
	apps[1].isr = 3;
	board_serve_pci(&board, 3);
	CHECK_IS(messages, 1);
	CHECK_IS(last.vector, 0x51);
	CHECK_IS(mmio_in(second + 0x60, 4), 3);
	bus_write(&bus, BUS_MMIO, first + 0x64, 4, 1);
	board_eoi(&board, 0x51);
	CHECK_IS(messages, 2); // the other's is still high
	bus_write(&bus, BUS_MMIO, second + 0x64, 4, 3);
	board_eoi(&board, 0x51);
	CHECK_IS(messages, 2);
	bus_write(&bus, BUS_PORT, 0x604, 2, 0x2000);
	bus_write(&bus, BUS_PORT, 0xcf9, 1, 6);
	CHECK_IS(power_offs, 1);
	CHECK_IS(resets, 1);
	board_reset(&board);
}

static void watchdog_out(unsigned reg, unsigned size, uint32_t value)
{
	enum { AT = 0xfebe0000 };

	bus_write(&bus, BUS_MMIO, AT + 12, 2, 0x80);
	bus_write(&bus, BUS_MMIO, AT + 12, 2, 0x86);
	bus_write(&bus, BUS_MMIO, AT + reg, size, value);
}

static void test_watchdog(void)
{
	enum { AT = 0xfebe0000, STAGE_NS = 1000 * 992970 /* 1000 << 15 clocks of 33 MHz */ };
	struct board_host host = {.reset = on_reset};

	setup();
	config.watchdog = true;
	test_bus();
	CHECK_IS(board_init(&board, &config, &bus, &host, NULL, NULL), 0);
	CHECK_IS(pci_in(30 << 3, 0), 0x25ab8086);
	bus_write(&bus, BUS_MMIO, AT, 4, 7); // without the words
	watchdog_out(0, 4, 1000);
	watchdog_out(4, 4, 1000);
	pci_out(30 << 3, 0x68, 2);
	run_for(STAGE_NS * UINT64_C(15) / 10);
	CHECK_IS(resets, 0);
	watchdog_out(12, 2, 0x100); // it lives
	run_for(STAGE_NS * UINT64_C(19) / 10);
	CHECK_IS(resets, 0);
	run_for(STAGE_NS / 5);
	CHECK_IS(resets, 1);
	CHECK_IS(bus_in(BUS_MMIO, AT + 12, 2), 0x200);
	watchdog_out(12, 2, 0x200);
	CHECK_IS(bus_in(BUS_MMIO, AT + 12, 2), 0);
	board_reset(&board);
	run_for(STAGE_NS * UINT64_C(5));
	CHECK_IS(resets, 1);
	pci_out(30 << 3, 0x68, 3); // locked
	pci_out(30 << 3, 0x68, 0);
	CHECK_IS(pci_in(30 << 3, 0x68) & 7, 3);
}

static void test_absent(void)
{
	struct board_host none = {0};
	uint64_t v;

	test_bus();
	memset(&config, 0, sizeof(config));
	CHECK_IS(board_init(&board, &config, &bus, &none, NULL, NULL), 0);
	CHECK(!bus_read(&bus, BUS_PORT, 0x40, 1, &v) && !bus_read(&bus, BUS_PORT, 0x20, 1, &v));
	CHECK(!bus_read(&bus, BUS_PORT, 0x3f8, 1, &v) && !bus_read(&bus, BUS_MMIO, HPET_BASE, 4, &v));
	CHECK_IS(bus.ntimers, 1);
	outb(0x80, 1);
	outw(0x604, 0x2000);
	outb(0xcf9, 6);
	board_set_gsi(&board, 5, true);
	board_poll_serial(&board);
	board_reset(&board);
}

int main(void)
{
	test_lines();
	test_pm();
	test_pci();
	test_hpet();
	test_watchdog();
	test_absent();
	test_q35();
	test_root_port();
	test_microvm();
	return test_result();
}
