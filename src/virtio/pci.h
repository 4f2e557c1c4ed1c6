// SPDX-License-Identifier: MIT
//
// Virtio over PCI, the modern transport. See virtio/pci.c; the monitor's half is chip/pci_app.c.
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "bus/pci_app.h"
#include "virtio/virtio.h"

struct virtio_pci {
	struct virtio_device *device;
	struct pci_app *app;            // in struct shared
	unsigned index;
	// The function has new bits in vectors or isr: to pci_events, and wake the vCPU.
	void (*raise)(void *opaque, unsigned index);
	void *opaque;
};

// Describe d as PCI function `index` at devfn (of root port `port` - 1, if that is not 0), with so many MSI-X messages
// at most: before the monitor starts. raise and opaque are set by the caller.
void virtio_pci_init(struct virtio_pci *p, struct virtio_device *d, struct pci_app *app, unsigned index, uint8_t devfn,
		     unsigned port, unsigned vectors);

// The monitor's requests, and what the doorbell's thread calls (machine/doorbell.c).
uint64_t virtio_pci_read(struct virtio_pci *p, uint32_t off, unsigned size);
void virtio_pci_write(struct virtio_pci *p, uint32_t off, unsigned size, uint64_t value);
void virtio_pci_kicked(struct virtio_pci *p);

#endif
