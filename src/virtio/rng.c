// SPDX-License-Identifier: MIT
//
// virtio-rng (Virtio 1.x, "Entropy Device"): one queue of buffers to fill. The kernel's generator never blocks once the
// host has booted, so a buffer is filled at once; one that asks for more than RNG_BYTES_MAX gets that much, as it may.
#include "virtio/rng.h"

#include <sys/random.h>

enum { RNG_SEGMENTS = 16, RNG_BYTES_MAX = 4096, RNG_PIECE = 256 };

// getrandom gives up to 256 bytes whole and without interruption.
static uint32_t fill(struct virtio_chain *c)
{
	uint32_t done = 0, want = MIN(c->write_size, (uint64_t)RNG_BYTES_MAX);
	uint8_t piece[RNG_PIECE];

	while (done < want) {
		uint32_t n = MIN(want - done, (uint32_t)RNG_PIECE);

		if (getrandom(piece, n, 0) != (ssize_t)n)
			break;
		done += virtio_chain_write(c, done, piece, n);
	}
	return done;
}

static void rng_kick(struct virtio_device *d, unsigned q)
{
	struct iovec iov[RNG_SEGMENTS];
	struct virtio_chain c = {.iov = iov, .room = RNG_SEGMENTS};

	while (virtq_pop(&d->queue[q], &c))
		virtq_push(&d->queue[q], c.head, fill(&c));
	virtq_signal(&d->queue[q]);
}

static const struct virtio_class rng_class = {
	.name = "virtio-rng", .id = VIRTIO_ID_RNG, .pci_class = 0x00ff00, .in_order = true, .kick = rng_kick,
};

void virtio_rng_init(struct virtio_rng *r, const struct mem *mem)
{
	virtio_init(&r->dev, &rng_class, mem, 1);
}
