// SPDX-License-Identifier: MIT
//
// The chip set's own PCI functions: 00:00.0 i440FX host bridge, 00:01.0 PIIX3 ISA bridge, 00:01.3 PIIX4 power
// management. See chip/i440fx.c.
#ifndef CHIP_I440FX_H
#define CHIP_I440FX_H

#include "chip/pci_host.h"

enum { I440FX_PM_BASE = 0x600, I440FX_SMBUS_BASE = 0x700 };

struct i440fx {
	struct pci_function host_bridge, isa_bridge, pm;
	// The PM block is to be decoded at base, or nowhere (0): called when the guest moves it.
	void (*pm_moved)(void *opaque, uint16_t base);
	void *opaque;
};

void i440fx_init(struct i440fx *c, struct pci_host *host);
void i440fx_reset(struct i440fx *c);

#endif
