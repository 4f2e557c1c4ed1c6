// SPDX-License-Identifier: MIT
//
// Virtqueues, split and packed (Virtio 1.x, "Virtqueues"), with indirect descriptors and event index. A queue's
// three parts are checked once, when the driver enables it: aligned, and whole in guest RAM. Each descriptor is
// copied before it is looked at, and each chain is followed for a bounded number of steps, so that a guest which
// changes its rings meanwhile can only harm itself. virtq_pop hands out chains in the driver's order; they may be
// pushed back in any.
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <sys/uio.h>

#include "mem/mem.h"

enum { VIRTQ_SIZE_MAX = 1024, VIRTQ_SEGMENTS_MAX = 1024 };

struct virtio_device;
struct virtq_layout;

struct virtq {
	struct virtio_device *dev;
	unsigned index;
	uint16_t size_max, size;     // entries: at most, as the driver has chosen; a power of two if split
	uint16_t vector;
	bool enabled;
	const struct virtq_layout *layout; // split or packed; valid while enabled
	gpa_t desc, avail, used;     // as the driver has written them
	uint8_t *desc_host, *avail_host, *used_host; // valid while enabled
	// Both layouts have these; packed ones keep a wrap counter in bit 15 of the first two.
	uint16_t next_avail;         // the next entry of the available ring to take
	uint16_t next_used;          // the next entry of the used ring to fill
	uint16_t signalled;          // next_used when the driver was interrupted last
	bool signalled_valid;
	unsigned out;                // entries popped and not yet pushed; never more than size
};

// One buffer of the driver: first the segments that the device reads, then those that it writes. All of them are
// guest RAM, and none is empty. The memory belongs to the guest and may change at any time: read a thing once.
struct virtio_chain {
	uint32_t head;               // names it: virtq_push wants it back
	unsigned readable, writable; // numbers of segments
	uint64_t read_size, write_size; // bytes in them
	unsigned room;               // set by the caller before virtq_pop: how many segments iov has
	struct iovec *iov;           // set by the caller: readable ones first
	struct virtio_device *dev;   // whose it is
};

// Take the next chain. False: there is none (the driver will kick when there is), or the device has failed. A chain
// with more segments than there is room for is a failure. With the device's lock held, as all of these.
bool virtq_pop(struct virtq *q, struct virtio_chain *c);

// Are there chains to be taken? Without taking one, and without asking to be kicked.
bool virtq_has(const struct virtq *q);

// Put back the last chain that was popped, as if it had not been; then, with its head, the one before, and so on.
void virtq_unpop(struct virtq *q, uint32_t head);

// Give a chain back, with the number of bytes that were written to it. Does nothing if the queue was reset meanwhile.
void virtq_push(struct virtq *q, uint32_t head, uint32_t written);

// The same for several chains, which the driver sees all at once.
void virtq_push_all(struct virtq *q, unsigned count, const uint32_t *heads, const uint32_t *written);

// After one or several pushes: interrupt the driver, if it wants to be.
void virtq_signal(struct virtq *q);

// Copy between a chain and a buffer, from byte `at` of its readable or writable part; returns how many there were.
size_t virtio_chain_read(const struct virtio_chain *c, uint64_t at, void *to, size_t size);
size_t virtio_chain_write(const struct virtio_chain *c, uint64_t at, const void *from, size_t size);

// Guest RAM has been written by other means than virtio_chain_write: say so before the chain goes back. Code that the
// guest ran from there meanwhile is void.
void virtio_wrote(const struct virtio_device *d, const struct iovec *iov, unsigned n);

// The segments of size bytes from `at` of one of its parts: into out[n]; returns how many.
unsigned virtio_chain_slice(const struct virtio_chain *c, bool writable, uint64_t at, uint64_t size, struct iovec *out,
			    unsigned n);

// For the core: the driver enables the queue. False: its rings are not as they must be.
bool virtq_enable(struct virtq *q);
void virtq_reset(struct virtq *q);

#endif
