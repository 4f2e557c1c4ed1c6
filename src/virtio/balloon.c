// SPDX-License-Identifier: MIT
//
// virtio-balloon (Virtio 1.x, "Traditional Memory Balloon Device"). Pages that the driver puts into the balloon, and
// free pages that it reports, are given back to the host at once; when the guest touches one again it is a page of
// zeroes. The target is 0 until an operator asks for a size; a reset of the guest leaves it. The driver's buffer of
// statistics is held until somebody wants new ones: with it they are asked for.
#include "virtio/balloon.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { F_STATS = 1, F_DEFLATE_ON_OOM = 2, F_REPORTING = 5 };
enum { INFLATE, DEFLATE, STATS, REPORTING, QUEUES };
enum { SEGMENTS = 64, PFNS = 256, PFN_SHIFT = 12, ACTUAL_OFFSET = 4, STATISTICS_MAX = 256 };

// Whole pages within [at, at + size) of guest RAM, which the caller has checked.
static void give_back(void *at, size_t size)
{
	uintptr_t first = align_up((uintptr_t)at, PAGE_SIZE), end = align_down((uintptr_t)at + size, PAGE_SIZE);

	if (first < end)
		madvise((void *)first, end - first, MADV_REMOVE); // may fail: then the host keeps them
}

static void inflate(struct virtio_device *d, const struct virtio_chain *c)
{
	uint32_t pfn[PFNS];
	size_t n;

	for (uint64_t at = 0; (n = virtio_chain_read(c, at, pfn, sizeof(pfn))) >= sizeof(*pfn); at += n)
		for (size_t i = 0; i < n / sizeof(*pfn); i++) {
			void *page = mem_host(d->mem, (gpa_t)pfn[i] << PFN_SHIFT, PAGE_SIZE);

			if (page && d->writes)
				d->writes(d->memory_opaque, (gpa_t)pfn[i] << PFN_SHIFT, PAGE_SIZE);
			if (page)
				give_back(page, PAGE_SIZE);
		}
}

// A driver that gives a second buffer has the first back.
static void take_statistics(struct virtio_balloon *b)
{
	struct { uint16_t tag; uint64_t value; } __attribute__((packed)) said;
	struct iovec iov[SEGMENTS];
	struct virtio_chain c = {.iov = iov, .room = SEGMENTS};
	struct virtq *q = &b->dev.queue[STATS];

	while (virtq_pop(q, &c)) {
		if (b->may_ask) {
			virtq_push(q, b->asking, 0);
			virtq_signal(q);
		}
		b->asking = c.head;
		b->may_ask = true;
		memset(b->statistics.value, 0xff, sizeof(b->statistics.value));
		for (uint64_t at = 0; at / sizeof(said) < STATISTICS_MAX &&
		     virtio_chain_read(&c, at, &said, sizeof(said)) == sizeof(said); at += sizeof(said))
			if (said.tag < BALLOON_STATISTICS)
				b->statistics.value[said.tag] = said.value;
		b->statistics.updated = time(NULL);
	}
}

void virtio_balloon_want_statistics(struct virtio_balloon *b)
{
	pthread_mutex_lock(&b->dev.lock);
	if (b->may_ask) {
		b->may_ask = false;
		virtq_push(&b->dev.queue[STATS], b->asking, 0);
		virtq_signal(&b->dev.queue[STATS]);
	}
	pthread_mutex_unlock(&b->dev.lock);
}

void virtio_balloon_statistics(struct virtio_balloon *b, struct balloon_statistics *to)
{
	pthread_mutex_lock(&b->dev.lock);
	*to = b->statistics;
	pthread_mutex_unlock(&b->dev.lock);
}

static void balloon_kick(struct virtio_device *d, unsigned q)
{
	struct iovec iov[SEGMENTS];
	struct virtio_chain c = {.iov = iov, .room = SEGMENTS};

	if (q == STATS) {
		take_statistics((struct virtio_balloon *)d);
		return;
	}
	while (virtq_pop(&d->queue[q], &c)) {
		if (q == INFLATE)
			inflate(d, &c);
		for (unsigned i = 0; q == REPORTING && i < c.writable; i++)
			give_back(iov[c.readable + i].iov_base, iov[c.readable + i].iov_len);
		virtq_push(&d->queue[q], c.head, 0);
	}
	virtq_signal(&d->queue[q]);
}

static void balloon_config_write(struct virtio_device *d, unsigned off, unsigned size, uint32_t value)
{
	if (off != ACTUAL_OFFSET || size != 4)
		return;
	((struct virtio_balloon *)d)->space.actual = value;
	if (d->changed)
		d->changed(d->memory_opaque);
}

static void balloon_reset(struct virtio_device *d)
{
	struct virtio_balloon *b = (struct virtio_balloon *)d;

	b->space.actual = 0;
	b->may_ask = false;
}

void virtio_balloon_ask(struct virtio_balloon *b, uint32_t pages)
{
	pthread_mutex_lock(&b->dev.lock);
	b->space.wanted = pages;
	virtio_config_changed(&b->dev);
	pthread_mutex_unlock(&b->dev.lock);
}

uint32_t virtio_balloon_pages(struct virtio_balloon *b)
{
	uint32_t pages;

	pthread_mutex_lock(&b->dev.lock);
	pages = b->space.actual;
	pthread_mutex_unlock(&b->dev.lock);
	return pages;
}

static const struct virtio_class balloon_class = {
	.name = "virtio-balloon", .id = VIRTIO_ID_BALLOON, .pci_class = 0x00ff00, .in_order = true, .kick = balloon_kick,
	.reset = balloon_reset, .config_write = balloon_config_write,
};

void virtio_balloon_init(struct virtio_balloon *b, const struct virtio_balloon_config *c, const struct mem *mem)
{
	virtio_init(&b->dev, &balloon_class, mem, c->reporting ? QUEUES : REPORTING);
	b->space.wanted = b->space.actual = 0;
	memset(b->statistics.value, 0xff, sizeof(b->statistics.value));
	b->dev.config = &b->space;
	b->dev.config_size = sizeof(b->space);
	b->dev.offered |= BIT64(F_STATS);
	if (c->deflate_on_oom)
		b->dev.offered |= BIT64(F_DEFLATE_ON_OOM);
	if (c->reporting)
		b->dev.offered |= BIT64(F_REPORTING);
}
