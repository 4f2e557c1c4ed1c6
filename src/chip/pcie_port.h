// SPDX-License-Identifier: MIT
//
// A root port of PCI Express, behind which there is a bus with one place for a device that may come and go (PCI Express
// Base Specification, "Type 1 Configuration Space Header", "PCI Express Capability Structure", "PCI Express Hot-Plug
// Support"). See chip/pcie_port.c.
#ifndef CHIP_PCIE_PORT_H
#define CHIP_PCIE_PORT_H

#include "bus/pci_app.h"
#include "chip/pci_host.h"

struct pcie_port {
	struct pci_function pci;
	struct pcie_port_place place;
	bool occupied;   // there is a device in the slot
	bool asked;      // the operator's button has been pressed: when the guest takes the power away the device goes
	bool line;       // INTx
	void (*line_changed)(void *opaque);
	void (*powered_off)(void *opaque, struct pcie_port *p, bool asked); // the guest has
	void *opaque;
};

// p->place, and the callbacks, have been set.
void pcie_port_add(struct pcie_port *p, struct pci_host *host);
void pcie_port_reset(struct pcie_port *p);

// A device has come, which the guest hears of; an operator wants it to go; it has gone.
void pcie_port_plugged(struct pcie_port *p);
void pcie_port_press(struct pcie_port *p);
void pcie_port_emptied(struct pcie_port *p);

// What passes to the other side: configuration accesses to this bus, memory accesses to this range.
bool pcie_port_leads_to(const struct pcie_port *p, unsigned bus);
bool pcie_port_passes(const struct pcie_port *p, bool memory, uint32_t at, uint32_t size);

#endif
