// SPDX-License-Identifier: MIT
//
// The board as two tables: who answers where, and whose output goes to which line. It is QEMU's pc (i440FX, PIIX),
// as far as it needs no host I/O; q35 has other PCI functions and ECAM, microvm no PCI but virtio-mmio devices.
// Interrupt lines are numbered as ISA does: 0 is the timer's, which is input 0 of the PIC and pin 2 of the IO-APIC;
// the PIC's own output is pin 0.
#include "chip/board.h"

#include "base/string.h"

// Who drives a line: ISA lines may be shared, the receiver sees the OR.
enum board_source { FROM_PIT = BIT(0), FROM_UART = BIT(1) /* to BIT(4) */, FROM_PM = BIT(5), FROM_HPET = BIT(6),
	FROM_APP = BIT(7), FROM_PCI = BIT(8) };

#define AT(chip) offsetof(struct board, chip.dev)
#define IF(flag) (1 + offsetof(struct config, flag)) // a bool of struct config; 0: always

static const struct board_range {
	size_t dev, present;
	enum bus_space space;
	uint64_t base, len;
	unsigned range;
} board_ranges[] = {
	{AT(pic), IF(pic), BUS_PORT, 0x20, 2, I8259_RANGE_MASTER},
	{AT(pic), IF(pic), BUS_PORT, 0xa0, 2, I8259_RANGE_SLAVE},
	{AT(pic), IF(pic), BUS_PORT, 0x4d0, 2, I8259_RANGE_ELCR},
	{AT(pit), IF(pit), BUS_PORT, 0x40, 4, I8254_RANGE_COUNTERS},
	{AT(pit), IF(pit), BUS_PORT, 0x61, 1, I8254_RANGE_PORT61},
	{AT(null_port), 0, BUS_PORT, 0x80, 1, 0},
	{AT(null_port), 0, BUS_PORT, 0xed, 1, 0},
	{AT(vga), IF(vga), BUS_PORT, VGA_PORTS, VGA_PORTS_LEN, VGA_RANGE_PORTS},
	{AT(vga), IF(vga), BUS_PORT, VBE_PORTS, VBE_PORTS_LEN, VGA_RANGE_VBE},
	{AT(vga), IF(vga), BUS_MMIO, VGA_WINDOW, VGA_WINDOW_LEN, VGA_RANGE_WINDOW},
	{AT(pm), 0, BUS_PORT, ACPI_APM_BASE, 2, ACPI_PM_RANGE_APM}, // and PM1, where the PCI function says: board_move_pm
	{AT(pm), 0, BUS_PORT, ACPI_GPE_BASE, ACPI_GPE_SIZE, ACPI_PM_RANGE_GPE},
	{AT(serial[0]), IF(serial_present[0]), BUS_PORT, 0x3f8, 8, 0},
	{AT(serial[1]), IF(serial_present[1]), BUS_PORT, 0x2f8, 8, 0},
	{AT(serial[2]), IF(serial_present[2]), BUS_PORT, 0x3e8, 8, 0},
	{AT(serial[3]), IF(serial_present[3]), BUS_PORT, 0x2e8, 8, 0},
	{AT(pci), 0, BUS_PORT, PCI_HOST_BASE, PCI_HOST_LEN, 0},
	{AT(ioapic), 0, BUS_MMIO, IOAPIC_BASE, IOAPIC_SIZE, 0},
	{AT(hpet), IF(hpet), BUS_MMIO, HPET_BASE, HPET_SIZE, 0},
	{AT(ide), IF(ide), BUS_PORT, 0x1f0, 8, PIIX_IDE_RANGE_COMMAND},
	{AT(ide), IF(ide), BUS_PORT, 0x3f6, 1, PIIX_IDE_RANGE_CONTROL},
	{AT(ide), IF(ide), BUS_PORT, 0x170, 8, PIIX_IDE_RANGE_COMMAND + 1},
	{AT(ide), IF(ide), BUS_PORT, 0x376, 1, PIIX_IDE_RANGE_CONTROL + 1},
	{AT(hotplug), IF(pci_hotplug), BUS_PORT, PCI_HOTPLUG_BASE, PCI_HOTPLUG_LEN, 0},
};

static const struct board_line {
	size_t line; // of a struct irq_line in struct board
	unsigned gsi;
	enum board_source source;
} board_lines[] = {
	{offsetof(struct board, pit.irq), 0, FROM_PIT},
	{offsetof(struct board, serial[0].irq), 4, FROM_UART},
	{offsetof(struct board, serial[1].irq), 3, FROM_UART << 1},
	{offsetof(struct board, serial[2].irq), 4, FROM_UART << 2},
	{offsetof(struct board, serial[3].irq), 3, FROM_UART << 3},
	{offsetof(struct board, pm.sci), ACPI_SCI, FROM_PM},
};

// Receivers of lines come before those who drive them.
static const struct board_dev {
	size_t dev, present;
	const struct dev_class *class;
} board_devs[] = {
	{AT(ioapic), 0, &ioapic_class},
	{AT(pic), IF(pic), &i8259_class},
	{AT(pit), IF(pit), &i8254_class},
	{AT(pm), 0, &acpi_pm_class},
	{AT(pci), 0, &pci_host_class},
	{AT(hpet), IF(hpet), &hpet_class},
	{AT(serial[0]), IF(serial_present[0]), &uart16550_class},
	{AT(serial[1]), IF(serial_present[1]), &uart16550_class},
	{AT(serial[2]), IF(serial_present[2]), &uart16550_class},
	{AT(serial[3]), IF(serial_present[3]), &uart16550_class},
	{AT(null_port), 0, &null_port_class},
	{AT(ide), IF(ide), &piix_ide_class},
	{AT(ahci[0]), IF(ahci[0].present), &ahci_function_class},
	{AT(ahci[1]), IF(ahci[1].present), &ahci_function_class},
	{AT(ahci[2]), IF(ahci[2].present), &ahci_function_class},
	{AT(e1000[0]), IF(e1000[0].present), &e1000_function_class},
	{AT(e1000[1]), IF(e1000[1].present), &e1000_function_class},
	{AT(e1000[2]), IF(e1000[2].present), &e1000_function_class},
	{AT(e1000[3]), IF(e1000[3].present), &e1000_function_class},
	{AT(vga), IF(vga), &vga_class},
	{AT(testdev), IF(pci_testdev), &pci_testdev_class},
	{AT(watchdog), IF(watchdog), &i6300esb_class},
	{AT(hotplug), IF(pci_hotplug), &pci_hotplug_class},
};

static void *board_at(struct board *b, size_t offset)
{
	return (char *)b + offset;
}

static bool board_has(const struct board *b, size_t present)
{
	return !present || *((const bool *)b->config + (present - 1));
}

// Hand a line's state to both interrupt controllers. An HPET in legacy mode takes the place of the PIT and the RTC.
static void board_update_line(struct board *b, unsigned n)
{
	uint16_t sources = b->gsi_sources[n];
	bool level;

	if ((n == 0 || n == 8) && hpet_legacy(&b->hpet))
		sources &= FROM_HPET;
	level = sources != 0;
	if (n < 16 && b->config->pic)
		i8259_set(&b->pic, n, level);
	ioapic_set(&b->ioapic, n == 0 ? 2 : n, level);
}

static void board_drive(struct board *b, unsigned n, enum board_source source, bool level)
{
	if (n >= IOAPIC_PINS || n == 2)
		return;
	if (level)
		b->gsi_sources[n] |= source;
	else
		b->gsi_sources[n] &= ~source;
	board_update_line(b, n);
}

// irq_line.set of a row of board_lines: n is the row.
static void board_line_set(void *opaque, unsigned n, bool level)
{
	board_drive(opaque, board_lines[n].gsi, board_lines[n].source, level);
}

void board_set_gsi(struct board *b, unsigned n, bool level)
{
	board_drive(b, n, FROM_APP, level);
}

void board_set_app_lines(struct board *b, uint64_t lines)
{
	for (unsigned n = 0; n < IOAPIC_PINS; n++) {
		bool level = lines >> n & 1;

		if (level != !!(b->gsi_sources[n] & FROM_APP))
			board_drive(b, n, FROM_APP, level);
	}
}

// INTx: PCI functions share lines.
static void board_pci_lines(void *opaque)
{
	struct board *b = opaque;
	uint32_t high = 0, used = 0;

	for (unsigned i = 0; i < PCI_APP_MAX; i++) {
		const struct pci_app_function *f = &b->pci_app[i];

		if (f->app)
			used |= BIT(pci_function_line(&f->pci));
		if (f->app && f->line)
			high |= BIT(pci_function_line(&f->pci));
		if (b->mmio_app[i].app)
			used |= BIT(b->mmio_app[i].app->gsi);
		if (b->mmio_app[i].app && b->mmio_app[i].line)
			high |= BIT(b->mmio_app[i].app->gsi);
	}
	for (unsigned i = 0; i < PCIE_PORTS; i++) {
		const struct pcie_port *p = &b->root_port[i];

		if (p->place.present)
			used |= BIT(pci_function_line(&p->pci));
		if (p->line)
			high |= BIT(pci_function_line(&p->pci));
	}
	for (unsigned n = 0; n < IOAPIC_PINS; n++)
		if (used & BIT(n))
			board_drive(b, n, FROM_PCI, high & BIT(n));
}

static struct pcie_port *port_of(struct board *b, unsigned function)
{
	unsigned port = b->apps[function].port;

	return port ? &b->root_port[port - 1] : NULL;
}

static void add_function(struct board *b, unsigned i)
{
	struct pci_app_function *f = &b->pci_app[i];

	memset(f, 0, sizeof(*f));
	bus_init_dev(b->bus, &f->dev, &pci_app_class);
	f->pci.port = port_of(b, i);
	pci_app_add(f, i, &b->apps[i], &b->pci, &b->pci_hooks);
}

static void take_function(struct board *b, unsigned i)
{
	struct pci_app_function *f = &b->pci_app[i];

	pci_app_reset(f);
	pci_host_remove(&b->pci, &f->pci);
	f->app = NULL;
	if (b->host.ejected)
		b->host.ejected(b->host.opaque, i);
}

// A slot's power has gone: with it the device, if an operator wants that.
static void board_port_off(void *opaque, struct pcie_port *p, bool asked)
{
	struct board *b = opaque;

	for (unsigned i = 0; i < PCI_APP_MAX; i++) {
		if (!b->pci_app[i].app || port_of(b, i) != p)
			continue;
		if (asked)
			take_function(b, i);
		else
			pci_app_reset(&b->pci_app[i]);
	}
	if (asked)
		pcie_port_emptied(p);
}

static void add_ports(struct board *b)
{
	for (unsigned i = 0; i < PCIE_PORTS; i++) {
		struct pcie_port *p = &b->root_port[i];

		p->place = b->config->root_port[i];
		p->line_changed = board_pci_lines;
		p->powered_off = board_port_off;
		p->opaque = b;
		if (p->place.present)
			pcie_port_add(p, &b->pci);
	}
}

void board_add_pci(struct board *b, struct pci_app *apps)
{
	b->pci_hooks = (struct pci_app_hooks){b->host.opaque, b->host.pci_access, b->host.pci_kick, b->host.msi,
		board_pci_lines, b};
	b->apps = apps;
	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (apps[i].present && apps[i].port)
			b->root_port[apps[i].port - 1].occupied = true;
	add_ports(b);
	for (unsigned i = 0; i < PCI_APP_MAX; i++) {
		if (!apps[i].present)
			continue;
		if (apps[i].mmio) {
			bus_init_dev(b->bus, &b->mmio_app[i].dev, &mmio_app_class);
			mmio_app_add(&b->mmio_app[i], i, &apps[i], &b->pci_hooks);
			continue;
		}
		add_function(b, i);
	}
}

void board_plug_pci(struct board *b, uint32_t functions)
{
	for (unsigned i = 0; i < PCI_APP_MAX; i++) {
		if (!(functions & BIT(i)) || b->pci_app[i].app)
			continue;
		add_function(b, i);
		if (port_of(b, i))
			pcie_port_plugged(port_of(b, i));
		else
			b->hotplug.up |= BIT(b->apps[i].devfn >> 3);
	}
	if (b->config->pci_hotplug)
		acpi_pm_gpe(&b->pm, PCI_HOTPLUG_GPE);
}

void board_ask_eject(struct board *b, uint32_t functions)
{
	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (!(functions & BIT(i)) || !b->pci_app[i].app)
			continue;
		else if (port_of(b, i))
			pcie_port_press(port_of(b, i));
		else
			b->hotplug.down |= BIT(b->apps[i].devfn >> 3);
	if (b->config->pci_hotplug)
		acpi_pm_gpe(&b->pm, PCI_HOTPLUG_GPE);
}

static void board_eject(void *opaque, unsigned slot)
{
	struct board *b = opaque;

	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (b->pci_app[i].app && b->apps[i].devfn >> 3 == slot)
			take_function(b, i);
}

void board_serve_pci(struct board *b, uint32_t functions)
{
	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (!(functions & BIT(i)))
			continue;
		else if (b->pci_app[i].app)
			pci_app_serve(&b->pci_app[i]);
		else if (b->mmio_app[i].app)
			mmio_app_serve(&b->mmio_app[i]);
}

static void board_hpet_set(void *opaque, unsigned gsi, bool level)
{
	board_drive(opaque, gsi, FROM_HPET, level);
}

static void board_hpet_legacy(void *opaque, bool legacy)
{
	board_update_line(opaque, 0);
	board_update_line(opaque, 8);
}

static void board_pic_intr(void *opaque, unsigned n, bool level)
{
	struct board *b = opaque;

	ioapic_set(&b->ioapic, 0, level);
	if (b->host.pic_intr)
		b->host.pic_intr(b->host.opaque, level);
}

uint8_t board_pic_ack(struct board *b)
{
	return i8259_ack(&b->pic);
}

void board_eoi(struct board *b, uint8_t vector)
{
	ioapic_eoi(&b->ioapic, vector);
}

void board_press_power(struct board *b)
{
	acpi_pm_event(&b->pm, ACPI_PWRBTN);
}

void board_poll_serial(struct board *b)
{
	for (unsigned i = 0; i < SERIAL_PORTS; i++) {
		if (b->config->serial_present[i])
			uart16550_poll(&b->serial[i]);
	}
}

static int board_add_ranges(struct board *b, const struct dev *only)
{
	for (size_t i = 0; i < ARRAY_SIZE(board_ranges); i++) {
		const struct board_range *r = &board_ranges[i];
		struct dev *d = board_at(b, r->dev);
		int err;

		if ((only && d != only) || !board_has(b, r->present))
			continue;
		err = bus_add(b->bus, r->space, r->base, r->len, d, r->range);
		if (err)
			return err;
	}
	return 0;
}

// i440fx.pm_moved: a place that is taken leaves the block undecoded.
static void board_move_pm(void *opaque, uint16_t base)
{
	struct board *b = opaque;

	bus_remove(b->bus, &b->pm.dev);
	board_add_ranges(b, &b->pm.dev);
	if (base)
		bus_add(b->bus, BUS_PORT, base, ACPI_PM_SIZE, &b->pm.dev, ACPI_PM_RANGE_PM);
}

static void board_wire(struct board *b, struct ring *serial_tx, struct ring *serial_rx)
{
	for (unsigned i = 0; i < ARRAY_SIZE(board_lines); i++)
		*(struct irq_line *)board_at(b, board_lines[i].line) = (struct irq_line){board_line_set, b, i};
	b->pic.intr = (struct irq_line){board_pic_intr, b, 0};
	b->ioapic.deliver = b->host.ioapic_deliver;
	b->ioapic.opaque = b->host.opaque;
	b->pm.power_off = b->host.power_off;
	b->pm.opaque = b->host.opaque;
	b->pci.reset = b->host.reset;
	b->pci.opaque = b->host.opaque;
	b->watchdog.bite = b->config->watchdog_mute ? NULL : b->host.reset;
	b->watchdog.opaque = b->host.opaque;
	b->hotplug.ejected = board_eject;
	b->hotplug.opaque = b;
	b->hpet.set_gsi = board_hpet_set;
	b->hpet.legacy_changed = board_hpet_legacy;
	b->hpet.opaque = b;
	b->i440fx.pm_moved = board_move_pm;
	b->i440fx.opaque = b;
	b->ide.access = b->host.port_access;
	b->ide.opaque = b->host.opaque;
	b->ide.window = b->host.ide;
	b->vga.screen = b->host.screen;
	b->vga.memory = b->host.screen_memory;
	b->vga.moved = b->host.screen_moved;
	b->vga.opaque = b->host.opaque;
	for (unsigned i = 0; i < AHCI_CONTROLLERS; i++) {
		b->ahci[i].access = b->host.port_access;
		b->ahci[i].opaque = b->host.opaque;
	}
	for (unsigned i = 0; i < E1000_CARDS; i++) {
		b->e1000[i].access = b->host.port_access;
		b->e1000[i].opaque = b->host.opaque;
	}
	for (unsigned i = 0; i < SERIAL_PORTS; i++) {
		b->serial[i].tx = serial_tx ? &serial_tx[i] : NULL;
		b->serial[i].rx = serial_rx ? &serial_rx[i] : NULL;
		b->serial[i].doorbell = b->host.doorbell;
		b->serial[i].opaque = b->host.opaque;
	}
}

static void board_init_chip_set(struct board *b)
{
	if (b->config->board == BOARD_PC)
		i440fx_init(&b->i440fx, &b->pci);
	b->pci.absent = b->config->board == BOARD_MICROVM;
	if (b->config->board != BOARD_Q35)
		return;
	bus_init_dev(b->bus, &b->q35.dev, &q35_class);
	b->q35.ecam = b->config->ecam;
	b->q35.pm_moved = board_move_pm;
	b->pm.no_smm = true;
	b->q35.opaque = b;
	q35_init(&b->q35, &b->pci);
}

static void board_reset_chip_set(struct board *b)
{
	if (b->config->board == BOARD_PC)
		i440fx_reset(&b->i440fx);
	else if (b->config->board == BOARD_Q35)
		q35_reset(&b->q35);
	else
		board_move_pm(b, I440FX_PM_BASE);
}

int board_init(struct board *b, const struct config *config, struct bus *bus, const struct board_host *host,
	       struct ring *serial_tx, struct ring *serial_rx)
{
	int err;

	memset(b, 0, sizeof(*b));
	b->bus = bus;
	b->config = config;
	b->host = *host;
	for (size_t i = 0; i < ARRAY_SIZE(board_devs); i++) {
		if (board_has(b, board_devs[i].present))
			bus_init_dev(bus, board_at(b, board_devs[i].dev), board_devs[i].class);
	}
	board_wire(b, serial_tx, serial_rx);
	err = board_add_ranges(b, NULL);
	if (err)
		return err;
	board_init_chip_set(b);
	if (config->vga)
		vga_add(&b->vga, &b->pci, config->board == BOARD_Q35);
	if (config->ide)
		piix_ide_add(&b->ide, &b->pci);
	for (unsigned i = 0; i < AHCI_CONTROLLERS; i++)
		if (config->ahci[i].present)
			ahci_function_add(&b->ahci[i], i, config->ahci[i].devfn, &b->pci);
	for (unsigned i = 0; i < E1000_CARDS; i++)
		if (config->e1000[i].present)
			e1000_function_add(&b->e1000[i], i, config->e1000[i].devfn, &b->pci);
	if (config->pci_testdev)
		pci_testdev_add(&b->testdev, &b->pci);
	if (config->watchdog)
		i6300esb_add(&b->watchdog, &b->pci);
	board_reset(b);
	return 0;
}

// Kernels that are started by a multiboot loader find a PC whose BIOS has run: interrupts 8-15 and 0x70-0x77, most of
// them masked, and the tick of 18.2 Hz.
static void board_firmware_setup(struct board *b)
{
	static const struct {
		uint16_t port;
		uint8_t value;
	} writes[] = {
		{0x20, 0x11}, {0x21, 0x08}, {0x21, 0x04}, {0x21, 0x01}, {0x21, 0xf8}, // PIC: timer, keyboard, cascade
		{0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 0x02}, {0xa1, 0x01}, {0xa1, 0xee}, // clock, mouse
		{0x43, 0x34}, {0x40, 0}, {0x40, 0}, // PIT: rate generator, the longest period
	};

	for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
		if (writes[i].port >= 0x40 && writes[i].port < 0x44 ? b->config->pit : b->config->pic)
			bus_write(b->bus, BUS_PORT, writes[i].port, 1, writes[i].value);
}

void board_reset(struct board *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(board_devs); i++) {
		if (board_has(b, board_devs[i].present))
			board_devs[i].class->reset(board_at(b, board_devs[i].dev));
	}
	board_reset_chip_set(b);
	if (b->config->pic) // as firmware leaves the PCI interrupts: level-triggered
		bus_write(b->bus, BUS_PORT, 0x4d1, 1, BIT(10 - 8) | BIT(11 - 8));
	if (b->config->bios_state)
		board_firmware_setup(b);
	for (unsigned i = 0; i < PCIE_PORTS; i++)
		if (b->root_port[i].pci.host)
			pcie_port_reset(&b->root_port[i]);
	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (b->pci_app[i].app)
			pci_app_reset(&b->pci_app[i]);
		else if (b->mmio_app[i].app)
			mmio_app_reset(&b->mmio_app[i]);
	board_poll_serial(b);
}
