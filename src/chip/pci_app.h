// SPDX-License-Identifier: MIT
//
// The monitor's half of PCI functions whose device is in the app: see bus/pci_app.h and chip/pci_app.c.
#ifndef CHIP_PCI_APP_H
#define CHIP_PCI_APP_H

#include "bus/pci_app.h"
#include "chip/pci_host.h"

enum { PCI_APP_FIRST = 0xfe000000 }; // where reset puts the first window, as firmware would; the rest follow

// What a function asks of the board. Each is called with opaque; each may be NULL.
struct pci_app_hooks {
	void *opaque;
	// The app's registers: a world switch.
	uint64_t (*access)(void *opaque, bool write, uint64_t address, unsigned size, uint64_t value);
	void (*kick)(void *opaque, unsigned function);
	void (*message)(void *opaque, uint64_t address, uint32_t data); // an MSI write
	void (*line_changed)(void *lines_opaque);                       // INTx: look at `line` of all functions
	void *lines_opaque;
};

// The function's line goes to this level: *line is where it was. Used by mmio_app.c too.
static inline void pci_app_set_line(struct pci_app *app, const struct pci_app_hooks *hooks, bool *line, bool level)
{
	if (level == *line)
		return;
	*line = level;
	app->stat_interrupts += level;
	if (hooks->line_changed)
		hooks->line_changed(hooks->lines_opaque);
}

struct pci_app_msix {
	uint64_t address;
	uint32_t data, control; // bit 0: masked
};

struct pci_app_function {
	struct dev dev;
	struct pci_function pci;
	unsigned index;
	struct pci_app *app; // in struct shared
	const struct pci_app_hooks *hooks;
	struct pci_app_msix vector[PCI_APP_VECTORS];
	bool line;
};

extern const struct dev_class pci_app_class;

// Put the function that app describes on the host's bus; dev must have been initialised with pci_app_class.
void pci_app_add(struct pci_app_function *c, unsigned index, struct pci_app *app, struct pci_host *host,
		 const struct pci_app_hooks *hooks);
void pci_app_reset(struct pci_app_function *c);

// The app has set bits in vectors or isr.
void pci_app_serve(struct pci_app_function *c);

#endif
