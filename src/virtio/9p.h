// SPDX-License-Identifier: MIT
//
// virtio-9p: a shared folder (p9/p9.h) with a mount tag. See virtio/9p.c.
#ifndef VIRTIO_9P_H
#define VIRTIO_9P_H

#include "p9/p9.h"
#include "virtio/virtio.h"

struct virtio_9p_space { // configuration space
	uint16_t tag_size;
	char tag[P9_TAG_MAX + 1];
};

struct virtio_9p {
	struct virtio_device dev;
	struct p9 *server;
	struct virtio_9p_space space;
	bool busy;           // the server is asked by somebody
	pthread_cond_t idle; // no more; with dev.lock
	uint8_t *request, *reply;
	struct iovec iov[VIRTQ_SEGMENTS_MAX];
};

// server is the device's from now on. 0 or a negative errno.
int virtio_9p_init(struct virtio_9p *v, const struct mem *mem, struct p9 *server, const char *tag);

#endif
