// SPDX-License-Identifier: MIT
//
// PCI functions that come and go while the guest runs (-machine pc). See chip/pci_hotplug.c.
#ifndef CHIP_PCI_HOTPLUG_H
#define CHIP_PCI_HOTPLUG_H

#include "bus/bus.h"

enum { PCI_HOTPLUG_BASE = 0xae00, PCI_HOTPLUG_LEN = 0x14, PCI_HOTPLUG_GPE = BIT(1) };

struct pci_hotplug {
	struct dev dev;
	uint32_t up, down; // slots that have got a device; that are asked to let theirs go
	void (*ejected)(void *opaque, unsigned slot);
	void *opaque;
};

extern const struct dev_class pci_hotplug_class;

#endif
