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

enum { BALLOON_STATISTICS = 10 };
struct balloon_statistics { // by the driver's tags; UINT64_MAX: it has not said
	uint64_t value[BALLOON_STATISTICS];
	int64_t updated; // when, in seconds of the host's clock; 0: never
};

struct virtio_balloon {
	struct virtio_device dev;
	struct balloon_statistics statistics;
	uint32_t asking;  // the head of the buffer with which they are asked for
	bool may_ask;     // ... which is ours
	struct {
		uint32_t wanted, actual; // pages of 4 KiB
	} space;
	uint32_t told; // of actual, to operators
};

// Pages that the driver is to put into the balloon, in all, and has put there by what it says.
void virtio_balloon_ask(struct virtio_balloon *b, uint32_t pages);
uint32_t virtio_balloon_pages(struct virtio_balloon *b);
// The driver is asked for its statistics, which come when they come.
void virtio_balloon_want_statistics(struct virtio_balloon *b);
void virtio_balloon_statistics(struct virtio_balloon *b, struct balloon_statistics *to);
void virtio_balloon_init(struct virtio_balloon *b, const struct virtio_balloon_config *c, const struct mem *mem);

#endif
