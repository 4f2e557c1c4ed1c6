// SPDX-License-Identifier: MIT
//
// The q35 chip set's own PCI functions: 00:00.0 host bridge, 00:1f.0 ICH9 LPC bridge; and configuration space in memory
// (ECAM). See chip/q35.c.
#ifndef CHIP_Q35_H
#define CHIP_Q35_H

#include "chip/pci_host.h"

struct q35 {
	struct dev dev; // ECAM
	struct pci_host *host;
	struct pci_function host_bridge, lpc;
	uint32_t ecam; // after a reset
	void (*pm_moved)(void *opaque, uint16_t base); // as i440fx.pm_moved
	void *opaque;
};

extern const struct dev_class q35_class;

// dev must have been initialised with q35_class.
void q35_init(struct q35 *c, struct pci_host *host);
void q35_reset(struct q35 *c);

#endif
