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
	to->qdev = c->id;
	to->image = d->image ? &d->image->config : NULL; // only the event loop, where we are, changes discs
	to->removable = d->cdrom;
	to->open = d->open;
	to->locked = d->locked;
	pthread_mutex_unlock(&m->lock);
	return true;
}

static bool see_virtio(const struct machine_config *c, unsigned i, struct disk_seen *d)
{
	unsigned n = 0;

	for (unsigned k = 0; k < c->nvirtio; k++) {
		if (c->virtio[k].gone || c->virtio[k].kind != VIRTIO_BLK || n++ != i)
			continue;
		snprintf(d->name, sizeof(d->name), "virtio%u", i);
		d->qdev = c->virtio[k].id;
		d->image = &c->virtio[k].image;
		return true;
	}
	return false;
}

static bool see_scsi(const struct machine_config *c, unsigned i, struct disk_seen *d)
{
	unsigned n = 0;

	for (unsigned k = 0; k < c->scsis; k++) {
		const struct virtio_config *bus = &c->virtio[c->scsi[k].device];

		if (bus->gone || bus->kind != VIRTIO_SCSI || n++ != i)
			continue;
		snprintf(d->name, sizeof(d->name), "scsi0-%s%u", c->scsi[k].type ? "cd" : "hd", k);
		d->qdev = c->scsi[k].id;
		d->image = &c->scsi[k].image;
		d->removable = c->scsi[k].type != 0;
		return true;
	}
	return false;
}

bool disk_see(struct machine *m, unsigned i, struct disk_seen *d)
{
	static bool (*const sees[])(const struct machine_config *c, unsigned i, struct disk_seen *d) = {
		see_virtio, see_scsi,
	};
	struct disk_seen none;
	unsigned n = 0;

	*d = (struct disk_seen){.qdev = ""};
	if (see_ide(m, i, d))
		return true;
	while (see_ide(m, n, &none))
		n++;
	i -= n;
	for (size_t k = 0; k < ARRAY_SIZE(sees); i -= n, k++) {
		if (sees[k](m->config, i, d))
			return true;
		for (n = 0; sees[k](m->config, n, &none);)
			n++;
	}
	return false;
}
