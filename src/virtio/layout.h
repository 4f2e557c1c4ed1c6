// SPDX-License-Identifier: MIT
//
// What the two layouts of a virtqueue (virtio/split.c, virtio/packed.c) have in common, and how they differ. For
// virtio/queue.c only; devices see virtio/queue.h.
#ifndef VIRTIO_LAYOUT_H
#define VIRTIO_LAYOUT_H

#include <stdatomic.h>

#include "virtio/virtio.h"

enum { DESC_SIZE = 16, DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct virtq_layout {
	bool (*place)(struct virtq *q); // the three parts are as they must be: take their host addresses
	bool (*has)(const struct virtq *q);
	// The queue is enabled and the device runs; c is empty.
	bool (*pop)(struct virtq *q, struct virtio_chain *c);
	void (*unpop)(struct virtq *q, uint32_t head);
	void (*push)(struct virtq *q, unsigned count, const uint32_t *heads, const uint32_t *written);
	bool (*wants_interrupt)(struct virtq *q);
};

extern const struct virtq_layout virtq_split, virtq_packed;

// The table that a chain is in: the queue's own, or an indirect one.
struct desc_table {
	const uint8_t *at;
	unsigned entries;
};

bool virtq_fail(struct virtq *q, const char *what); // returns false
bool virtq_add_segment(struct virtq *q, struct virtio_chain *c, uint64_t addr, uint32_t len, uint16_t flags);
bool virtq_enter_indirect(struct virtq *q, uint64_t addr, uint32_t len, uint16_t flags, struct desc_table *t);

// Has the event index been passed between two positions (Virtio 1.x, "Used Buffer Notification Suppression")?
static inline bool virtq_passed(uint16_t event, uint16_t now, uint16_t was)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - was);
}

static inline uint16_t ring_load16(const uint8_t *p)
{
	return atomic_load_explicit((const _Atomic uint16_t *)p, memory_order_acquire);
}

static inline void ring_store16(uint8_t *p, uint16_t value)
{
	atomic_store_explicit((_Atomic uint16_t *)p, value, memory_order_release);
}

#endif
