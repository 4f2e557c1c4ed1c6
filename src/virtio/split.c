// SPDX-License-Identifier: MIT
//
// Split rings (Virtio 1.x, "Split Virtqueues"). The layout is fixed: a descriptor has address (8 bytes), length (4),
// flags (2) and next (2); the available ring flags (2), index (2), heads (2 each), then the used event (2); the used
// ring flags (2), index (2), entries of id (4) and length (4), then the available event (2). A chain's name is the
// index of its first descriptor.
#include <string.h>

#include "virtio/layout.h"

enum { AVAIL_NO_INTERRUPT = 1, RING_INDEX = 2, RING_ENTRIES = 4, USED_ENTRY = 8 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "a descriptor's layout is the specification's");

static uint8_t *used_event(const struct virtq *q)
{
	return q->avail_host + RING_ENTRIES + 2 * q->size;
}

static uint8_t *avail_event(const struct virtq *q)
{
	return q->used_host + RING_ENTRIES + USED_ENTRY * q->size;
}

static bool split_place(struct virtq *q)
{
	const struct mem *mem = q->dev->mem;
	unsigned n = q->size;

	if ((n & (n - 1)) || (q->desc & 15) || (q->avail & 1) || (q->used & 3))
		return false;
	q->desc_host = mem_host(mem, q->desc, n * DESC_SIZE);
	q->avail_host = mem_host(mem, q->avail, RING_ENTRIES + n * 2 + 2);
	q->used_host = mem_host(mem, q->used, RING_ENTRIES + n * USED_ENTRY + 2);
	return q->desc_host && q->avail_host && q->used_host;
}

// -- taking chains

static struct desc fetch(const struct desc_table *t, unsigned i)
{
	struct desc d;

	memcpy(&d, t->at + i * DESC_SIZE, sizeof(d));
	return d;
}

static bool follow(struct virtq *q, struct virtio_chain *c)
{
	struct desc_table t = {q->desc_host, q->size};
	struct desc d = fetch(&t, c->head);

	if (d.flags & DESC_INDIRECT) {
		if (!virtq_enter_indirect(q, d.addr, d.len, d.flags, &t))
			return false;
		d = fetch(&t, 0);
	}
	for (unsigned steps = 0; steps < t.entries; steps++) {
		if (d.flags & DESC_INDIRECT)
			return virtq_fail(q, "an indirect descriptor where none may be");
		if (!virtq_add_segment(q, c, d.addr, d.len, d.flags))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		if (d.next >= t.entries)
			return virtq_fail(q, "a descriptor's next one lies outside the table");
		d = fetch(&t, d.next);
	}
	return virtq_fail(q, "a chain of descriptors is a loop");
}

static uint16_t waiting(const struct virtq *q)
{
	return ring_load16(q->avail_host + RING_INDEX) - q->next_avail;
}

static bool split_has(const struct virtq *q)
{
	return waiting(q);
}

// Nothing is left: ask to be told of more, and look again, as some may have come meanwhile.
static uint16_t wait_for_more(struct virtq *q)
{
	if (!virtio_has(q->dev, VIRTIO_F_EVENT_IDX))
		return 0;
	ring_store16(avail_event(q), q->next_avail);
	atomic_thread_fence(memory_order_seq_cst);
	return waiting(q);
}

static bool split_pop(struct virtq *q, struct virtio_chain *c)
{
	uint16_t n = waiting(q);

	if (!n && !(n = wait_for_more(q)))
		return false;
	if (n > q->size || q->out >= q->size)
		return virtq_fail(q, "more buffers are available than the queue has");
	c->head = ring_load16(q->avail_host + RING_ENTRIES + 2 * (q->next_avail % q->size));
	if (c->head >= q->size)
		return virtq_fail(q, "the available ring names a descriptor outside the table");
	if (!follow(q, c))
		return false;
	q->next_avail++;
	q->out++;
	return true;
}

static void split_unpop(struct virtq *q, uint32_t head)
{
	q->next_avail--;
	q->out--;
}

// -- giving them back

static void split_push(struct virtq *q, unsigned count, const uint32_t *heads, const uint32_t *written)
{
	if (q->out < count)
		return;
	for (unsigned i = 0; i < count; i++) {
		const uint32_t entry[2] = {heads[i], written[i]};

		memcpy(q->used_host + RING_ENTRIES + USED_ENTRY * (q->next_used % q->size), entry, sizeof(entry));
		q->next_used++;
	}
	q->out -= count;
	ring_store16(q->used_host + RING_INDEX, q->next_used);
}

static bool split_wants_interrupt(struct virtq *q)
{
	uint16_t was = q->signalled;
	bool known = q->signalled_valid;

	if (!virtio_has(q->dev, VIRTIO_F_EVENT_IDX))
		return !(ring_load16(q->avail_host) & AVAIL_NO_INTERRUPT);
	q->signalled = q->next_used;
	q->signalled_valid = true;
	return !known || virtq_passed(ring_load16(used_event(q)), q->next_used, was);
}

const struct virtq_layout virtq_split = {
	.place = split_place, .has = split_has, .pop = split_pop, .unpop = split_unpop, .push = split_push,
	.wants_interrupt = split_wants_interrupt,
};
