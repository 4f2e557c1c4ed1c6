// SPDX-License-Identifier: MIT
//
// PCI configuration mechanism #1 at 0xcf8 and the functions of bus 0 that have no host I/O; the reset control register
// 0xcf9 stands in the middle of it. See chip/pci_host.c.
#ifndef CHIP_PCI_HOST_H
#define CHIP_PCI_HOST_H

#include "bus/bus.h"

enum { PCI_FUNCTIONS_MAX = 32, PCI_CONFIG_SIZE = 256, PCI_HOST_BASE = 0xcf8, PCI_HOST_LEN = 8 };

#define PCI_DEVFN(device, function) ((device) << 3 | (function))

struct pci_function {
	uint8_t bus, devfn;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];  // bits that a write changes
	uint8_t clearable[PCI_CONFIG_SIZE]; // bits that writing 1 clears
	void (*written)(void *opaque, struct pci_function *f, unsigned off, unsigned size); // may be NULL
	void *opaque;
};

struct pci_host {
	struct dev dev;
	uint32_t address;
	uint8_t reset_control;
	struct pci_function *functions[PCI_FUNCTIONS_MAX];
	unsigned nfunctions;
	void (*reset)(void *opaque); // 0xcf9
	void *opaque;
};

extern const struct dev_class pci_host_class;

void pci_host_add(struct pci_host *c, struct pci_function *f);

// Fill in a function's identity and the writable bits of the standard header (type 0), all BARs absent.
struct pci_identity {
	uint8_t devfn;
	uint16_t vendor, device;
	uint8_t revision;
	uint32_t class_code; // 24 bits
	uint8_t header_type;
	uint8_t interrupt_pin;
	uint16_t subsystem_vendor, subsystem;
};
void pci_function_init(struct pci_function *f, const struct pci_identity *id);
void pci_set(struct pci_function *f, unsigned off, unsigned size, uint32_t value);
uint32_t pci_get(const struct pci_function *f, unsigned off, unsigned size);

#endif
