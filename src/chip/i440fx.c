// SPDX-License-Identifier: MIT
//
// What QEMU's pc shows at 00:00.0, 00:01.0 and 00:01.3, so that guests choose the same drivers and quirks. The state
// after reset is that which firmware would have left: the PM block decoded at its usual place. Registers of the data
// sheets that steer hardware which is not here (DRAM rows, PAM, SMRAM, PIRQ routes) hold what is written to them.
#include "chip/i440fx.h"

#include "base/types.h"

enum { PM_DEVACTB_3 = 0x5b, APMC_ENABLED = BIT(1), // "set up already" is what says that there is no SMM
	PM_BASE = 0x40, PM_MISC = 0x80, PM_SMBUS_BASE = 0x90, PM_SMBUS_CONTROL = 0xd2, PM_DECODED = BIT(0) };

static const struct pci_identity host_bridge_id = {PCI_DEVFN(0, 0), 0x8086, 0x1237, 0x02, 0x060000, 0x00, 0,
	0x1af4, 0x1100};
static const struct pci_identity isa_bridge_id = {PCI_DEVFN(1, 0), 0x8086, 0x7000, 0x00, 0x060100, 0x80, 0, 0x1af4,
	0x1100};
static const struct pci_identity pm_id = {PCI_DEVFN(1, 3), 0x8086, 0x7113, 0x03, 0x068000, 0x00, 1, 0x1af4, 0x1100};

static const struct pci_preset host_bridge_presets[] = {
	{0x04, 2, 0x0006}, {0x06, 2, 0x0280}, {0x50, 2, 0x0100}, {0x72, 1, 0x02},
};

static const struct pci_preset isa_bridge_presets[] = {
	{0x04, 2, 0x0007}, {0x06, 2, 0x0200}, {0x4c, 1, 0x4d}, {0x4e, 1, 0x03}, {0x60, 4, 0x80808080}, {0x69, 1, 0x02},
	{0x70, 1, 0x80}, {0x76, 2, 0x0c0c}, {0x78, 1, 0x02}, {0xa0, 1, 0x08}, {0xa8, 1, 0x0f},
};

static const struct pci_preset pm_presets[] = {
	{0x04, 2, 0x0003}, {0x06, 2, 0x0280}, {0x3c, 1, 9}, {PM_DEVACTB_3, 1, APMC_ENABLED},
	{PM_BASE, 4, I440FX_PM_BASE | 1}, {PM_MISC, 1, PM_DECODED},
	{PM_SMBUS_BASE, 4, I440FX_SMBUS_BASE | 1}, {PM_SMBUS_CONTROL, 1, 0x09},
};

static void pm_tell(struct i440fx *c)
{
	bool decoded = pci_get(&c->pm, PM_MISC, 1) & PM_DECODED;

	if (c->pm_moved)
		c->pm_moved(c->opaque, decoded ? pci_get(&c->pm, PM_BASE, 4) & 0xffc0 : 0);
}

static void pm_written(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	if (off / 4 == PM_BASE / 4 || off / 4 == PM_MISC / 4)
		pm_tell(opaque);
}

void i440fx_reset(struct i440fx *c)
{
	pci_function_preset(&c->host_bridge, &host_bridge_id, host_bridge_presets, ARRAY_SIZE(host_bridge_presets));
	pci_function_preset(&c->isa_bridge, &isa_bridge_id, isa_bridge_presets, ARRAY_SIZE(isa_bridge_presets));
	pci_function_preset(&c->pm, &pm_id, pm_presets, ARRAY_SIZE(pm_presets));
	for (unsigned i = 0; i < 4; i++) // PMBASE: 64 ports, bit 0 reads one
		c->pm.writable[PM_BASE + i] = i == 0 ? 0xc0 : i == 1 ? 0xff : 0;
	pm_tell(c);
}

void i440fx_init(struct i440fx *c, struct pci_host *host)
{
	c->pm.written = pm_written;
	c->pm.opaque = c;
	i440fx_reset(c);
	pci_host_add(host, &c->host_bridge);
	pci_host_add(host, &c->isa_bridge);
	pci_host_add(host, &c->pm);
}
