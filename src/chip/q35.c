// SPDX-License-Identifier: MIT
//
// What QEMU's q35 shows at 00:00.0 and 00:1f.0, as far as a direct boot needs it, and the enhanced configuration access
// mechanism (PCI Express Base Specification, "PCI Express Enhanced Configuration Access Mechanism (ECAM)"): 4 KiB for
// each function, of which the upper part is empty here. The state after reset is that which firmware would have left:
// ECAM and the PM block decoded. ECAM moves with PCIEXBAR, at its full size. Interrupt pins go to the same lines as on
// the pc board, and the GPE block stays where that has it. The SATA controller is chip/ahci.c; there is no SMBus one.
#include "chip/q35.h"

#include "bus/pci_app.h"

enum { PCIEXBAR = 0x60, PCIEXBAR_ENABLE = BIT(0), LPC_PMBASE = 0x40, LPC_ACPI_CONTROL = 0x44, LPC_ACPI_ENABLE = BIT(7),
	PM_BASE = 0x600, FUNCTION_BITS = 12 };

static const struct pci_identity host_bridge_id = {PCI_DEVFN(0, 0), 0x8086, 0x29c0, 0x00, 0x060000, 0x00, 0,
	0x1af4, 0x1100};
static const struct pci_identity lpc_id = {PCI_DEVFN(31, 0), 0x8086, 0x2918, 0x02, 0x060100, 0x80, 0, 0x1af4, 0x1100};

static const struct pci_preset host_bridge_presets[] = {
	{0x04, 2, 0x0006}, {PCIEXBAR + 4, 4, 0},
};

static const struct pci_preset lpc_presets[] = {
	{0x04, 2, 0x0007}, {0x06, 2, 0x0200}, {LPC_PMBASE, 4, PM_BASE | 1}, {LPC_ACPI_CONTROL, 1, LPC_ACPI_ENABLE},
	{0x60, 4, 0x0b0b0a0a}, {0x68, 4, 0x0b0b0a0a},
};

static void ecam_place(struct q35 *c)
{
	uint32_t low = pci_get(&c->host_bridge, PCIEXBAR, 4);
	uint64_t at = (uint64_t)pci_get(&c->host_bridge, PCIEXBAR + 4, 4) << 32 | (low & ~(PCI_ECAM_SIZE - 1));

	bus_remove_range(c->dev.bus, &c->dev, 0);
	if (low & PCIEXBAR_ENABLE)
		bus_add(c->dev.bus, BUS_MMIO, at, PCI_ECAM_SIZE, &c->dev, 0); // a place that is taken is not decoded
}

static void host_bridge_written(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	if (off < PCIEXBAR + 8 && off + size > PCIEXBAR)
		ecam_place(opaque);
}

static void pm_tell(struct q35 *c)
{
	bool decoded = pci_get(&c->lpc, LPC_ACPI_CONTROL, 1) & LPC_ACPI_ENABLE;

	if (c->pm_moved)
		c->pm_moved(c->opaque, decoded ? pci_get(&c->lpc, LPC_PMBASE, 4) & 0xff80 : 0);
}

static void lpc_written(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	if (off / 4 == LPC_PMBASE / 4 || off / 4 == LPC_ACPI_CONTROL / 4)
		pm_tell(opaque);
}

void q35_reset(struct q35 *c)
{
	pci_function_preset(&c->host_bridge, &host_bridge_id, host_bridge_presets, ARRAY_SIZE(host_bridge_presets));
	pci_set(&c->host_bridge, PCIEXBAR, 4, c->ecam | PCIEXBAR_ENABLE);
	pci_function_preset(&c->lpc, &lpc_id, lpc_presets, ARRAY_SIZE(lpc_presets));
	for (unsigned i = 0; i < 4; i++) // PMBASE: 128 ports, bit 0 reads one
		c->lpc.writable[LPC_PMBASE + i] = i == 0 ? 0x80 : i == 1 ? 0xff : 0;
	pm_tell(c);
	ecam_place(c);
}

void q35_init(struct q35 *c, struct pci_host *host)
{
	c->host = host;
	c->host_bridge.written = host_bridge_written;
	c->host_bridge.opaque = c;
	c->lpc.written = lpc_written;
	c->lpc.opaque = c;
	q35_reset(c);
	pci_host_add(host, &c->host_bridge);
	pci_host_add(host, &c->lpc);
}

static struct pci_function *function_at(struct q35 *c, uint64_t off)
{
	return pci_host_find(c->host, off >> (FUNCTION_BITS + 8) & 0xff, off >> FUNCTION_BITS & 0xff);
}

static uint64_t ecam_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct pci_function *f = function_at((struct q35 *)d, off);

	off &= BIT(FUNCTION_BITS) - 1;
	if (!f)
		return UINT64_MAX;
	return off + size <= PCI_CONFIG_SIZE ? pci_function_read(f, (unsigned)off, size) : 0;
}

static void ecam_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct pci_function *f = function_at((struct q35 *)d, off);

	off &= BIT(FUNCTION_BITS) - 1;
	if (f && off + size <= PCI_CONFIG_SIZE)
		pci_function_write(f, (unsigned)off, size, (uint32_t)value);
}

static void nothing(struct dev *d)
{
}

const struct dev_class q35_class = {"q35", sizeof(struct q35), 4, NULL, nothing, ecam_read, ecam_write};
