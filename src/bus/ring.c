// SPDX-License-Identifier: MIT
//
// The rings' arithmetic: see bus/ring.h. The writer publishes bytes by storing head with release order; the reader
// gives back their places by storing tail likewise. Each side reads its own index relaxed and the other's with
// acquire.
#include "bus/ring.h"

#include <stdatomic.h>

#include "base/string.h"

uint32_t ring_used(const struct ring *r)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	uint32_t used = atomic_load_explicit(&r->head, memory_order_acquire) - tail;

	return MIN(used, (uint32_t)RING_SIZE);
}

uint32_t ring_space(const struct ring *r)
{
	return RING_SIZE - ring_used(r);
}

uint32_t ring_push(struct ring *r, const void *in, uint32_t size)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t space = ring_space(r), at = head % RING_SIZE; // once: the other side moves
	uint32_t n = MIN(size, space);
	uint32_t first = MIN(n, RING_SIZE - at);

	memcpy(r->data + at, in, first);
	memcpy(r->data, (const uint8_t *)in + first, n - first);
	atomic_store_explicit(&r->head, head + n, memory_order_release);
	return n;
}

uint32_t ring_peek(const struct ring *r, void *out, uint32_t size)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t used = ring_used(r), at = tail % RING_SIZE;
	uint32_t n = MIN(size, used);
	uint32_t first = MIN(n, RING_SIZE - at);

	memcpy(out, r->data + at, first);
	memcpy((uint8_t *)out + first, r->data, n - first);
	return n;
}

uint32_t ring_pop(struct ring *r, void *out, uint32_t size)
{
	uint32_t n = ring_peek(r, out, size);
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	atomic_store_explicit(&r->tail, tail + n, memory_order_release);
	return n;
}

bool ring_wait_space(struct ring *r, uint32_t wanted)
{
	atomic_store(&r->writer_waits, 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (ring_space(r) < wanted)
		return false;
	atomic_store(&r->writer_waits, 0);
	return true;
}

bool ring_writer_waits(struct ring *r)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&r->writer_waits, memory_order_relaxed) && atomic_exchange(&r->writer_waits, 0);
}
