// SPDX-License-Identifier: MIT
//
// A virtio device's registers and its life: the driver resets it, says what it can do, agrees on features, places the
// queues and starts it (Virtio 1.x, "General Initialization And Device Operation"). The registers are those of the
// common configuration structure; a transport with others translates.
#include "virtio/virtio.h"

#include <string.h>

enum common { // offsets
	OFFERED_SELECT = 0, OFFERED = 4, FEATURES_SELECT = 8, FEATURES = 12, CONFIG_VECTOR = 16, NUM_QUEUES = 18,
	STATUS = 20, GENERATION = 21, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_VECTOR = 26, QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFF = 30, QUEUE_DESC = 32, QUEUE_AVAIL = 40, QUEUE_USED = 48,
};

void virtio_init(struct virtio_device *d, const struct virtio_class *class, const struct mem *mem, unsigned nqueues)
{
	memset(d, 0, sizeof(*d));
	d->class = class;
	d->name = class->name;
	d->mem = mem;
	d->nqueues = MIN(nqueues, (unsigned)VIRTIO_QUEUES_MAX);
	d->offered = BIT64(VIRTIO_F_INDIRECT) | BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1);
	d->config_vector = VIRTIO_NO_VECTOR;
	pthread_mutex_init(&d->lock, NULL);
	for (unsigned i = 0; i < d->nqueues; i++) {
		d->queue[i] = (struct virtq){.dev = d, .index = i, .size_max = VIRTIO_QUEUE_SIZE};
		virtq_reset(&d->queue[i]);
	}
}

void virtio_destroy(struct virtio_device *d)
{
	if (d->class->destroy)
		d->class->destroy(d);
	pthread_mutex_destroy(&d->lock);
}

void virtio_fail(struct virtio_device *d, const char *what)
{
	if (d->status & VIRTIO_NEEDS_RESET)
		return;
	if (d->complain)
		d->complain(d->complain_opaque, d->name, what);
	d->status |= VIRTIO_NEEDS_RESET;
	if ((d->status & VIRTIO_DRIVER_OK) && d->interrupt)
		d->interrupt(d, d->config_vector, VIRTIO_ISR_CONFIG);
}

void virtio_config_changed(struct virtio_device *d)
{
	d->generation++;
	if (virtio_running(d) && d->interrupt)
		d->interrupt(d, d->config_vector, VIRTIO_ISR_CONFIG);
}

static void reset_locked(struct virtio_device *d)
{
	d->status = 0; // from here on pops and pushes do nothing
	if (d->class->reset)
		d->class->reset(d);
	for (unsigned i = 0; i < d->nqueues; i++)
		virtq_reset(&d->queue[i]);
	d->features = 0;
	d->generation = 0;
	d->queue_select = 0;
	d->offered_select = d->features_select = 0;
	d->config_vector = VIRTIO_NO_VECTOR;
	if (d->clear_interrupts)
		d->clear_interrupts(d);
}

void virtio_reset(struct virtio_device *d)
{
	pthread_mutex_lock(&d->lock);
	reset_locked(d);
	pthread_mutex_unlock(&d->lock);
}

static void kick_locked(struct virtio_device *d, uint64_t queues)
{
	for (unsigned i = 0; i < d->nqueues; i++)
		if ((queues >> i & 1) && d->queue[i].enabled && virtio_running(d))
			d->class->kick(d, i);
}

void virtio_kick(struct virtio_device *d, uint64_t queues)
{
	pthread_mutex_lock(&d->lock);
	kick_locked(d, queues);
	pthread_mutex_unlock(&d->lock);
}

static void set_status(struct virtio_device *d, uint8_t value)
{
	uint8_t added = value & ~d->status & ~VIRTIO_NEEDS_RESET;

	if (!value) {
		reset_locked(d);
		return;
	}
	if ((added & VIRTIO_FEATURES_OK) && ((d->features & ~d->offered) || !virtio_has(d, VIRTIO_F_VERSION_1)))
		added &= ~VIRTIO_FEATURES_OK; // which tells the driver so
	if (!((d->status | added) & VIRTIO_FEATURES_OK))
		added &= ~VIRTIO_DRIVER_OK;
	d->status |= added;
	if (!(added & VIRTIO_DRIVER_OK))
		return;
	if (d->class->started)
		d->class->started(d);
	kick_locked(d, UINT64_MAX);
}

static struct virtq *selected(struct virtio_device *d)
{
	return d->queue_select < d->nqueues ? &d->queue[d->queue_select] : NULL;
}

static uint64_t queue_read(const struct virtio_device *d, const struct virtq *q, unsigned off)
{
	switch (off) {
	case QUEUE_SIZE: return q->size;
	case QUEUE_VECTOR: return q->vector;
	case QUEUE_ENABLE: return q->enabled;
	case QUEUE_NOTIFY_OFF: return d->queue_select;
	case QUEUE_DESC: return q->desc;
	case QUEUE_DESC + 4: return q->desc >> 32;
	case QUEUE_AVAIL: return q->avail;
	case QUEUE_AVAIL + 4: return q->avail >> 32;
	case QUEUE_USED: return q->used;
	case QUEUE_USED + 4: return q->used >> 32;
	}
	return 0;
}

static uint64_t common_read(struct virtio_device *d, unsigned off)
{
	struct virtq *q = selected(d);

	switch (off) {
	case OFFERED_SELECT: return d->offered_select;
	case OFFERED: return d->offered_select < 2 ? (uint32_t)(d->offered >> 32 * d->offered_select) : 0;
	case FEATURES_SELECT: return d->features_select;
	case FEATURES: return d->features_select < 2 ? (uint32_t)(d->features >> 32 * d->features_select) : 0;
	case CONFIG_VECTOR: return d->config_vector;
	case NUM_QUEUES: return d->nqueues;
	case STATUS: return d->status;
	case GENERATION: return d->generation;
	case QUEUE_SELECT: return d->queue_select;
	}
	return q ? queue_read(d, q, off) : 0;
}

static uint16_t vector_of(const struct virtio_device *d, uint64_t value)
{
	return (uint16_t)value < d->vectors ? value : VIRTIO_NO_VECTOR;
}

static void set_address(gpa_t *to, unsigned half, unsigned size, uint64_t value)
{
	if (size == 8)
		*to = value;
	else if (half)
		*to = (*to & UINT32_MAX) | value << 32;
	else
		*to = (*to & ~(uint64_t)UINT32_MAX) | (uint32_t)value;
}

// A queue's place and size are fixed while it is enabled.
static void queue_write(struct virtio_device *d, struct virtq *q, unsigned off, unsigned size, uint64_t value)
{
	if (off == QUEUE_VECTOR)
		q->vector = vector_of(d, value);
	if (q->enabled)
		return;
	switch (off) {
	case QUEUE_SIZE:
		if (value && value <= q->size_max && (!(value & (value - 1)) || virtio_has(d, VIRTIO_F_RING_PACKED)))
			q->size = value;
		break;
	case QUEUE_ENABLE:
		if (value == 1 && !virtq_enable(q))
			virtio_fail(d, "a queue's rings are misplaced");
		break;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		set_address(&q->desc, off & 4, size, value);
		break;
	case QUEUE_AVAIL:
	case QUEUE_AVAIL + 4:
		set_address(&q->avail, off & 4, size, value);
		break;
	case QUEUE_USED:
	case QUEUE_USED + 4:
		set_address(&q->used, off & 4, size, value);
		break;
	}
}

static void set_features(struct virtio_device *d, uint32_t value)
{
	unsigned shift = 32 * d->features_select;

	if (d->features_select < 2 && !(d->status & VIRTIO_FEATURES_OK))
		d->features = (d->features & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void common_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t value)
{
	struct virtq *q = selected(d);

	switch (off) {
	case OFFERED_SELECT:
		d->offered_select = value;
		return;
	case FEATURES_SELECT:
		d->features_select = value;
		return;
	case FEATURES:
		set_features(d, value);
		return;
	case CONFIG_VECTOR:
		d->config_vector = vector_of(d, value);
		return;
	case STATUS:
		set_status(d, value);
		return;
	case QUEUE_SELECT:
		d->queue_select = value;
		return;
	}
	if (q)
		queue_write(d, q, off, size, value);
}

uint64_t virtio_common_read(struct virtio_device *d, unsigned off, unsigned size)
{
	uint64_t value;

	pthread_mutex_lock(&d->lock);
	value = common_read(d, off);
	pthread_mutex_unlock(&d->lock);
	return size >= 8 ? value : value & (BIT64(8 * size) - 1);
}

void virtio_common_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&d->lock);
	common_write(d, off, size, value);
	pthread_mutex_unlock(&d->lock);
}

uint64_t virtio_config_read(struct virtio_device *d, unsigned off, unsigned size)
{
	uint64_t value = 0;

	pthread_mutex_lock(&d->lock);
	if (off < d->config_size)
		memcpy(&value, (const char *)d->config + off, MIN(size, d->config_size - off));
	pthread_mutex_unlock(&d->lock);
	return value;
}

void virtio_config_write(struct virtio_device *d, unsigned off, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&d->lock);
	if (d->class->config_write && size <= 4 && off < d->config_size && size <= d->config_size - off)
		d->class->config_write(d, off, size, value);
	pthread_mutex_unlock(&d->lock);
}
