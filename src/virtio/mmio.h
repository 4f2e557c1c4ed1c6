// SPDX-License-Identifier: MIT
//
// Virtio over MMIO, version 2. See virtio/mmio.c; the monitor's half is chip/mmio_app.c.
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "virtio/pci.h"

// Describe d as the virtio-mmio device `index`, the place-th of them: before the monitor starts. raise and opaque are
// set by the caller.
void virtio_mmio_init(struct virtio_pci *p, struct virtio_device *d, struct pci_app *app, unsigned index,
		      unsigned place);

// The monitor's requests.
uint64_t virtio_mmio_read(struct virtio_pci *p, uint32_t off, unsigned size);
void virtio_mmio_write(struct virtio_pci *p, uint32_t off, unsigned size, uint64_t value);

#endif
