// SPDX-License-Identifier: MIT
//
// The PCI function of a SATA controller (ICH9 AHCI; on q35 00:1f.2). The drives and all registers are the app's
// (dev/ahci.c); here is the configuration space, and the registers where BAR 5 puts them, passed on to the app. Its
// interrupt is a line of the app's.
#ifndef CHIP_AHCI_H
#define CHIP_AHCI_H

#include "bus/shared.h"
#include "chip/pci_host.h"

enum { AHCI_APP = 0x30000, AHCI_APP_LEN = 0x1000 }; // ORDER AHCI: dev/ahci.h, AHCI_AT; one after the other

struct ahci_function {
	struct dev dev;
	struct pci_function pci;
	unsigned index;
	uint8_t devfn;
	uint64_t (*access)(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value);
	void *opaque;
};

extern const struct dev_class ahci_function_class;

void ahci_function_add(struct ahci_function *c, unsigned index, uint8_t devfn, struct pci_host *host);

#endif
