// SPDX-License-Identifier: MIT
//
// The PCI function of an Intel 82540EM network card. All that it does is the app's (dev/e1000.c); here is the
// configuration space, and the registers where its BARs put them - in memory, and two ports that reach the same by
// address and data - passed on to the app. Its interrupt is a line of the app's.
#ifndef CHIP_E1000_H
#define CHIP_E1000_H

#include "bus/shared.h"
#include "chip/pci_host.h"

enum { E1000_APP = 0x40000, E1000_APP_LEN = 0x20000 }; // ORDER E1000: dev/e1000.h, E1000_AT; one after the other

struct e1000_function {
	struct dev dev;
	struct pci_function pci;
	unsigned index;
	uint8_t devfn;
	uint32_t address; // of the two ports
	uint64_t (*access)(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value);
	void *opaque;
};

extern const struct dev_class e1000_function_class;

void e1000_function_add(struct e1000_function *c, unsigned index, uint8_t devfn, struct pci_host *host);

#endif
