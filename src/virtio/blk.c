// SPDX-License-Identifier: MIT
//
// virtio-blk (Virtio 1.x, "Block Device"). A chain becomes one request of the image, whose vector points into guest
// RAM; its first 16 readable bytes say what is wanted, its last writable byte takes the status. A kick hands
// what is waiting to the image in batches; requests that end at once are pushed after each batch, the others by the
// thread that ends them. A request outside the disk, or of a wrong shape, is an I/O error to the guest; a chain that
// lacks the header or the status byte breaks the device.
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_MQ = 12, F_DISCARD = 13,
	F_WRITE_ZEROES = 14 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPPORTED = 2 };
enum { SEG_MAX = 126, SEGMENTS = SEG_MAX + 2, HEADER = 16, UNMAP = 1, DISCARD_SECTORS_MAX = 4 << 20,
	BATCH = 256 << 10 };

struct blk_config_space {
	uint64_t capacity; // in sectors
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};
_Static_assert(offsetof(struct blk_config_space, write_zeroes_may_unmap) == 56, "the specification's layout");

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_range { // of discard and write zeroes
	uint64_t sector;
	uint32_t count, flags;
};

struct blk_request {
	struct block_request r; // first: the image gives it back
	struct blk_request *next_free;
	struct virtq *q;
	struct virtio_chain chain;
	struct iovec iov[SEGMENTS];
	uint8_t *status;        // in guest RAM
};

struct virtio_blk {
	struct virtio_device dev;
	struct block *image;
	struct blk_config_space space;
	char serial[VIRTIO_BLK_SERIAL];
	struct blk_request *free;
	uint64_t pushed;        // queues with pushes that have not been signalled
	unsigned under_way;
	pthread_cond_t idle;    // under_way has become 0
};

// -- the life of a request

static struct blk_request *request_new(struct virtio_blk *b)
{
	struct blk_request *r = b->free;

	if (r)
		b->free = r->next_free;
	else
		r = malloc(sizeof(*r));
	return r;
}

static void request_free(struct virtio_blk *b, struct blk_request *r)
{
	r->next_free = b->free;
	b->free = r;
}

// With the lock held: the answer goes to the guest.
static void finish(struct virtio_blk *b, struct blk_request *r, uint8_t status, uint64_t written)
{
	*r->status = status;
	virtq_push(r->q, r->chain.head, (uint32_t)MIN(written + 1, (uint64_t)UINT32_MAX));
	b->pushed |= BIT64(r->q->index);
	request_free(b, r);
}

static void signal_pushed(struct virtio_blk *b)
{
	for (unsigned i = 0; b->pushed; i++, b->pushed >>= 1)
		if (b->pushed & 1)
			virtq_signal(&b->dev.queue[i]);
}

static void finish_all(struct virtio_blk *b, struct block_request *list)
{
	while (list) {
		struct blk_request *r = (struct blk_request *)list;

		list = list->next;
		b->under_way--;
		if (r->r.op == BLOCK_READ)
			virtio_wrote(&b->dev, r->r.iov, r->r.niov);
		finish(b, r, r->r.error ? S_IOERR : S_OK, r->r.op == BLOCK_READ ? r->r.size : 0);
	}
	signal_pushed(b);
	if (!b->under_way)
		pthread_cond_broadcast(&b->idle);
}

static void blk_completed(void *opaque, struct block_request *list)
{
	struct virtio_blk *b = opaque;

	pthread_mutex_lock(&b->dev.lock);
	finish_all(b, list);
	pthread_mutex_unlock(&b->dev.lock);
}

// -- what is wanted

// Take n bytes off the front of the first of `count` segments on; returns how many segments are gone.
static unsigned trim_front(struct iovec *v, unsigned count, size_t n)
{
	unsigned gone = 0;

	while (gone < count && n >= v[gone].iov_len)
		n -= v[gone++].iov_len;
	if (gone < count) {
		v[gone].iov_base = (uint8_t *)v[gone].iov_base + n;
		v[gone].iov_len -= n;
	}
	return gone;
}

// The status byte is the last writable one: its address; it is no data any more.
static uint8_t *take_status(struct virtio_chain *c)
{
	struct iovec *last = &c->iov[c->readable + c->writable - 1];

	c->write_size--;
	if (!--last->iov_len)
		c->writable--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static bool in_disk(const struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
	uint64_t block = b->space.blk_size;

	return !(bytes % block) && !(sector * BLOCK_SECTOR % block) && sector <= b->space.capacity &&
	       bytes / BLOCK_SECTOR <= b->space.capacity - sector;
}

// 0: to be submitted; else the status at once.
static int prepare_transfer(struct virtio_blk *b, struct blk_request *r, uint64_t sector, bool write)
{
	struct virtio_chain *c = &r->chain;
	unsigned gone = write ? trim_front(c->iov, c->readable, HEADER) : c->readable;
	uint64_t bytes = write ? c->read_size - HEADER : c->write_size;

	if (!bytes || !in_disk(b, sector, bytes) || (write && b->image->readonly))
		return S_IOERR;
	r->r.op = write ? BLOCK_WRITE : BLOCK_READ;
	r->r.offset = sector * BLOCK_SECTOR;
	r->r.size = bytes;
	r->r.iov = c->iov + gone;
	r->r.niov = write ? c->readable - gone : c->writable;
	return S_OK;
}

static int prepare_range(struct virtio_blk *b, struct blk_request *r, enum block_op op)
{
	struct blk_range range;

	if (r->chain.read_size != HEADER + sizeof(range))
		return S_UNSUPPORTED; // one range a request: config space says so
	virtio_chain_read(&r->chain, HEADER, &range, sizeof(range));
	if (b->image->readonly || !in_disk(b, range.sector, (uint64_t)range.count * BLOCK_SECTOR) ||
	    range.count > DISCARD_SECTORS_MAX)
		return S_IOERR;
	if ((range.flags & ~(uint32_t)UNMAP) || (op == BLOCK_DISCARD && range.flags))
		return S_UNSUPPORTED;
	r->r.op = op;
	r->r.offset = range.sector * BLOCK_SECTOR;
	r->r.size = (uint64_t)range.count * BLOCK_SECTOR;
	r->r.may_unmap = range.flags & UNMAP;
	return S_OK;
}

static void give_serial(struct virtio_blk *b, struct blk_request *r)
{
	struct virtio_chain *c = &r->chain;
	size_t n = virtio_chain_write(c, 0, b->serial, MIN(sizeof(b->serial), c->write_size));

	finish(b, r, S_OK, n);
}

// True: r is to be submitted. Else it has been answered.
static bool prepare(struct virtio_blk *b, struct blk_request *r, const struct blk_header *h)
{
	int status = S_UNSUPPORTED;

	r->r = (struct block_request){.next = NULL};
	switch (h->type) {
	case T_IN:
	case T_OUT:
		status = prepare_transfer(b, r, h->sector, h->type == T_OUT);
		break;
	case T_FLUSH:
		r->r.op = BLOCK_FLUSH;
		status = S_OK;
		break;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		status = prepare_range(b, r, h->type == T_DISCARD ? BLOCK_DISCARD : BLOCK_ZERO);
		break;
	case T_GET_ID:
		give_serial(b, r);
		return false;
	}
	if (status)
		finish(b, r, (uint8_t)status, 0);
	return !status;
}

static struct blk_request *pop(struct virtio_blk *b, struct virtq *q)
{
	struct blk_request *r = request_new(b);
	bool popped;

	if (!r)
		return NULL;
	r->q = q;
	r->chain = (struct virtio_chain){.iov = r->iov, .room = SEGMENTS};
	popped = virtq_pop(q, &r->chain);
	if (popped && r->chain.read_size >= HEADER && r->chain.write_size >= 1)
		return r;
	if (popped)
		virtio_fail(&b->dev, "a request without header or status");
	request_free(b, r);
	return NULL;
}

// Submit a batch, which is no more than BATCH bytes, and what ends at once. Returns whether more may be waiting.
static bool submit_batch(struct virtio_blk *b, struct virtq *q)
{
	struct block_request *list = NULL, **last = &list;
	struct blk_request *r = NULL;
	uint64_t bytes = 0;

	while (bytes < BATCH && (r = pop(b, q))) {
		struct blk_header h;

		virtio_chain_read(&r->chain, 0, &h, sizeof(h));
		r->status = take_status(&r->chain);
		if (!prepare(b, r, &h))
			continue;
		b->under_way++;
		bytes += r->r.op == BLOCK_READ || r->r.op == BLOCK_WRITE ? r->r.size : 0;
		*last = &r->r;
		last = &r->r.next;
	}
	finish_all(b, list ? block_submit(b->image, list) : NULL);
	return r != NULL;
}

static void blk_kick(struct virtio_device *d, unsigned q)
{
	while (submit_batch((struct virtio_blk *)d, &d->queue[q]))
		;
}

static void blk_look(struct virtio_device *d, bool last)
{
	struct virtio_blk *b = (struct virtio_blk *)d;
	struct block_request *list = block_poll(b->image, last);

	if (list)
		blk_completed(b, list);
}

static void blk_reset(struct virtio_device *d)
{
	struct virtio_blk *b = (struct virtio_blk *)d;

	while (b->under_way)
		pthread_cond_wait(&b->idle, &d->lock);
}

static void blk_destroy(struct virtio_device *d)
{
	struct virtio_blk *b = (struct virtio_blk *)d;

	block_close(b->image);
	while (b->free) {
		struct blk_request *r = b->free;

		b->free = r->next_free;
		free(r);
	}
	pthread_cond_destroy(&b->idle);
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk", .id = VIRTIO_ID_BLOCK, .pci_class = 0x010000, .kick = blk_kick, .look = blk_look,
	.reset = blk_reset, .destroy = blk_destroy,
};

static void describe(struct virtio_blk *b, const struct virtio_blk_config *c)
{
	unsigned block = c->block_size ? c->block_size : BLOCK_SECTOR;
	unsigned physical = MAX(c->physical_size, block);
	uint64_t capacity = b->image->size / block * (block / BLOCK_SECTOR);
	unsigned fits = MAX(b->dev.queue[0].size_max, 3) - 2; // in the ring, should the driver use no indirect descriptors
	unsigned seg_max = MIN(fits, (unsigned)SEG_MAX);

	b->space = (struct blk_config_space){
		.capacity = capacity, .seg_max = seg_max, .blk_size = block,
		.physical_block_exp = __builtin_ctz(physical / block), .writeback = c->write_cache,
		.num_queues = b->dev.nqueues, .max_discard_sectors = DISCARD_SECTORS_MAX, .max_discard_seg = 1,
		.discard_sector_alignment = block / BLOCK_SECTOR, .max_write_zeroes_sectors = DISCARD_SECTORS_MAX,
		.max_write_zeroes_seg = 1, .write_zeroes_may_unmap = 1,
	};
	b->dev.config = &b->space;
	b->dev.config_size = sizeof(b->space);
	b->dev.offered |= BIT64(F_SEG_MAX) | BIT64(F_BLK_SIZE) | BIT64(F_TOPOLOGY);
	if (c->write_cache)
		b->dev.offered |= BIT64(F_FLUSH);
	if (b->dev.nqueues > 1)
		b->dev.offered |= BIT64(F_MQ);
	if (b->image->readonly)
		b->dev.offered |= BIT64(F_RO);
	else
		b->dev.offered |= BIT64(F_DISCARD) | BIT64(F_WRITE_ZEROES);
}

struct block *virtio_blk_image(struct virtio_device *d)
{
	return container_of(d, struct virtio_blk, dev)->image;
}

struct virtio_device *virtio_blk_create(struct block *image, const struct virtio_blk_config *c, const struct mem *mem)
{
	struct virtio_blk *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	virtio_init(&b->dev, &blk_class, mem, c->queues ? c->queues : 1);
	for (unsigned i = 0; i < b->dev.nqueues && c->queue_size; i++)
		b->dev.queue[i].size = b->dev.queue[i].size_max = c->queue_size;
	b->image = image;
	image->completed = blk_completed;
	image->opaque = b;
	memcpy(b->serial, c->serial, strnlen(c->serial, sizeof(b->serial)));
	pthread_cond_init(&b->idle, NULL);
	describe(b, c);
	return &b->dev;
}
