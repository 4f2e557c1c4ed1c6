// SPDX-License-Identifier: MIT
//
// Registers of virtio-mmio devices (Virtio 1.x, "MMIO Device Register Layout") that need no answer of the app's: the
// doorbell, and the interrupt's status and acknowledgement. All others are world switches, as they are in set-up only.
#include "chip/mmio_app.h"

#include <stdatomic.h>

enum { NOTIFY = 0x50, INTERRUPT_STATUS = 0x60, INTERRUPT_ACK = 0x64 };

void mmio_app_serve(struct mmio_app *c)
{
	pci_app_set_line(c->app, c->hooks, &c->line, c->app->isr != 0);
}

static uint64_t app_access(struct mmio_app *c, bool write, uint64_t off, unsigned size, uint64_t value)
{
	c->app->stat_switches++;
	if (!c->hooks->access)
		return 0;
	return c->hooks->access(c->hooks->opaque, write, pci_app_address(c->index, (uint32_t)off), size, value);
}

static uint64_t mmio_app_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct mmio_app *c = (struct mmio_app *)d;

	if (off != INTERRUPT_STATUS)
		return app_access(c, false, off, size, 0);
	c->app->stat_local++;
	return c->app->isr;
}

static void mmio_app_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct mmio_app *c = (struct mmio_app *)d;

	if (off == NOTIFY && value < PCI_APP_QUEUES) {
		c->app->stat_local++;
		c->app->stat_kicks++;
		atomic_fetch_or(&c->app->kicks, BIT64(value));
		if (c->hooks->kick)
			c->hooks->kick(c->hooks->opaque, c->index);
	} else if (off == INTERRUPT_ACK) {
		c->app->stat_local++;
		atomic_fetch_and(&c->app->isr, ~(uint32_t)value);
		mmio_app_serve(c);
	} else {
		app_access(c, true, off, size, value);
	}
}

void mmio_app_reset(struct mmio_app *c)
{
	c->app->isr = 0;
	mmio_app_serve(c);
}

int mmio_app_add(struct mmio_app *c, unsigned index, struct pci_app *app, const struct pci_app_hooks *hooks)
{
	c->index = index;
	c->app = app;
	c->hooks = hooks;
	return bus_add(c->dev.bus, BUS_MMIO, app->mmio, VIRTIO_MMIO_SIZE, &c->dev, 0);
}

static void nothing(struct dev *d)
{
}

const struct dev_class mmio_app_class = {"mmio_app", sizeof(struct mmio_app), 8, NULL, nothing, mmio_app_read,
	mmio_app_write};
