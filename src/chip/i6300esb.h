// SPDX-License-Identifier: MIT
//
// The watchdog of Intel's 6300ESB, as a PCI function: a guest that does not say in time that it lives is reset. See
// chip/i6300esb.c.
#ifndef CHIP_I6300ESB_H
#define CHIP_I6300ESB_H

#include "chip/pci_host.h"

struct i6300esb {
	struct dev dev;
	struct pci_function pci;
	struct timer timer;
	uint32_t preload[2]; // of each stage, 20 bits
	uint8_t stage;       // that runs; the second one's end is the reset
	uint8_t unlock;      // how much of the word before a write has been said
	bool locked, enabled, free_run, no_reboot, fast, timed_out;
	void (*bite)(void *opaque);
	void *opaque;
};

extern const struct dev_class i6300esb_class;

// Put the function on the host's bus; dev must have been initialised with i6300esb_class, bite set.
void i6300esb_add(struct i6300esb *c, struct pci_host *host);

#endif
