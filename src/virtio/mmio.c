// SPDX-License-Identifier: MIT
//
// Virtio over MMIO (Virtio 1.x, "Virtio Over MMIO"), version 2: a table from its registers to those of the common
// configuration structure, which the core has. One level-triggered interrupt, whose status the monitor shows.
#include "virtio/mmio.h"

#include <stdatomic.h>
#include <string.h>

enum { MAGIC = 0x74726976, VERSION = 2, VENDOR = 0x554d4551, CONFIG = 0x100 };
enum { R_MAGIC = 0x00, R_VERSION = 0x04, R_DEVICE = 0x08, R_VENDOR = 0x0c, R_QUEUE_MAX = 0x34, R_QUEUE_READY = 0x44,
	R_INTERRUPT_STATUS = 0x60, R_SHM_LENGTH = 0xb0, R_SHM_LENGTH_HIGH = 0xb4 };

enum { READS = 1, WRITES = 2 };

static const struct {
	uint8_t mmio, access, common, size;
} registers[] = {
	{ 0x10, READS, 4, 4 }, { 0x14, WRITES, 0, 4 }, { 0x20, WRITES, 12, 4 }, { 0x24, WRITES, 8, 4 },
	{ 0x30, WRITES, 22, 2 }, { 0x38, WRITES, 24, 2 }, { 0x44, READS | WRITES, 28, 2 }, { 0x70, READS | WRITES, 20, 1 },
	{ 0x80, WRITES, 32, 4 }, { 0x84, WRITES, 36, 4 }, { 0x90, WRITES, 40, 4 }, { 0x94, WRITES, 44, 4 },
	{ 0xa0, WRITES, 48, 4 }, { 0xa4, WRITES, 52, 4 }, { 0xfc, READS, 21, 1 },
};

static void mmio_interrupt(struct virtio_device *d, uint16_t vector, enum virtio_isr isr)
{
	struct virtio_pci *p = d->transport;

	atomic_fetch_or(&p->app->isr, isr);
	p->raise(p->opaque, p->index);
}

static void mmio_clear_interrupts(struct virtio_device *d)
{
	struct virtio_pci *p = d->transport;

	atomic_store(&p->app->isr, 0);
	p->raise(p->opaque, p->index);
}

void virtio_mmio_init(struct virtio_pci *p, struct virtio_device *d, struct pci_app *app, unsigned index,
		      unsigned place)
{
	p->device = d;
	p->app = app;
	p->index = index;
	memset(app, 0, sizeof(*app));
	app->present = true;
	app->mmio = VIRTIO_MMIO_BASE + place * VIRTIO_MMIO_SIZE;
	app->gsi = (uint8_t)(VIRTIO_MMIO_GSI + place % VIRTIO_MMIO_GSIS);
	strncpy(app->name, d->class->name, sizeof(app->name) - 1);
	d->interrupt = mmio_interrupt;
	d->clear_interrupts = mmio_clear_interrupts;
	d->transport = p;
}

static uint32_t queue_max(struct virtio_device *d)
{
	uint32_t max;

	pthread_mutex_lock(&d->lock);
	max = d->queue_select < d->nqueues ? d->queue[d->queue_select].size_max : 0;
	pthread_mutex_unlock(&d->lock);
	return max;
}

// QueueReady written 0: the driver gives a queue up. One with buffers of the device's in hand stays until a reset.
static void give_up(struct virtio_device *d)
{
	struct virtq *q = d->queue_select < d->nqueues ? &d->queue[d->queue_select] : NULL;

	pthread_mutex_lock(&d->lock);
	if (q && q->enabled && !q->out)
		virtq_reset(q);
	pthread_mutex_unlock(&d->lock);
}

uint64_t virtio_mmio_read(struct virtio_pci *p, uint32_t off, unsigned size)
{
	struct virtio_device *d = p->device;

	if (off >= CONFIG)
		return virtio_config_read(d, off - CONFIG, size);
	if (size != 4)
		return 0;
	switch (off) {
	case R_MAGIC: return MAGIC;
	case R_VERSION: return VERSION;
	case R_DEVICE: return d->class->id;
	case R_VENDOR: return VENDOR;
	case R_QUEUE_MAX: return queue_max(d);
	case R_INTERRUPT_STATUS: return atomic_load(&p->app->isr);
	case R_SHM_LENGTH:
	case R_SHM_LENGTH_HIGH: return UINT32_MAX;
	}
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i].mmio == off && (registers[i].access & READS))
			return virtio_common_read(d, registers[i].common, registers[i].size);
	return 0;
}

void virtio_mmio_write(struct virtio_pci *p, uint32_t off, unsigned size, uint64_t value)
{
	struct virtio_device *d = p->device;

	if (off >= CONFIG) {
		virtio_config_write(d, off - CONFIG, size, value);
		return;
	}
	if (off == R_QUEUE_READY && !value) {
		give_up(d);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(registers) && size == 4; i++)
		if (registers[i].mmio == off && (registers[i].access & WRITES))
			virtio_common_write(d, registers[i].common, registers[i].size, (uint32_t)value);
}
