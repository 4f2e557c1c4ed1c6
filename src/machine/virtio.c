// SPDX-License-Identifier: MIT
//
// The virtio devices of a machine. A table says how each kind is made. Their doorbells are in machine/doorbell.c.
#include "machine/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine/balloon.h"
#include "machine/doorbell.h"
#include "machine/machine.h"
#include "machine/slots.h"
#include "virtio/9p.h"
#include "virtio/net.h"
#include "virtio/rng.h"

#define ASK_AGAIN_NS (UINT64_C(6) * 1000000000) // a guest takes back what is asked again within 5 seconds

static struct virtio_device *create_folder(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_9p *v = calloc(1, sizeof(*v));
	struct p9 *server;
	char why[700];
	int r;

	if (!v)
		return NULL;
	if (p9_open(&server, &m->config->folder[c->folder], why, sizeof(why)) < 0) {
		snprintf(err, errlen, "shared folder '%s': %s", c->tag, why);
		free(v);
		return NULL;
	}
	r = virtio_9p_init(v, &m->shared->config.mem, server, c->tag);
	if (r == 0)
		return &v->dev;
	snprintf(err, errlen, "shared folder '%s': %s", c->tag, strerror(-r));
	virtio_destroy(&v->dev);
	free(v);
	return NULL;
}

static struct virtio_device *create_net(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	const struct nic_config *card = &m->config->nic[c->card];
	struct virtio_net_options o = {.mtu = card->mtu, .no_merge = card->no_merge,
				       .multiqueue = card->multiqueue};
	struct virtio_net *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	memcpy(o.mac, card->mac, sizeof(o.mac));
	virtio_net_init(v, &m->shared->config.mem, card->net < 0 ? NULL : m->net[card->net], &o);
	return &v->dev;
}

static struct virtio_device *create_balloon(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_balloon *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	virtio_balloon_init(b, &c->balloon, &m->shared->config.mem);
	return &b->dev;
}

static struct virtio_device *create_console(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_console *v = calloc(1, sizeof(*v));
	unsigned index = (unsigned)(c - m->config->virtio);

	if (!v)
		return NULL;
	virtio_console_init(v, &m->shared->config.mem, c->ports);
	for (unsigned i = 0; i < m->config->ports; i++)
		if (m->config->port[i].device == index)
			virtio_console_add(v, &m->config->port[i]);
	return &v->dev;
}

static struct virtio_device *create_rng(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_rng *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	virtio_rng_init(r, &m->shared->config.mem);
	return &r->dev;
}

static struct virtio_device *create_blk(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_device *d;
	struct block *image;

	if (block_open(&image, &c->image, &m->waiting, err, errlen) < 0)
		return NULL;
	d = virtio_blk_create(image, &c->blk, &m->shared->config.mem);
	if (!d)
		block_close(image);
	return d;
}

static struct virtio_device *create_scsi(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_device *d = virtio_scsi_create(&c->scsi, &m->shared->config.mem);
	unsigned index = (unsigned)(c - m->config->virtio);

	for (unsigned i = 0; d && i < m->config->scsis; i++) {
		const struct scsi_disk_config *s = &m->config->scsi[i];
		struct block *image;

		if (s->device != index)
			continue;
		if (block_open(&image, &s->image, &m->waiting, err, errlen) < 0) {
			virtio_destroy(d);
			free(d);
			return NULL;
		}
		virtio_scsi_add(d, image, s);
	}
	return d;
}

// Make the device of a row of the command line's list. NULL: err says why.
static struct virtio_device *(*const creators[])(struct machine *m, const struct virtio_config *c, char *err,
						  size_t errlen) = {
	[VIRTIO_BALLOON] = create_balloon,
	[VIRTIO_BLK] = create_blk,
	[VIRTIO_CONSOLE] = create_console,
	[VIRTIO_FOLDER] = create_folder,
	[VIRTIO_NET] = create_net,
	[VIRTIO_RNG] = create_rng,
	[VIRTIO_SCSI] = create_scsi,
};

static void raise_interrupt(void *opaque, unsigned index)
{
	struct machine *m = opaque;

	atomic_fetch_or(&m->shared->pci_events, BIT(index));
	machine_tell_lines(m);
}

static void complain(void *opaque, const char *device, const char *what)
{
	struct machine *m = opaque;

	if (m->config->log & LOG_GUEST_ERRORS)
		fprintf(stderr, "guest error: %s: %s\n", device, what);
}

// What the command line says of the rings.
static bool set_features(struct virtio_device *d, const struct virtio_config *c, char *err, size_t errlen)
{
	if ((c->features_on & BIT64(VIRTIO_F_IN_ORDER)) && !d->class->in_order) {
		snprintf(err, errlen, "-device: in_order=on: %s answers requests as they end; leave it away", d->class->name);
		return false;
	}
	d->offered = (d->offered | c->features_on) & ~c->features_off;
	return true;
}

static struct virtio_device *create(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	struct virtio_device *d;

	snprintf(err, errlen, "-device: out of memory");
	d = creators[c->kind](m, c, err, errlen);
	if (!d)
		return NULL;
	if (!set_features(d, c, err, errlen)) {
		virtio_destroy(d);
		free(d);
		return NULL;
	}
	if (*c->id)
		d->name = c->id;
	d->writes = machine_tell_written;
	d->changed = machine_device_changed;
	d->memory_opaque = m;
	d->complain = complain;
	d->complain_opaque = m;
	return d;
}

// The first place without a device.
static unsigned free_place(const struct virtio_bus *b)
{
	unsigned i = 0;

	while (i < b->count && b->pci[i].device)
		i++;
	return i;
}

// The place that the device has got, or a negative errno.
static int add(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	bool mmio = m->config->board == BOARD_MICROVM;
	struct virtio_bus *b = &m->virtio;
	unsigned n = free_place(b);
	struct virtio_pci *p = &b->pci[n];
	int slot = mmio ? 0 : slot_for(m, c);
	struct virtio_device *d;

	if (slot < 0 || n == PCI_APP_MAX) {
		snprintf(err, errlen, "-device: %s%s%s", *c->id ? c->id : "", *c->id ? ": " : "", slot == -EBUSY ?
			 "its place (bus=, addr=) belongs to another device; choose another" : "the bus is full");
		return -EBUSY;
	}
	d = create(m, c, err, errlen);
	if (!d)
		return -EINVAL;
	p->raise = raise_interrupt;
	p->opaque = m;
	if (mmio)
		virtio_mmio_init(p, d, &m->shared->pci[n], n, n);
	else
		virtio_pci_init(p, d, &m->shared->pci[n], n, (uint8_t)(slot << 3), c->port, c->vectors);
	b->config[n] = c;
	b->asked[n] = 0;
	b->count = MAX(b->count, n + 1);
	m->shared->config.mmio_devices = mmio ? b->count : 0;
	return (int)n;
}

int virtio_bus_create(struct machine *m, char *err, size_t errlen)
{
	const struct machine_config *c = m->config;

	for (int pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < c->nvirtio; i++) {
			int r = (c->virtio[i].slot == SLOT_ANY) == pass ? add(m, &c->virtio[i], err, errlen) : 0;

			if (r < 0)
				return r;
		}
	return 0;
}

// -- while the machine runs

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int virtio_bus_plug(struct machine *m, const struct virtio_config *c, char *err, size_t errlen)
{
	int n;

	if (m->config->board != BOARD_PC && !c->port) {
		snprintf(err, errlen, "Bus '%s' does not support hotplugging; -machine pc's does, and q35's pcie-root-port",
			 m->config->board == BOARD_Q35 ? "pcie.0" : "virtio-mmio");
		return -ENOTSUP;
	}
	n = add(m, c, err, errlen);
	if (n < 0)
		return n;
	if (doorbell_start(m, (unsigned)n) < 0) {
		virtio_destroy(m->virtio.pci[n].device);
		free(m->virtio.pci[n].device);
		m->virtio.pci[n].device = NULL;
		m->shared->pci[n].present = false;
		snprintf(err, errlen, "no more threads");
		return -EAGAIN;
	}
	atomic_fetch_or(&m->shared->pci_plugged, BIT((unsigned)n));
	machine_tell_lines(m);
	return 0;
}

int virtio_bus_unplug(struct machine *m, const char *id, char *err, size_t errlen)
{
	struct virtio_bus *b = &m->virtio;
	unsigned i = 0;

	while (i < b->count && !(b->pci[i].device && *id && !strcmp(b->config[i]->id, id)))
		i++;
	if (i == b->count) {
		snprintf(err, errlen, "Device '%.100s' not found", id);
		return -ENOENT;
	}
	if (m->config->board != BOARD_PC && !b->config[i]->port) {
		snprintf(err, errlen, "Bus 'pcie.0' does not support hotplugging; -machine pc's does");
		return -ENOTSUP;
	}
	// A second press of a root port's button would take the first back.
	if (b->config[i]->port && b->asked[i] && now_ns() - b->asked[i] < ASK_AGAIN_NS) {
		snprintf(err, errlen, "Device %.100s is already in the process of unplug", id);
		return -EBUSY;
	}
	b->asked[i] = now_ns();
	atomic_fetch_or(&m->shared->pci_unplug, BIT(i));
	machine_tell_lines(m);
	return 0;
}

// The guest cannot reach them any more.
void virtio_bus_ejected(struct machine *m)
{
	uint32_t gone = atomic_load(&m->shared->pci_ejected) ? atomic_exchange(&m->shared->pci_ejected, 0) : 0;

	for (unsigned i = 0; i < m->virtio.count; i++) {
		struct virtio_device *d = m->virtio.pci[i].device;

		if (!(gone & BIT(i)) || !d)
			continue;
		doorbell_stop(m, i);
		block_waiting_give_up(&m->waiting, true); // its requests must end, should it have any
		virtio_reset(d);
		block_waiting_give_up(&m->waiting, false);
		m->virtio.pci[i].device = NULL;
		virtio_destroy(d);
		free(d);
		m->shared->pci[i].present = false;
		machine_tell(m, NOTE_DELETED, true, m->virtio.config[i]->id);
	}
}

// -- what operators hear of

// The next console at or after *i.
static struct virtio_console *next_console(struct machine *m, unsigned *i)
{
	while (*i < m->virtio.count) {
		struct virtio_device *d = m->virtio.pci[(*i)++].device;

		if (d && d->class->id == VIRTIO_ID_CONSOLE)
			return container_of(d, struct virtio_console, dev);
	}
	return NULL;
}

static void tell_ports(struct machine *m, struct virtio_console *v)
{
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		struct console_port *p = &v->port[i];
		bool open, moved;

		if (!p->present)
			continue;
		pthread_mutex_lock(&v->dev.lock);
		open = p->guest_open;
		moved = open != p->told_open;
		p->told_open = open;
		pthread_mutex_unlock(&v->dev.lock);
		if (moved)
			machine_tell(m, open ? NOTE_PORT_OPENED : NOTE_PORT_CLOSED, true, p->config->id);
	}
}

void virtio_bus_tell(struct machine *m)
{
	struct virtio_console *v;
	unsigned i = 0;

	while ((v = next_console(m, &i)))
		tell_ports(m, v);
	balloon_tell(m);
}

const struct chardev *virtio_bus_port(struct machine *m, unsigned n, bool *open)
{
	struct virtio_console *v;
	unsigned i = 0;

	while ((v = next_console(m, &i)))
		for (unsigned k = 0; k < CONSOLE_PORTS; k++)
			if (v->port[k].present && v->port[k].config == &m->config->port[n]) {
				pthread_mutex_lock(&v->dev.lock);
				*open = v->port[k].guest_open;
				pthread_mutex_unlock(&v->dev.lock);
				return &v->port[k].chardev;
			}
	return NULL;
}

int virtio_bus_open(struct machine *m, char *err, size_t errlen)
{
	struct virtio_console *v;
	unsigned i = 0;
	int r = 0;

	while (r == 0 && (v = next_console(m, &i)))
		r = virtio_console_open(v, &m->loop, &m->mux, err, errlen);
	return r;
}

void virtio_bus_drain(struct machine *m, int until_fd)
{
	struct virtio_console *v;
	unsigned i = 0;

	while ((v = next_console(m, &i)))
		virtio_console_drain(v, until_fd);
}

void virtio_bus_destroy(struct machine *m)
{
	struct virtio_bus *b = &m->virtio;

	virtio_bus_reset(m);
	for (unsigned i = 0; i < b->count; i++)
		if (b->pci[i].device) {
			virtio_destroy(b->pci[i].device);
			free(b->pci[i].device);
		}
	b->count = 0;
}

void virtio_bus_reset(struct machine *m)
{
	block_waiting_give_up(&m->waiting, true);
	for (unsigned i = 0; i < m->virtio.count; i++) {
		if (m->virtio.pci[i].device)
			virtio_reset(m->virtio.pci[i].device);
		atomic_store(&m->shared->pci[i].kicks, 0);
	}
	block_waiting_give_up(&m->waiting, false);
}

uint64_t virtio_bus_access(struct machine *m, bool write, uint64_t address, unsigned size, uint64_t value)
{
	unsigned index = (unsigned)(address >> 32);
	uint32_t off = (uint32_t)address;
	struct virtio_pci *p;

	if (index >= m->virtio.count || !m->virtio.pci[index].device || (size != 1 && size != 2 && size != 4 && size != 8))
		return UINT64_MAX;
	p = &m->virtio.pci[index];
	if (!write)
		return p->app->mmio ? virtio_mmio_read(p, off, size) : virtio_pci_read(p, off, size);
	if (p->app->mmio)
		virtio_mmio_write(p, off, size, value);
	else
		virtio_pci_write(p, off, size, value);
	return 0;
}
