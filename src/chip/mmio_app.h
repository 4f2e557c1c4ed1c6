// SPDX-License-Identifier: MIT
//
// The monitor's half of virtio-mmio devices whose device is in the app. See chip/mmio_app.c.
#ifndef CHIP_MMIO_APP_H
#define CHIP_MMIO_APP_H

#include "chip/pci_app.h"

struct mmio_app {
	struct dev dev;
	unsigned index;
	struct pci_app *app; // in struct shared; NULL: there is none
	const struct pci_app_hooks *hooks;
	bool line;
};

extern const struct dev_class mmio_app_class;

// Put the device that app describes on the bus; dev must have been initialised with mmio_app_class.
int mmio_app_add(struct mmio_app *c, unsigned index, struct pci_app *app, const struct pci_app_hooks *hooks);
void mmio_app_reset(struct mmio_app *c);

// The app has set bits in isr.
void mmio_app_serve(struct mmio_app *c);

#endif
