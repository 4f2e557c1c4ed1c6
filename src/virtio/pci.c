// SPDX-License-Identifier: MIT
//
// Virtio over PCI (Virtio 1.x, "Virtio Over PCI Bus"), without the legacy interface: identity, capabilities, and the
// way of an interrupt. The registers are in one BAR, whose layout is bus/pci_app.h's. Queues and configuration have an
// MSI-X message each, as far as there are.
#include "virtio/pci.h"

#include <stdatomic.h>
#include <string.h>

enum { VENDOR = 0x1af4, DEVICE_BASE = 0x1040, SUBSYSTEM = 0x1100, CAP_VENDOR = 0x09, CAP_MSIX = 0x11,
	CAP_EXPRESS = 0x10, EXPRESS_SIZE = 0x3c, CAPS_AT = 0x40 };
enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4, CFG_PCI = 5 };
enum { MSIX_CONTROL_HIGH = 3, MSIX_WRITABLE = 0xc0 /* enable, mask all */ };

struct cap_writer {
	struct pci_app *app;
	unsigned at;
	uint8_t *link; // where the next capability's offset belongs
};

static uint8_t *put_cap(struct cap_writer *w, uint8_t id, uint8_t len)
{
	uint8_t *cap = w->app->config + w->at;

	*w->link = w->at;
	w->link = &cap[1];
	cap[0] = id;
	w->at = (w->at + len + 3) & ~3u;
	return cap;
}

static uint8_t *put_virtio_cap(struct cap_writer *w, uint8_t type, uint8_t len, uint32_t off, uint32_t size)
{
	uint8_t *cap = put_cap(w, CAP_VENDOR, len);

	cap[2] = len;
	cap[3] = type;
	memcpy(cap + 8, &off, 4);
	memcpy(cap + 12, &size, 4);
	return cap;
}

static void put_msix(struct cap_writer *w)
{
	const uint32_t table = PCI_APP_MSIX, pending = PCI_APP_PBA; // both in BAR 0
	uint8_t *cap;

	w->app->msix = w->at;
	cap = put_cap(w, CAP_MSIX, 12);
	cap[2] = w->app->vectors_count - 1;
	memcpy(cap + 4, &table, 4);
	memcpy(cap + 8, &pending, 4);
	w->app->writable[w->app->msix + MSIX_CONTROL_HIGH] = MSIX_WRITABLE;
}

static void put_window_access(struct cap_writer *w)
{
	unsigned at = w->at;

	w->app->window_access = at;
	put_virtio_cap(w, CFG_PCI, 20, 0, 0);
	w->app->writable[at + 4] = 0xff; // BAR
	memset(w->app->writable + at + 8, 0xff, 12); // offset, length, data
}

// Of an endpoint behind a root port (PCI Express Base Specification, "PCI Express Capability Structure").
static void put_express(struct cap_writer *w)
{
	uint8_t *cap = put_cap(w, CAP_EXPRESS, EXPRESS_SIZE);
	unsigned at = (unsigned)(cap - w->app->config);

	cap[2] = 2;                   // version 2, an endpoint
	cap[5] = 0x80;                // errors by their role
	cap[12] = cap[18] = 0x11;     // 2.5 GT/s, one lane: what it can, and does
	cap[0x2c] = 2;
	cap[0x30] = 1;
	w->app->writable[at + 8] = 0xff;
	w->app->writable[at + 9] = 0x7f;
	w->app->writable[at + 16] = 0xdb;
}

static void put_capabilities(struct virtio_device *d, struct pci_app *app)
{
	struct cap_writer w = {app, CAPS_AT, &app->capabilities};
	const uint32_t stride = PCI_APP_NOTIFY_STRIDE;

	if (app->vectors_count)
		put_msix(&w);
	put_virtio_cap(&w, CFG_COMMON, 16, PCI_APP_COMMON, PCI_APP_REGION);
	put_virtio_cap(&w, CFG_ISR, 16, PCI_APP_ISR, PCI_APP_REGION);
	if (d->config_size)
		put_virtio_cap(&w, CFG_DEVICE, 16, PCI_APP_DEVICE, PCI_APP_REGION);
	memcpy(put_virtio_cap(&w, CFG_NOTIFY, 20, PCI_APP_NOTIFY, PCI_APP_REGION) + 16, &stride, 4);
	put_window_access(&w);
	if (app->port)
		put_express(&w);
}

static void pci_interrupt(struct virtio_device *d, uint16_t vector, enum virtio_isr isr)
{
	struct virtio_pci *p = d->transport;

	if (vector < p->app->vectors_count)
		atomic_fetch_or(&p->app->vectors, BIT64(vector));
	atomic_fetch_or(&p->app->isr, isr);
	p->raise(p->opaque, p->index);
}

static void pci_clear_interrupts(struct virtio_device *d)
{
	struct virtio_pci *p = d->transport;

	atomic_store(&p->app->vectors, 0);
	atomic_store(&p->app->isr, 0);
	p->raise(p->opaque, p->index);
}

void virtio_pci_init(struct virtio_pci *p, struct virtio_device *d, struct pci_app *app, unsigned index, uint8_t devfn,
		     unsigned port, unsigned vectors)
{
	p->device = d;
	p->app = app;
	p->index = index;
	memset(app, 0, sizeof(*app));
	app->present = true;
	app->devfn = devfn;
	app->port = (uint8_t)port;
	app->vendor = app->subsystem_vendor = VENDOR;
	app->device = DEVICE_BASE + d->class->id;
	app->subsystem = SUBSYSTEM;
	app->revision = 1;
	app->class_code = d->class->pci_class;
	app->vectors_count = MIN(MIN(d->nqueues + 1, vectors), (unsigned)PCI_APP_VECTORS);
	strncpy(app->name, d->class->name, sizeof(app->name) - 1);
	put_capabilities(d, app);
	d->vectors = app->vectors_count;
	d->interrupt = pci_interrupt;
	d->clear_interrupts = pci_clear_interrupts;
	d->transport = p;
}

uint64_t virtio_pci_read(struct virtio_pci *p, uint32_t off, unsigned size)
{
	if (off < PCI_APP_COMMON + PCI_APP_REGION)
		return virtio_common_read(p->device, off, size);
	if (off - PCI_APP_DEVICE < PCI_APP_REGION)
		return virtio_config_read(p->device, off - PCI_APP_DEVICE, size);
	return 0;
}

void virtio_pci_write(struct virtio_pci *p, uint32_t off, unsigned size, uint64_t value)
{
	if (off < PCI_APP_COMMON + PCI_APP_REGION)
		virtio_common_write(p->device, off, size, value);
	else if (off - PCI_APP_DEVICE < PCI_APP_REGION)
		virtio_config_write(p->device, off - PCI_APP_DEVICE, size, value);
}

void virtio_pci_kicked(struct virtio_pci *p)
{
	virtio_kick(p->device, atomic_exchange(&p->app->kicks, 0));
}
