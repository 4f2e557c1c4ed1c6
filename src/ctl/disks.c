// SPDX-License-Identifier: MIT
#include <stdio.h>

#include "ctl/disks.h"
#include "machine/medium.h"

// Those on IDE and SATA.
static bool see_ide(struct machine *m, unsigned i, struct disk_seen *to)
{
	const struct ide_config *c;
	struct ide_drive *d = medium_drive(m, i, &c, to->name);

	if (!d)
		return false;
	pthread_mutex_lock(&m->lock);
	snprintf(to->qdev, sizeof(to->qdev), "%s", c->id);
	to->block = d->image; // only the event loop, where we are, changes discs
	to->removable = d->cdrom;
	to->open = d->open;
	to->locked = d->locked;
	pthread_mutex_unlock(&m->lock);
	return true;
}

static struct virtio_device *device_of(struct machine *m, const struct virtio_config *c)
{
	for (unsigned i = 0; i < m->virtio.count; i++)
		if (m->virtio.config[i] == c)
			return m->virtio.pci[i].device;
	return NULL;
}

static bool see_virtio(struct machine *m, unsigned i, struct disk_seen *d)
{
	unsigned n = 0;

	for (unsigned k = 0; k < m->config->nvirtio; k++) {
		const struct virtio_config *c = &m->config->virtio[k];
		struct virtio_device *device = c->gone || c->kind != VIRTIO_BLK ? NULL : device_of(m, c);

		if (!device || n++ != i)
			continue;
		snprintf(d->name, sizeof(d->name), "virtio%u", i);
		if (*c->id)
			snprintf(d->qdev, sizeof(d->qdev), "/machine/peripheral/%s/virtio-backend", c->id);
		d->block = virtio_blk_image(device);
		return true;
	}
	return false;
}

static bool see_scsi(struct machine *m, unsigned i, struct disk_seen *d)
{
	unsigned n = 0;

	for (unsigned k = 0; k < m->config->scsis; k++) {
		const struct scsi_disk_config *c = &m->config->scsi[k];
		const struct virtio_config *bus = &m->config->virtio[c->device];
		struct virtio_device *device = bus->gone || bus->kind != VIRTIO_SCSI ? NULL : device_of(m, bus);

		if (!device || n++ != i)
			continue;
		snprintf(d->name, sizeof(d->name), "scsi0-%s%u", c->type ? "cd" : "hd", k);
		snprintf(d->qdev, sizeof(d->qdev), "%s", c->id);
		d->block = virtio_scsi_image(device, c->target, c->lun);
		d->removable = c->type != 0;
		return true;
	}
	return false;
}

static bool see(struct machine *m, unsigned i, struct disk_seen *d)
{
	static bool (*const sees[])(struct machine *m, unsigned i, struct disk_seen *d) = {see_ide, see_virtio, see_scsi};
	struct disk_seen none;

	for (size_t k = 0; k < ARRAY_SIZE(sees); k++) {
		unsigned n = 0;

		if (sees[k](m, i, d))
			return true;
		while (sees[k](m, n, &none))
			n++;
		i -= n;
	}
	return false;
}

bool disk_see(struct machine *m, unsigned i, struct disk_seen *d)
{
	*d = (struct disk_seen){.block = NULL};
	if (!see(m, i, d))
		return false;
	if (!d->block) {
		if (*d->qdev)
			*d->name = 0;
		return true;
	}
	d->image = &d->block->config;
	if (d->image->is_node) {
		snprintf(d->node, sizeof(d->node), "%s", d->image->name);
		if (*d->qdev)
			*d->name = 0;
		return true;
	}
	snprintf(d->node, sizeof(d->node), "#block%03u", i);
	if (*d->image->name)
		snprintf(d->name, sizeof(d->name), "%s", d->image->name);
	return true;
}

const char *disk_label(const struct disk_seen *d)
{
	return *d->name ? d->name : *d->node ? d->node : d->qdev;
}
