// SPDX-License-Identifier: MIT
//
// 00:01.1, the PCI function of the PIIX3's IDE controller. The drives and all registers are the app's (dev/ide.c); here
// is the configuration space, and the bus master's registers where BAR 4 puts them, passed on to the app.
#ifndef CHIP_PIIX_IDE_H
#define CHIP_PIIX_IDE_H

#include "chip/pci_host.h"

enum { PIIX_IDE_APP = 0x20000, PIIX_IDE_MASTER_LEN = 16 }; // ORDER IDE: dev/ide.h, IDE_BUS_MASTER

struct piix_ide {
	struct dev dev;
	struct pci_function pci;
	uint64_t (*access)(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value);
	void *opaque;
};

extern const struct dev_class piix_ide_class;

void piix_ide_add(struct piix_ide *c, struct pci_host *host);

#endif
