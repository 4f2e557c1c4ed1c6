// SPDX-License-Identifier: MIT
//
// The app's side of a byte ring. The other side's index is read once and bounded: whatever stands there, no more than
// RING_SIZE bytes inside data[] are touched.
#ifndef IO_RING_IO_H
#define IO_RING_IO_H

#include <stdatomic.h>

#include "bus/shared.h"

// Reader: the bytes that can be taken in one piece; 0: empty.
static inline size_t ring_readable(struct ring *r, const uint8_t **at)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t have = MIN(atomic_load(&r->head) - tail, (uint32_t)RING_SIZE);
	uint32_t place = tail % RING_SIZE;

	*at = r->data + place;
	return MIN(have, RING_SIZE - place);
}

// Returns whether the writer waits to be told of the room.
static inline bool ring_taken(struct ring *r, size_t n)
{
	atomic_fetch_add(&r->tail, (uint32_t)n);
	return atomic_load_explicit(&r->writer_waits, memory_order_relaxed) && atomic_exchange(&r->writer_waits, 0);
}

// Writer: the room that can be filled in one piece; 0: full.
static inline size_t ring_writable(struct ring *r, uint8_t **at)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t used = MIN(head - atomic_load(&r->tail), (uint32_t)RING_SIZE);
	uint32_t place = head % RING_SIZE;

	*at = r->data + place;
	return MIN(RING_SIZE - used, RING_SIZE - place);
}

static inline void ring_filled(struct ring *r, size_t n)
{
	atomic_fetch_add(&r->head, (uint32_t)n);
}

#endif
