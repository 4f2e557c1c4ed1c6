// SPDX-License-Identifier: MIT
//
// The DSDT: power-off, processors, the PCI host bridge with its windows and interrupt routing, and the devices of the
// ISA bus as a table. Methods are needed only for devices that come and go (hotplug.c).
#include "boot/acpi.h"

enum {
	PCI_CONFIG = 0xcf8,
	PCI_HOLE_END = 0xfebfffff,
	ISA_BRIDGE = 0x00010000, // device 1, function 0
	LPC_BRIDGE = 0x001f0000, // q35's
	NO_IRQ = 0xff,
	FLOPPY_DMA = 2,
	FW_CFG_PORT = 0x510, // dev/fw_cfg.h
	FW_CFG_PORTS = 12,
};

enum isa_when { ISA_ALWAYS, ISA_COM1, ISA_COM2, ISA_COM3, ISA_COM4, ISA_RTC, ISA_PIT, ISA_PIC, ISA_I8042,
	ISA_FLOPPY };

static const struct isa_device {
	enum isa_when when;
	const char *name, *id;
	uint8_t uid;
	uint16_t io[2];
	uint8_t io_len[2];
	uint8_t irq;
} isa_devices[] = {
	{ ISA_PIC, "PIC", "PNP0000", 0, { 0x20, 0xa0 }, { 2, 2 }, 2 },
	{ ISA_PIT, "TMR", "PNP0100", 0, { 0x40 }, { 4 }, 0 },
	{ ISA_RTC, "RTC", "PNP0B00", 0, { 0x70 }, { 8 }, 8 },
	{ ISA_I8042, "KBD", "PNP0303", 0, { 0x60, 0x64 }, { 1, 1 }, 1 },
	{ ISA_FLOPPY, "FDC", "PNP0700", 0, { 0x3f0, 0x3f7 }, { 6, 1 }, 6 },
	{ ISA_COM1, "COM1", "PNP0501", 1, { 0x3f8 }, { 8 }, 4 },
	{ ISA_COM2, "COM2", "PNP0501", 2, { 0x2f8 }, { 8 }, 3 },
	{ ISA_COM3, "COM3", "PNP0501", 3, { 0x3e8 }, { 8 }, 4 },
	{ ISA_COM4, "COM4", "PNP0501", 4, { 0x2e8 }, { 8 }, 3 },
	{ ISA_ALWAYS, "RES", "PNP0C02", 1, { ACPI_PM1_EVENT, ACPI_GPE0 }, { 0x40, 4 }, NO_IRQ },
};

static bool isa_present(const struct config *cfg, enum isa_when when)
{
	switch (when) {
	case ISA_ALWAYS: return true;
	case ISA_COM1: return cfg->serial_present[0];
	case ISA_COM2: return cfg->serial_present[1];
	case ISA_COM3: return cfg->serial_present[2];
	case ISA_COM4: return cfg->serial_present[3];
	case ISA_RTC: return cfg->rtc;
	case ISA_PIT: return cfg->pit;
	case ISA_PIC: return cfg->pic;
	case ISA_I8042: return cfg->i8042;
	case ISA_FLOPPY: return cfg->floppy;
	}
	return false;
}

static size_t open_device(struct aml *b, const char *name, const char *id, unsigned uid)
{
	size_t device = aml_device(b, name);

	aml_name(b, "_HID");
	aml_eisaid(b, id);
	aml_name(b, "_UID");
	aml_int(b, uid);
	return device;
}

static void put_isa_device(struct aml *b, const struct isa_device *d)
{
	size_t device = open_device(b, d->name, d->id, d->uid);

	aml_name(b, "_STA");
	aml_int(b, 0xf);
	aml_name(b, "_CRS");
	struct aml_template t = aml_template_open(b);

	for (unsigned i = 0; i < 2 && d->io_len[i]; i++)
		aml_io(b, d->io[i], d->io_len[i]);
	if (d->irq != NO_IRQ)
		aml_irq(b, d->irq);
	if (d->when == ISA_FLOPPY)
		aml_dma(b, FLOPPY_DMA);
	aml_template_close(b, t);
	aml_close(b, device);
}

static void put_isa(struct aml *b, const struct config *cfg)
{
	size_t isa = aml_device(b, "ISA");

	if (cfg->board == BOARD_MICROVM) {
		aml_name(b, "_HID"); // a bus of its own
		aml_eisaid(b, "PNP0A05");
	} else {
		aml_name(b, "_ADR");
		aml_int(b, cfg->board == BOARD_Q35 ? LPC_BRIDGE : ISA_BRIDGE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(isa_devices); i++)
		if (isa_present(cfg, isa_devices[i].when))
			put_isa_device(b, &isa_devices[i]);
	aml_close(b, isa);
}

static void put_hpet(struct aml *b)
{
	size_t device = open_device(b, "HPET", "PNP0103", 0);

	aml_name(b, "_CRS");
	struct aml_template t = aml_template_open(b);

	aml_memory32(b, ACPI_HPET, 0x400);
	aml_template_close(b, t);
	aml_close(b, device);
}

// Pins are spread over the PIIX's four interrupt outputs, slot by slot; these are wired to inputs 10, 10, 11, 11.
static void put_routing(struct aml *b)
{
	size_t table, row;

	aml_name(b, "_PRT");
	table = aml_package(b, (BOARD_PCI_SLOTS - 1) * BOARD_PCI_PINS);
	for (unsigned slot = 1; slot < BOARD_PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < BOARD_PCI_PINS; pin++) {
			row = aml_package(b, 4);
			aml_int(b, slot << 16 | 0xffff);
			aml_int(b, pin);
			aml_int(b, 0);
			aml_int(b, board_pci_gsi(slot, pin));
			aml_close(b, row);
		}
	}
	aml_close(b, table);
}

// QEMU's documentation, "QEMU Firmware Configuration (fw_cfg) Device", "ACPI Interface".
static void put_fw_cfg(struct aml *b)
{
	size_t device = aml_device(b, "FWCF");

	aml_name(b, "_HID");
	aml_string(b, "QEMU0002");
	aml_name(b, "_STA");
	aml_int(b, 0xb);
	aml_name(b, "_CRS");
	struct aml_template t = aml_template_open(b);

	aml_io(b, FW_CFG_PORT, FW_CFG_PORTS);
	aml_template_close(b, t);
	aml_close(b, device);
}

// Slots behind root ports are the system's to serve.
static void put_control(struct aml *b)
{
	static const uint8_t uuid[16] = { 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0,
		0x3d, 0xd7, 0x66 };
	enum { NATIVE_HOTPLUG = BIT(0), PME = BIT(2), EXPRESS_CAPABILITY = BIT(4) };

	aml_put_osc(b, uuid, NATIVE_HOTPLUG | PME | EXPRESS_CAPABILITY);
}

static void put_pci(struct aml *b, const struct config *cfg)
{
	size_t pci = aml_device(b, "PCI0");

	aml_name(b, "_HID");
	aml_eisaid(b, cfg->board == BOARD_Q35 ? "PNP0A08" : "PNP0A03");
	if (cfg->board == BOARD_Q35) {
		aml_name(b, "_CID");
		aml_eisaid(b, "PNP0A03");
	}
	aml_name(b, "_UID");
	aml_int(b, 0);
	aml_name(b, "_CRS");
	struct aml_template t = aml_template_open(b);

	aml_window16(b, AML_RANGE_BUS, 0, 0xff);
	aml_io(b, PCI_CONFIG, 8);
	aml_window16(b, AML_RANGE_IO, 0, PCI_CONFIG - 1);
	aml_window16(b, AML_RANGE_IO, PCI_CONFIG + 8, 0xffff);
	aml_window32(b, AML_RANGE_MEMORY, 0xa0000, 0xbffff);
	if (cfg->board == BOARD_Q35 && cfg->ecam > MEM_LOW_MAX)
		aml_window32(b, AML_RANGE_MEMORY, MEM_LOW_MAX_MB * UINT32_C(0x100000), cfg->ecam - 1);
	aml_window32(b, AML_RANGE_MEMORY, cfg->board == BOARD_Q35 ? cfg->ecam + PCI_ECAM_SIZE :
		     MEM_LOW_MAX_MB * UINT32_C(0x100000), PCI_HOLE_END);
	aml_template_close(b, t);
	if (cfg->root_port[0].present)
		put_control(b);
	put_routing(b);
	put_isa(b, cfg);
	if (cfg->pci_hotplug)
		hotplug_put_slots(b);
	aml_close(b, pci);
}

static void put_ecam(struct aml *b, const struct config *cfg)
{
	size_t device = open_device(b, "ECAM", "PNP0C02", 2);

	aml_name(b, "_CRS");
	struct aml_template t = aml_template_open(b);

	aml_memory32(b, cfg->ecam, PCI_ECAM_SIZE);
	aml_template_close(b, t);
	aml_close(b, device);
}

static void put_mmio_device(struct aml *b, unsigned i)
{
	const char name[] = { 'V', 'R', '0' + i / 10, '0' + i % 10, 0 };
	size_t device = aml_device(b, name);

	aml_name(b, "_HID");
	aml_string(b, "LNRO0005");
	aml_name(b, "_UID");
	aml_int(b, i);
	aml_name(b, "_CCA");
	aml_int(b, 1);
	aml_name(b, "_CRS");
	struct aml_template t = aml_template_open(b);

	aml_memory32(b, VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE);
	aml_interrupt(b, VIRTIO_MMIO_GSI + i % VIRTIO_MMIO_GSIS);
	aml_template_close(b, t);
	aml_close(b, device);
}

static void put_processor(struct aml *b, unsigned i)
{
	const char name[] = { 'C', '0' + i / 100 % 10, '0' + i / 10 % 10, '0' + i % 10, 0 };
	size_t device = aml_device(b, name);

	aml_name(b, "_HID");
	aml_string(b, "ACPI0007");
	aml_name(b, "_UID");
	aml_int(b, i);
	aml_close(b, device);
}

void dsdt_build(struct aml *b, const struct config *cfg)
{
	size_t sb, s5;

	aml_name(b, "\\_S5");
	s5 = aml_package(b, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_int(b, i < 2 ? ACPI_SLP_TYP_S5 : 0);
	aml_close(b, s5);
	sb = aml_scope(b, "\\_SB");
	for (unsigned i = 0; i < cfg->vcpus; i++)
		put_processor(b, i);
	if (cfg->board == BOARD_MICROVM)
		put_isa(b, cfg);
	else
		put_pci(b, cfg);
	put_fw_cfg(b);
	if (cfg->board == BOARD_Q35)
		put_ecam(b, cfg);
	for (unsigned i = 0; i < cfg->mmio_devices; i++)
		put_mmio_device(b, i);
	if (cfg->hpet)
		put_hpet(b);
	aml_close(b, sb);
	if (cfg->pci_hotplug)
		hotplug_put_event(b);
}
