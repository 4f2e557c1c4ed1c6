// SPDX-License-Identifier: MIT
//
// virtio-rng: the host's random numbers. See virtio/rng.c.
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "virtio/virtio.h"

struct virtio_rng {
	struct virtio_device dev;
};

void virtio_rng_init(struct virtio_rng *r, const struct mem *mem);

#endif
