// SPDX-License-Identifier: MIT
//
// virtio-9p: one queue of requests, each a chain with the message and room for its answer. They are answered where the
// kick is heard, one after another; the server is asked by one thread at a time (busy), without the lock. A reset waits
// for the one that is under way.
#include "virtio/9p.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURE_MOUNT_TAG = 0, REQUEST_ROOM = P9_MSIZE_MAX };

// One request, popped. The lock is held, but for the time that the server takes.
static void answer(struct virtio_9p *v, struct virtio_chain *c)
{
	size_t size = virtio_chain_read(c, 0, v->request, REQUEST_ROOM);
	size_t room = MIN(c->write_size, (uint64_t)P9_MSIZE_MAX), n;

	v->busy = true;
	pthread_mutex_unlock(&v->dev.lock);
	n = p9_handle(v->server, v->request, size, v->reply, room);
	pthread_mutex_lock(&v->dev.lock);
	v->busy = false;
	pthread_cond_broadcast(&v->idle);
	if (!virtio_running(&v->dev))
		return; // a reset waits for us, or the device has failed
	if (!n) {
		virtio_fail(&v->dev, "a request that is no message, or has no room for its answer");
		return;
	}
	virtio_chain_write(c, 0, v->reply, n);
	virtq_push(&v->dev.queue[0], c->head, (uint32_t)n);
	virtq_signal(&v->dev.queue[0]);
}

static void p9_kick(struct virtio_device *d, unsigned q)
{
	struct virtio_9p *v = container_of(d, struct virtio_9p, dev);

	while (!v->busy) { // whoever is at work looks again
		struct virtio_chain c = {.iov = v->iov, .room = VIRTQ_SEGMENTS_MAX};

		if (!virtq_pop(&d->queue[0], &c))
			return;
		answer(v, &c);
	}
}

static void p9_reset_device(struct virtio_device *d)
{
	struct virtio_9p *v = container_of(d, struct virtio_9p, dev);

	while (v->busy)
		pthread_cond_wait(&v->idle, &d->lock);
	p9_reset(v->server);
}

static void p9_destroy(struct virtio_device *d)
{
	struct virtio_9p *v = container_of(d, struct virtio_9p, dev);

	p9_close(v->server);
	pthread_cond_destroy(&v->idle);
	free(v->request);
	free(v->reply);
}

static const struct virtio_class p9_class = {
	.name = "virtio-9p", .id = VIRTIO_ID_9P, .pci_class = 0x00ff00, .in_order = true, .kick = p9_kick,
	.reset = p9_reset_device, .destroy = p9_destroy,
};

int virtio_9p_init(struct virtio_9p *v, const struct mem *mem, struct p9 *server, const char *tag)
{
	virtio_init(&v->dev, &p9_class, mem, 1);
	v->dev.offered |= BIT64(FEATURE_MOUNT_TAG);
	v->server = server;
	v->space.tag_size = (uint16_t)strlen(tag);
	memcpy(v->space.tag, tag, v->space.tag_size);
	v->dev.config = &v->space;
	v->dev.config_size = sizeof(v->space.tag_size) + v->space.tag_size;
	pthread_cond_init(&v->idle, NULL);
	v->request = malloc(REQUEST_ROOM);
	v->reply = malloc(P9_MSIZE_MAX);
	return v->request && v->reply ? 0 : -ENOMEM;
}
