// SPDX-License-Identifier: MIT
//
// QEMU's pci-testdev: a PCI function by which a guest measures how long accesses to a device take. See
// chip/pci_testdev.c.
#ifndef CHIP_PCI_TESTDEV_H
#define CHIP_PCI_TESTDEV_H

#include "chip/pci_host.h"

enum { PCI_TESTDEV_TESTS = 6, PCI_TESTDEV_NAME = 24 };

struct pci_testdev { // its two ranges: memory, ports
	struct dev dev;
	struct pci_function pci;
	int32_t current; // the test that has been chosen, -1: none
	uint32_t count;  // accesses that were as it wants them
};

extern const struct dev_class pci_testdev_class;

// Put the function on the host's bus; dev must have been initialised with pci_testdev_class.
void pci_testdev_add(struct pci_testdev *c, struct pci_host *host);

#endif
