// SPDX-License-Identifier: MIT
//
// A virtqueue, whichever layout it has: what is checked for both, and the way to the functions of the one that it has
// (virtio/layout.h).
#include "virtio/queue.h"

#include <string.h>

#include "virtio/layout.h"

bool virtq_enable(struct virtq *q)
{
	if (!q->size || q->size > q->size_max)
		return false;
	q->layout = virtio_has(q->dev, VIRTIO_F_RING_PACKED) ? &virtq_packed : &virtq_split;
	q->enabled = q->layout->place(q);
	return q->enabled;
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){.dev = q->dev, .index = q->index, .size_max = q->size_max, .size = q->size_max,
		.vector = VIRTIO_NO_VECTOR};
}

static bool usable(const struct virtq *q)
{
	return q->enabled && virtio_running(q->dev);
}

// -- chains

bool virtq_fail(struct virtq *q, const char *what)
{
	virtio_fail(q->dev, what);
	return false;
}

bool virtq_add_segment(struct virtq *q, struct virtio_chain *c, uint64_t addr, uint32_t len, uint16_t flags)
{
	void *host;

	if (!(flags & DESC_WRITE) && c->writable)
		return virtq_fail(q, "a readable descriptor follows a writable one");
	if (!len)
		return true;
	if (c->readable + c->writable == c->room)
		return virtq_fail(q, "a chain has too many descriptors");
	host = mem_host(q->dev->mem, addr, len);
	if (!host)
		return virtq_fail(q, "a descriptor leaves guest memory");
	c->iov[c->readable + c->writable] = (struct iovec){host, len};
	if (flags & DESC_WRITE) {
		if (q->dev->writes)
			q->dev->writes(q->dev->memory_opaque, addr, len);
		c->writable++;
		c->write_size += len;
	} else {
		c->readable++;
		c->read_size += len;
	}
	return true;
}

bool virtq_enter_indirect(struct virtq *q, uint64_t addr, uint32_t len, uint16_t flags, struct desc_table *t)
{
	if (!virtio_has(q->dev, VIRTIO_F_INDIRECT) || (flags & DESC_NEXT))
		return virtq_fail(q, "an indirect descriptor where none may be");
	if (!len || len % DESC_SIZE || len / DESC_SIZE > VIRTQ_SEGMENTS_MAX)
		return virtq_fail(q, "an indirect table of a wrong size");
	t->at = mem_host(q->dev->mem, addr, len);
	t->entries = len / DESC_SIZE;
	return t->at || virtq_fail(q, "an indirect table leaves guest memory");
}

bool virtq_has(const struct virtq *q)
{
	return usable(q) && q->layout->has(q);
}

bool virtq_pop(struct virtq *q, struct virtio_chain *c)
{
	c->readable = c->writable = 0;
	c->read_size = c->write_size = 0;
	c->dev = q->dev;
	return usable(q) && q->layout->pop(q, c);
}

void virtq_unpop(struct virtq *q, uint32_t head)
{
	if (q->enabled && q->out)
		q->layout->unpop(q, head);
}

void virtq_push_all(struct virtq *q, unsigned count, const uint32_t *heads, const uint32_t *written)
{
	if (usable(q))
		q->layout->push(q, count, heads, written);
}

void virtq_push(struct virtq *q, uint32_t head, uint32_t written)
{
	virtq_push_all(q, 1, &head, &written);
}

void virtq_signal(struct virtq *q)
{
	if (!usable(q) || !q->dev->interrupt)
		return;
	atomic_thread_fence(memory_order_seq_cst); // what was pushed is out before we look at what the driver wants
	if (q->layout->wants_interrupt(q))
		q->dev->interrupt(q->dev, q->vector, VIRTIO_ISR_QUEUE);
}

// -- the bytes

void virtio_wrote(const struct virtio_device *d, const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; d->writes && i < n; i++)
		d->writes(d->memory_opaque, mem_gpa(iov[i].iov_base), iov[i].iov_len);
}

// Up to n bytes from byte `at` of a vector on that lie in one piece; none: it ends there.
static struct iovec piece(const struct iovec *iov, unsigned count, uint64_t at, size_t n)
{
	for (unsigned i = 0; i < count; at -= iov[i++].iov_len)
		if (at < iov[i].iov_len)
			return (struct iovec){(uint8_t *)iov[i].iov_base + at, MIN(n, iov[i].iov_len - at)};
	return (struct iovec){0};
}

size_t virtio_chain_read(const struct virtio_chain *c, uint64_t at, void *to, size_t size)
{
	size_t done = 0;
	struct iovec p;

	for (; done < size && (p = piece(c->iov, c->readable, at + done, size - done)).iov_len; done += p.iov_len)
		memcpy((uint8_t *)to + done, p.iov_base, p.iov_len);
	return done;
}

size_t virtio_chain_write(const struct virtio_chain *c, uint64_t at, const void *from, size_t size)
{
	const struct iovec *iov = c->iov + c->readable;
	size_t done = 0;
	struct iovec p;

	for (; done < size && (p = piece(iov, c->writable, at + done, size - done)).iov_len; done += p.iov_len) {
		memcpy(p.iov_base, (const uint8_t *)from + done, p.iov_len);
		virtio_wrote(c->dev, &p, 1);
	}
	return done;
}

unsigned virtio_chain_slice(const struct virtio_chain *c, bool writable, uint64_t at, uint64_t size, struct iovec *out,
			    unsigned n)
{
	const struct iovec *from = writable ? c->iov + c->readable : c->iov;
	const struct iovec *end = from + (writable ? c->writable : c->readable);
	unsigned used = 0;

	for (; from < end && used < n && size; from++) {
		if (at >= from->iov_len) {
			at -= from->iov_len;
			continue;
		}
		out[used] = (struct iovec){(uint8_t *)from->iov_base + at, MIN(from->iov_len - at, size)};
		size -= out[used++].iov_len;
		at = 0;
	}
	return used;
}
