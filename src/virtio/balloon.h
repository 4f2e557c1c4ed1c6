// SPDX-License-Identifier: MIT
//
// virtio-balloon: guest memory that the guest does not need goes back to the host. See virtio/balloon.c.
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include "virtio/virtio.h"

struct virtio_balloon_config {
	bool reporting;      // free-page-reporting=on
	bool deflate_on_oom;
};

struct virtio_balloon {
	struct virtio_device dev;
	struct {
		uint32_t wanted, actual; // pages of 4 KiB
	} space;
};

void virtio_balloon_init(struct virtio_balloon *b, const struct virtio_balloon_config *c, const struct mem *mem);

#endif
