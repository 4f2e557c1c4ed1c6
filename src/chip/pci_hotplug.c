// SPDX-License-Identifier: MIT
//
// The ports by which ACPI's methods learn which slots of bus 0 have changed, and let a device go (QEMU's documentation,
// "QEMU<->ACPI BIOS PCI hotplug interface"); the methods are in boot/dsdt.c. Bit n is slot n. A slot that has got a
// device is told once; one that is to let it go stays told until the guest has.
#include "chip/pci_hotplug.h"

enum { UP = 0x00, DOWN = 0x04, EJECT = 0x08, REMOVABLE = 0x0c };

static uint64_t hotplug_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct pci_hotplug *c = (struct pci_hotplug *)d;
	uint32_t up = c->up;

	switch (off) {
	case UP:
		c->up = 0;
		return up;
	case DOWN:
		return c->down;
	case REMOVABLE:
		return UINT32_MAX;
	}
	return 0;
}

static void hotplug_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct pci_hotplug *c = (struct pci_hotplug *)d;

	if (off != EJECT)
		return;
	for (unsigned slot = 0; slot < 32; slot++)
		if (value >> slot & 1 && c->ejected)
			c->ejected(c->opaque, slot);
	c->down &= ~(uint32_t)value;
}

static void hotplug_reset(struct dev *d)
{
	struct pci_hotplug *c = (struct pci_hotplug *)d;

	c->up = c->down = 0;
}

const struct dev_class pci_hotplug_class = {"pci_hotplug", sizeof(struct pci_hotplug), 4, NULL, hotplug_reset,
	hotplug_read, hotplug_write};
