// SPDX-License-Identifier: MIT
//
// virtio-blk: a disk. See virtio/blk.c.
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "io/block.h"
#include "virtio/virtio.h"

enum { VIRTIO_BLK_SERIAL = 20 };

struct virtio_blk_config {
	char serial[VIRTIO_BLK_SERIAL + 1];
	unsigned queues;      // 0: one
	unsigned queue_size;  // 0: the usual
	unsigned block_size;  // logical, 0: 512
	unsigned physical_size; // 0: as the logical
	bool write_cache;     // the guest is told to flush
};

struct virtio_blk;

// Make a disk of an open image, which belongs to it from then on. NULL: out of memory.
struct virtio_device *virtio_blk_create(struct block *image, const struct virtio_blk_config *c, const struct mem *mem);
struct block *virtio_blk_image(struct virtio_device *d);

#endif
