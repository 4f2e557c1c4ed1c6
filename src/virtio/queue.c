// SPDX-License-Identifier: MIT
//
// The rings. The layout is fixed: a descriptor has address (8 bytes), length (4), flags (2) and next (2); the available
// ring flags (2), index (2), heads (2 each), then the used event (2); the used ring flags (2), index (2), entries of
// id (4) and length (4), then the available event (2).
#include "virtio/queue.h"

#include <stdatomic.h>
#include <string.h>

#include "virtio/virtio.h"

enum { DESC_SIZE = 16, DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1, RING_INDEX = 2, RING_ENTRIES = 4, USED_ENTRY = 8 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "a descriptor's layout is the specification's");

static uint16_t load16(const uint8_t *p)
{
	return atomic_load_explicit((const _Atomic uint16_t *)p, memory_order_acquire);
}

static void store16(uint8_t *p, uint16_t value)
{
	atomic_store_explicit((_Atomic uint16_t *)p, value, memory_order_release);
}

static uint8_t *used_event(const struct virtq *q)
{
	return q->avail_host + RING_ENTRIES + 2 * q->size;
}

static uint8_t *avail_event(const struct virtq *q)
{
	return q->used_host + RING_ENTRIES + USED_ENTRY * q->size;
}

bool virtq_enable(struct virtq *q)
{
	const struct mem *mem = q->dev->mem;
	unsigned n = q->size;

	if (!n || n > q->size_max || (n & (n - 1)) || (q->desc & 15) || (q->avail & 1) || (q->used & 3))
		return false;
	q->desc_host = mem_host(mem, q->desc, n * DESC_SIZE);
	q->avail_host = mem_host(mem, q->avail, RING_ENTRIES + n * 2 + 2);
	q->used_host = mem_host(mem, q->used, RING_ENTRIES + n * USED_ENTRY + 2);
	q->enabled = q->desc_host && q->avail_host && q->used_host;
	return q->enabled;
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){.dev = q->dev, .index = q->index, .size_max = q->size_max, .size = q->size_max,
		.vector = VIRTIO_NO_VECTOR};
}

static bool fail(struct virtq *q, const char *what)
{
	virtio_fail(q->dev, what);
	return false;
}

// -- taking chains

// The table that a chain is in: the queue's own, or an indirect one.
struct table {
	const uint8_t *at;
	unsigned entries;
};

static struct desc fetch(const struct table *t, unsigned i)
{
	struct desc d;

	memcpy(&d, t->at + i * DESC_SIZE, sizeof(d));
	return d;
}

static bool add_segment(struct virtq *q, struct virtio_chain *c, const struct desc *d)
{
	void *host;

	if (!(d->flags & DESC_WRITE) && c->writable)
		return fail(q, "a readable descriptor follows a writable one");
	if (!d->len)
		return true;
	if (c->readable + c->writable == c->room)
		return fail(q, "a chain has too many descriptors");
	host = mem_host(q->dev->mem, d->addr, d->len);
	if (!host)
		return fail(q, "a descriptor leaves guest memory");
	c->iov[c->readable + c->writable] = (struct iovec){host, d->len};
	if (d->flags & DESC_WRITE) {
		if (q->dev->will_write)
			q->dev->will_write(q->dev->memory_opaque, d->addr, d->len);
		c->writable++;
		c->write_size += d->len;
	} else {
		c->readable++;
		c->read_size += d->len;
	}
	return true;
}

static bool enter_indirect(struct virtq *q, const struct desc *d, struct table *t)
{
	if (!virtio_has(q->dev, VIRTIO_F_INDIRECT) || (d->flags & DESC_NEXT))
		return fail(q, "an indirect descriptor where none may be");
	if (!d->len || d->len % DESC_SIZE || d->len / DESC_SIZE > VIRTQ_SEGMENTS_MAX)
		return fail(q, "an indirect table of a wrong size");
	t->at = mem_host(q->dev->mem, d->addr, d->len);
	t->entries = d->len / DESC_SIZE;
	return t->at || fail(q, "an indirect table leaves guest memory");
}

static bool follow(struct virtq *q, struct virtio_chain *c)
{
	struct table t = {q->desc_host, q->size};
	struct desc d = fetch(&t, c->head);
	bool indirect = d.flags & DESC_INDIRECT;

	if (indirect) {
		if (!enter_indirect(q, &d, &t))
			return false;
		d = fetch(&t, 0);
	}
	for (unsigned steps = 0; steps < t.entries; steps++) {
		if (d.flags & DESC_INDIRECT)
			return fail(q, "an indirect descriptor where none may be");
		if (!add_segment(q, c, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		if (d.next >= t.entries)
			return fail(q, "a descriptor's next one lies outside the table");
		d = fetch(&t, d.next);
	}
	return fail(q, "a chain of descriptors is a loop");
}

static uint16_t waiting(const struct virtq *q)
{
	return load16(q->avail_host + RING_INDEX) - q->next_avail;
}

bool virtq_has(const struct virtq *q)
{
	return q->enabled && virtio_running(q->dev) && waiting(q);
}

// Nothing is left: ask to be told of more, and look again, as some may have come meanwhile.
static uint16_t wait_for_more(struct virtq *q)
{
	if (!virtio_has(q->dev, VIRTIO_F_EVENT_IDX))
		return 0;
	store16(avail_event(q), q->next_avail);
	atomic_thread_fence(memory_order_seq_cst);
	return waiting(q);
}

bool virtq_pop(struct virtq *q, struct virtio_chain *c)
{
	uint16_t n;

	if (!q->enabled || !virtio_running(q->dev))
		return false;
	n = waiting(q);
	if (!n && !(n = wait_for_more(q)))
		return false;
	if (n > q->size || q->out >= q->size)
		return fail(q, "more buffers are available than the queue has");
	c->head = load16(q->avail_host + RING_ENTRIES + 2 * (q->next_avail % q->size));
	c->readable = c->writable = 0;
	c->read_size = c->write_size = 0;
	if (c->head >= q->size)
		return fail(q, "the available ring names a descriptor outside the table");
	if (!follow(q, c))
		return false;
	q->next_avail++;
	q->out++;
	return true;
}

void virtq_unpop(struct virtq *q)
{
	if (!q->enabled || !q->out)
		return;
	q->next_avail--;
	q->out--;
}

// -- giving them back

void virtq_push_all(struct virtq *q, unsigned count, const uint16_t *heads, const uint32_t *written)
{
	if (!q->enabled || !virtio_running(q->dev) || q->out < count)
		return;
	for (unsigned i = 0; i < count; i++) {
		const uint32_t entry[2] = {heads[i], written[i]};

		memcpy(q->used_host + RING_ENTRIES + USED_ENTRY * (q->next_used % q->size), entry, sizeof(entry));
		q->next_used++;
	}
	q->out -= count;
	store16(q->used_host + RING_INDEX, q->next_used);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_push_all(q, 1, &head, &written);
}

static bool wants_interrupt(struct virtq *q)
{
	uint16_t was = q->signalled, event;
	bool known = q->signalled_valid;

	atomic_thread_fence(memory_order_seq_cst); // the index is out before we look at what the driver wants
	if (!virtio_has(q->dev, VIRTIO_F_EVENT_IDX))
		return !(load16(q->avail_host) & AVAIL_NO_INTERRUPT);
	event = load16(used_event(q));
	q->signalled = q->next_used;
	q->signalled_valid = true;
	return !known || (uint16_t)(q->next_used - event - 1) < (uint16_t)(q->next_used - was);
}

void virtq_signal(struct virtq *q)
{
	if (q->enabled && virtio_running(q->dev) && wants_interrupt(q) && q->dev->interrupt)
		q->dev->interrupt(q->dev, q->vector, VIRTIO_ISR_QUEUE);
}

// -- the bytes

static size_t copy(const struct iovec *iov, unsigned n, uint64_t at, uint8_t *buffer, size_t size, bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < size; i++) {
		size_t part;

		if (at >= iov[i].iov_len) {
			at -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - at, size - done);
		if (to_guest)
			memcpy((uint8_t *)iov[i].iov_base + at, buffer + done, part);
		else
			memcpy(buffer + done, (uint8_t *)iov[i].iov_base + at, part);
		done += part;
		at = 0;
	}
	return done;
}

size_t virtio_chain_read(const struct virtio_chain *c, uint64_t at, void *to, size_t size)
{
	return copy(c->iov, c->readable, at, to, size, false);
}

size_t virtio_chain_write(const struct virtio_chain *c, uint64_t at, const void *from, size_t size)
{
	return copy(c->iov + c->readable, c->writable, at, (uint8_t *)(uintptr_t)from, size, true);
}
