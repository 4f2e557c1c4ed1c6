// SPDX-License-Identifier: MIT
//
// 00:01.1, the PCI function of the PIIX3's IDE controller. The drives and all registers are the app's (dev/ide.c); here
// is the configuration space, the bus master's registers where BAR 4 puts them, and the channels' registers, all passed
// on to the app but for what need not be (bus/ide_window.h).
#ifndef CHIP_PIIX_IDE_H
#define CHIP_PIIX_IDE_H

#include "bus/ide_window.h"
#include "chip/pci_host.h"

enum { PIIX_IDE_APP = 0x20000, PIIX_IDE_MASTER_LEN = 16 }; // ORDER IDE: dev/ide.h, IDE_BUS_MASTER
enum piix_ide_range { PIIX_IDE_RANGE_MASTER, PIIX_IDE_RANGE_COMMAND, PIIX_IDE_RANGE_CONTROL = 3 }; // + channel

struct piix_ide {
	struct dev dev;
	struct pci_function pci;
	struct ide_window *window; // of both channels, or NULL
	uint64_t (*access)(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value);
	void *opaque;
};

extern const struct dev_class piix_ide_class;

void piix_ide_add(struct piix_ide *c, struct pci_host *host);

#endif
