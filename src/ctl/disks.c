// SPDX-License-Identifier: MIT
#include <stdio.h>

#include "ctl/disks.h"

static void see_ide(const struct machine_config *c, unsigned i, struct disk_seen *d)
{
	const struct ide_config *ide = &c->ide[i];

	snprintf(d->name, sizeof(d->name), "ide%u-%s%u", i / 2, ide->cdrom ? "cd" : "hd", i % 2);
	d->qdev = "";
	d->image = *ide->image.file ? &ide->image : NULL;
	d->removable = ide->cdrom;
}

bool disk_see(const struct machine_config *c, unsigned i, struct disk_seen *d)
{
	unsigned n = 0, virtio = 0;

	for (unsigned k = 0; k < IDE_DRIVES; k++)
		if (c->ide[k].present && n++ == i) {
			see_ide(c, k, d);
			return true;
		}
	for (unsigned k = 0; k < c->nvirtio; k++) {
		if (c->virtio[k].kind != VIRTIO_BLK)
			continue;
		snprintf(d->name, sizeof(d->name), "virtio%u", virtio++);
		d->qdev = c->virtio[k].id;
		d->image = &c->virtio[k].image;
		d->removable = false;
		if (n++ == i)
			return true;
	}
	for (unsigned k = 0; k < c->scsis; k++) {
		snprintf(d->name, sizeof(d->name), "scsi0-%s%u", c->scsi[k].type ? "cd" : "hd", k);
		d->qdev = c->scsi[k].id;
		d->image = &c->scsi[k].image;
		d->removable = c->scsi[k].type != 0;
		if (n++ == i)
			return true;
	}
	return false;
}
