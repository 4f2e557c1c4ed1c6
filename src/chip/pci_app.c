// SPDX-License-Identifier: MIT
//
// Configuration space, MSI-X, INTx and doorbells of functions whose device is in the app (PCI Local Bus Specification,
// "MSI-X Capability and Table Structures"; Virtio 1.x, "Virtio Over PCI Bus"). An interrupt that the app wants is a bit
// in shared memory; whether it is a message, waits masked, or raises the line is decided here, whenever one of these
// has changed. A doorbell sets a bit and wakes the app if it sleeps. Only the device's own registers are world
// switches.
#include "chip/pci_app.h"

#include <stdatomic.h>

#include "base/string.h"
#include "chip/pcie_port.h"

enum { MSIX_CONTROL = 2, MSIX_ENABLE = BIT(15), MSIX_MASK_ALL = BIT(14), VECTOR_MASKED = BIT(0), VECTOR_SIZE = 16 };
// The capability for window access (VIRTIO_PCI_CAP_PCI_CFG): its own fields for BAR, offset, length; then the data.
enum { ACCESS_BAR = 4, ACCESS_OFFSET = 8, ACCESS_LENGTH = 12, ACCESS_DATA = 16 };

static bool msix_enabled(const struct pci_app_function *c)
{
	return c->app->msix && (pci_get(&c->pci, c->app->msix + MSIX_CONTROL, 2) & MSIX_ENABLE);
}

static uint64_t vectors_unmasked(const struct pci_app_function *c)
{
	uint64_t open = 0;

	if (pci_get(&c->pci, c->app->msix + MSIX_CONTROL, 2) & MSIX_MASK_ALL)
		return 0;
	for (unsigned i = 0; i < c->app->vectors_count; i++)
		if (!(c->vector[i].control & VECTOR_MASKED))
			open |= BIT64(i);
	return open;
}

static void send_messages(struct pci_app_function *c)
{
	uint64_t open = vectors_unmasked(c), ready;

	if (!(pci_get(&c->pci, PCI_COMMAND, 2) & PCI_COMMAND_MASTER) ||
	    (c->pci.port && !(pci_get(&c->pci.port->pci, PCI_COMMAND, 2) & PCI_COMMAND_MASTER)))
		return;
	ready = atomic_fetch_and(&c->app->vectors, ~open) & open;
	for (unsigned i = 0; ready; i++, ready >>= 1) {
		if (!(ready & 1))
			continue;
		c->app->stat_interrupts++;
		if (c->hooks->message)
			c->hooks->message(c->hooks->opaque, c->vector[i].address, c->vector[i].data);
	}
}

static void update_line(struct pci_app_function *c, bool wanted)
{
	bool line = wanted && !(pci_get(&c->pci, PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF);
	uint32_t status = pci_get(&c->pci, PCI_STATUS, 1) & ~PCI_STATUS_INTERRUPT;

	pci_set(&c->pci, PCI_STATUS, 1, status | (wanted ? PCI_STATUS_INTERRUPT : 0));
	pci_app_set_line(c->app, c->hooks, &c->line, line);
}

void pci_app_serve(struct pci_app_function *c)
{
	bool msix = msix_enabled(c);

	if (msix)
		send_messages(c);
	update_line(c, !msix && c->app->isr);
}

// -- the window

static void kick(struct pci_app_function *c, unsigned queue)
{
	if (queue >= PCI_APP_QUEUES)
		return;
	atomic_fetch_or(&c->app->kicks, BIT64(queue));
	c->app->stat_kicks++;
	if (c->hooks->kick)
		c->hooks->kick(c->hooks->opaque, c->index);
}

static uint64_t isr_read(struct pci_app_function *c)
{
	uint32_t was = atomic_exchange(&c->app->isr, 0);

	pci_app_serve(c);
	return was;
}

static uint64_t msix_read(const struct pci_app_function *c, uint32_t off, unsigned size)
{
	uint64_t value = 0;

	if (off / VECTOR_SIZE < c->app->vectors_count)
		memcpy(&value, (const char *)c->vector + off, MIN(size, sizeof(c->vector) - off));
	return value;
}

static void msix_write(struct pci_app_function *c, uint32_t off, unsigned size, uint64_t value)
{
	if (off / VECTOR_SIZE >= c->app->vectors_count || size < 4 || off % size)
		return; // the table is written in words or double words
	memcpy((char *)c->vector + off, &value, size);
	pci_app_serve(c);
}

static uint64_t app_access(struct pci_app_function *c, bool write, uint32_t off, unsigned size, uint64_t value)
{
	c->app->stat_switches++;
	if (!c->hooks->access)
		return 0;
	return c->hooks->access(c->hooks->opaque, write, pci_app_address(c->index, off), size, value);
}

static uint64_t window_read(struct pci_app_function *c, uint32_t off, unsigned size)
{
	uint64_t pending = c->app->vectors;

	switch (off & ~(uint32_t)(PCI_APP_REGION - 1)) {
	case PCI_APP_COMMON:
	case PCI_APP_DEVICE:
		return app_access(c, false, off, size, 0);
	case PCI_APP_ISR:
		c->app->stat_local++;
		return off == PCI_APP_ISR ? isr_read(c) : 0;
	case PCI_APP_MSIX:
		c->app->stat_local++;
		return msix_read(c, off - PCI_APP_MSIX, size);
	case PCI_APP_PBA:
		c->app->stat_local++;
		return off - PCI_APP_PBA < sizeof(pending) ? pending >> (8 * (off - PCI_APP_PBA)) : 0;
	}
	return 0;
}

static void window_write(struct pci_app_function *c, uint32_t off, unsigned size, uint64_t value)
{
	switch (off & ~(uint32_t)(PCI_APP_REGION - 1)) {
	case PCI_APP_COMMON:
	case PCI_APP_DEVICE:
		app_access(c, true, off, size, value);
		break;
	case PCI_APP_NOTIFY:
		c->app->stat_local++;
		kick(c, (off - PCI_APP_NOTIFY) / PCI_APP_NOTIFY_STRIDE);
		break;
	case PCI_APP_MSIX:
		c->app->stat_local++;
		msix_write(c, off - PCI_APP_MSIX, size, value);
		break;
	}
}

static uint64_t pci_app_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	return window_read((struct pci_app_function *)d, off, size);
}

static void pci_app_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	window_write((struct pci_app_function *)d, off, size, value);
}

// -- configuration space

// Does an access meet the data of the capability for window access, and do its fields name a piece of the window?
static bool accesses_window(const struct pci_app_function *c, unsigned off, unsigned size, uint32_t *at, uint32_t *len)
{
	unsigned cap = c->app->window_access;

	if (!cap || off >= cap + ACCESS_DATA + 4 || off + size <= cap + ACCESS_DATA)
		return false;
	*at = pci_get(&c->pci, cap + ACCESS_OFFSET, 4);
	*len = pci_get(&c->pci, cap + ACCESS_LENGTH, 4);
	return pci_get(&c->pci, cap + ACCESS_BAR, 1) == 0 && (*len == 1 || *len == 2 || *len == 4) && !(*at % *len) &&
	       *at < PCI_APP_WINDOW;
}

static void config_reading(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	struct pci_app_function *c = opaque;
	uint32_t at, len;

	if (accesses_window(c, off, size, &at, &len))
		pci_set(f, c->app->window_access + ACCESS_DATA, len, (uint32_t)window_read(c, at, len));
}

static void config_written(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	struct pci_app_function *c = opaque;
	uint32_t at, len;

	if (accesses_window(c, off, size, &at, &len))
		window_write(c, at, len, pci_get(f, c->app->window_access + ACCESS_DATA, len));
	pci_app_serve(c); // the command register, MSI-X control
}

static void set_config(struct pci_app_function *c)
{
	const struct pci_app *a = c->app;
	struct pci_function *f = &c->pci;
	const struct pci_identity id = {a->devfn, a->vendor, a->device, a->revision, a->class_code, 0, 1,
		a->subsystem_vendor, a->subsystem};
	const struct pci_bar window = {BUS_MMIO, PCI_APP_WINDOW, &c->dev, 0, 0};
	struct pci_host *host = f->host;
	const struct pcie_port *port = f->port;

	pci_function_init(f, &id);
	f->host = host;
	f->port = port;
	f->written = config_written;
	f->reading = config_reading;
	f->opaque = c;
	pci_function_bar(f, 0, &window, port ? 0 : PCI_APP_FIRST + c->index * PCI_APP_WINDOW);
	memcpy(f->config + PCI_DEVICE_SPECIFIC, a->config + PCI_DEVICE_SPECIFIC, PCI_APP_CONFIG - PCI_DEVICE_SPECIFIC);
	memcpy(f->writable + PCI_DEVICE_SPECIFIC, a->writable + PCI_DEVICE_SPECIFIC, PCI_APP_CONFIG - PCI_DEVICE_SPECIFIC);
	pci_set(f, PCI_INTERRUPT_LINE, 1, pci_function_line(f));
	pci_set(f, PCI_CAPABILITIES, 1, a->capabilities);
	pci_set(f, PCI_STATUS, 1, a->capabilities ? PCI_STATUS_CAPABILITIES : 0);
}

void pci_app_reset(struct pci_app_function *c)
{
	pci_function_unmap(&c->pci);
	set_config(c);
	for (unsigned i = 0; i < PCI_APP_VECTORS; i++)
		c->vector[i] = (struct pci_app_msix){.control = VECTOR_MASKED};
	c->app->isr = 0;
	c->app->vectors = 0;
	update_line(c, false);
}

void pci_app_add(struct pci_app_function *c, unsigned index, struct pci_app *app, struct pci_host *host,
		 const struct pci_app_hooks *hooks)
{
	c->index = index;
	c->app = app;
	c->hooks = hooks;
	pci_host_add(host, &c->pci);
	pci_app_reset(c);
}

static void nothing(struct dev *d)
{
}

const struct dev_class pci_app_class = {"pci_app", sizeof(struct pci_app_function), 8, NULL, nothing, pci_app_read,
	pci_app_write};
