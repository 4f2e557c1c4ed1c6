// SPDX-License-Identifier: MIT
//
// Packed rings (Virtio 1.x, "Packed Virtqueues"): one ring of descriptors, written by both sides. A descriptor has
// address (8 bytes), length (4), the buffer's id (2) and flags (2), of which two, compared with a wrap counter that
// turns each time around, say whose it is. The driver's and the device's areas hold where (offset, the wrap counter in
// its top bit) and whether (flags) the other side is to be notified.
//
// A position is an index with the wrap counter in bit 15. A chain's name is the buffer's id with the number of
// descriptors that it took in the ring above it: so many are skipped when it comes back. `out` counts descriptors here:
// as it never exceeds the ring, what we write never overtakes what we read.
#include <string.h>

#include "virtio/layout.h"

enum { DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15, DESC_ID = 12, DESC_FLAGS = 14, WRAP = 1 << 15 };
enum { EVENT_FLAGS = 2, EVENT_AREA = 4, NOTIFY_ALWAYS = 0, NOTIFY_NEVER = 1, NOTIFY_AT = 2 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "a descriptor's layout is the specification's");

static bool packed_place(struct virtq *q)
{
	const struct mem *mem = q->dev->mem;

	if ((q->desc & 15) || (q->avail & 3) || (q->used & 3))
		return false;
	q->desc_host = mem_host(mem, q->desc, q->size * DESC_SIZE);
	q->avail_host = mem_host(mem, q->avail, EVENT_AREA);
	q->used_host = mem_host(mem, q->used, EVENT_AREA);
	q->next_avail = q->next_used = q->signalled = WRAP;
	return q->desc_host && q->avail_host && q->used_host;
}

static unsigned index_of(uint16_t position)
{
	return position & ~WRAP;
}

// n descriptors on; n is at most the ring's size.
static uint16_t advance(const struct virtq *q, uint16_t position, unsigned n)
{
	unsigned i = index_of(position) + n;

	return i < q->size ? (position & WRAP) | i : ((position ^ WRAP) & WRAP) | (i - q->size);
}

static uint8_t *desc_at(const struct virtq *q, uint16_t position)
{
	return q->desc_host + index_of(position) * DESC_SIZE;
}

// -- taking chains

static bool packed_has(const struct virtq *q)
{
	uint16_t flags = ring_load16(desc_at(q, q->next_avail) + DESC_FLAGS);
	bool wrap = q->next_avail & WRAP;

	return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap;
}

static bool has_after_waiting(struct virtq *q)
{
	bool at = virtio_has(q->dev, VIRTIO_F_EVENT_IDX);

	if (at)
		ring_store16(q->used_host, q->next_avail);
	ring_store16(q->used_host + EVENT_FLAGS, at ? NOTIFY_AT : NOTIFY_ALWAYS);
	atomic_thread_fence(memory_order_seq_cst);
	return packed_has(q);
}

static struct desc fetch(const uint8_t *at)
{
	struct desc d;

	memcpy(&d, at, sizeof(d));
	return d;
}

// All of an indirect table is one chain, in its order.
static bool follow_indirect(struct virtq *q, struct virtio_chain *c, const struct desc *d)
{
	struct desc_table t;

	if (!virtq_enter_indirect(q, d->addr, d->len, d->flags, &t))
		return false;
	for (unsigned i = 0; i < t.entries; i++) {
		struct desc in = fetch(t.at + i * DESC_SIZE);

		if (in.flags & DESC_INDIRECT)
			return virtq_fail(q, "an indirect descriptor where none may be");
		if (!virtq_add_segment(q, c, in.addr, in.len, in.flags))
			return false;
	}
	return true;
}

static bool follow(struct virtq *q, struct virtio_chain *c)
{
	struct desc d = fetch(desc_at(q, q->next_avail));
	unsigned n = 1;

	if (d.flags & DESC_INDIRECT) {
		if (!follow_indirect(q, c, &d))
			return false;
	} else {
		for (;; n++) {
			if (!virtq_add_segment(q, c, d.addr, d.len, d.flags))
				return false;
			if (!(d.flags & DESC_NEXT))
				break;
			if (q->out + n >= q->size)
				return virtq_fail(q, "a chain is longer than the ring has room");
			d = fetch(desc_at(q, advance(q, q->next_avail, n)));
			if (d.flags & DESC_INDIRECT)
				return virtq_fail(q, "an indirect descriptor where none may be");
		}
	}
	c->head = (uint32_t)n << 16 | d.id;
	return true;
}

static bool packed_pop(struct virtq *q, struct virtio_chain *c)
{
	if (!packed_has(q) && !has_after_waiting(q))
		return false;
	if (q->out >= q->size)
		return virtq_fail(q, "more buffers are available than the queue has");
	if (!follow(q, c))
		return false;
	q->next_avail = advance(q, q->next_avail, c->head >> 16);
	q->out += c->head >> 16;
	return true;
}

static void packed_unpop(struct virtq *q, uint32_t head)
{
	unsigned n = head >> 16;

	if (n > q->out)
		return;
	q->next_avail = advance(q, q->next_avail ^ WRAP, q->size - n); // once around, less n
	q->out -= n;
}

// -- giving them back

static uint16_t used_flags(uint16_t position, uint32_t written)
{
	return (position & WRAP ? DESC_AVAIL | DESC_USED : 0) | (written ? DESC_WRITE : 0);
}

// All but the first one's flags are written first: the driver looks at descriptors in their order.
static void packed_push(struct virtq *q, unsigned count, const uint32_t *heads, const uint32_t *written)
{
	uint16_t first = q->next_used;

	for (unsigned i = 0; i < count; i++) {
		uint8_t *d = desc_at(q, q->next_used);
		const uint16_t id = (uint16_t)heads[i];
		unsigned n = heads[i] >> 16;

		if (n > q->out)
			return;
		memcpy(d + 8, &written[i], sizeof(written[i]));
		memcpy(d + DESC_ID, &id, sizeof(id));
		if (i)
			ring_store16(d + DESC_FLAGS, used_flags(q->next_used, written[i]));
		if (index_of(q->next_used) + n >= q->size)
			q->signalled -= q->size;
		q->next_used = advance(q, q->next_used, n);
		q->out -= n;
	}
	if (count)
		ring_store16(desc_at(q, first) + DESC_FLAGS, used_flags(first, written[0]));
}

// `signalled` is an index too, less the ring's size for each time that next_used has come around since.
static bool packed_wants_interrupt(struct virtq *q)
{
	uint16_t was = q->signalled_valid ? q->signalled : 0, how = ring_load16(q->avail_host + EVENT_FLAGS), at, event;
	bool known = q->signalled_valid;

	q->signalled = index_of(q->next_used);
	q->signalled_valid = true;
	if (how != NOTIFY_AT || !virtio_has(q->dev, VIRTIO_F_EVENT_IDX))
		return how != NOTIFY_NEVER;
	at = ring_load16(q->avail_host);
	event = index_of(at) - ((at ^ q->next_used) & WRAP ? q->size : 0);
	return !known || virtq_passed(event, q->signalled, was);
}

const struct virtq_layout virtq_packed = {
	.place = packed_place, .has = packed_has, .pop = packed_pop, .unpop = packed_unpop, .push = packed_push,
	.wants_interrupt = packed_wants_interrupt,
};
