// SPDX-License-Identifier: MIT
//
// The CD-ROM drives' trays and discs. A drive belongs to the board's lock; images are opened and closed outside of it.
// A disc's image lives as long as it is in the drive.
#include "machine/medium.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "machine/machine.h"

static struct ide_drive *ide_at(struct machine *m, unsigned *i, const struct ide_config **c, char name[80])
{
	for (unsigned k = 0; k < IDE_DRIVES; k++) {
		*c = &m->config->ide[k];
		if (!(*c)->present || (*i)--)
			continue;
		snprintf(name, 80, "ide%u-%s%u", k / 2, (*c)->cdrom ? "cd" : "hd", k % 2);
		return &m->pc.ide.channel[k / 2].drive[k % 2];
	}
	return NULL;
}

struct ide_drive *medium_drive(struct machine *m, unsigned i, const struct ide_config **c, char name[80])
{
	struct ide_drive *d = ide_at(m, &i, c, name);

	for (unsigned a = 0; !d && a < AHCI_CONTROLLERS; a++)
		for (unsigned k = 0; m->config->ahci[a].present && k < AHCI_PORTS; k++) {
			*c = &m->config->ahci[a].drive[k];
			if (!(*c)->present || i--)
				continue;
			snprintf(name, 80, "%s%s%u-%s0", a ? m->config->ahci[a].id : "", a ? "." : "ide", k,
				 (*c)->cdrom ? "cd" : "hd");
			return &m->pc.ahci[a].port[k].channel.drive[0];
		}
	return d;
}

static struct ide_drive *find(struct machine *m, const char *drive, char *err, size_t errlen)
{
	const struct ide_config *c;
	struct ide_drive *d;
	char name[80];

	for (unsigned i = 0; (d = medium_drive(m, i, &c, name)); i++) {
		if (strcmp(drive, name) && (!*c->id || strcmp(drive, c->id)) &&
		    (!*c->image.name || c->image.is_node || strcmp(drive, c->image.name)))
			continue;
		if (d->cdrom)
			return d;
		snprintf(err, errlen, "Device '%.100s' is not removable", drive);
		return NULL;
	}
	snprintf(err, errlen, "Device '%.100s' not found, or no CD-ROM drive on IDE or SATA", drive);
	return NULL;
}

int medium_open_tray(struct machine *m, const char *drive, bool force, char *err, size_t errlen)
{
	struct ide_drive *d = find(m, drive, err, errlen);
	bool open;

	if (!d)
		return -ENOENT;
	pthread_mutex_lock(&m->lock);
	if (force)
		ide_cdrom_move_tray(d, true);
	else if (!d->open)
		ide_cdrom_press_button(d);
	open = d->open;
	pthread_mutex_unlock(&m->lock);
	if (open)
		return 0;
	snprintf(err, errlen, "Device '%.100s' is locked and force was not specified, wait for tray to open and try again",
		 drive);
	return -EBUSY;
}

int medium_close_tray(struct machine *m, const char *drive, char *err, size_t errlen)
{
	struct ide_drive *d = find(m, drive, err, errlen);

	if (!d)
		return -ENOENT;
	pthread_mutex_lock(&m->lock);
	ide_cdrom_move_tray(d, false);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

// The tray's state at the time that the disc is changed counts. Closes image if it cannot go in.
static int exchange(struct machine *m, struct ide_drive *d, struct block *image, const char *drive, char *err,
		    size_t errlen)
{
	bool full;
	struct block *old = image;
	int r = -EBUSY;

	pthread_mutex_lock(&m->lock);
	full = image && d->image;
	if (d->open && !full) {
		old = ide_cdrom_change(d, image);
		r = 0;
	}
	pthread_mutex_unlock(&m->lock);
	if (r < 0)
		snprintf(err, errlen, full ? "There already is a medium in device '%.100s'" :
			 "Tray of device '%.100s' is not open", drive);
	if (old)
		block_close(old);
	return r;
}

int medium_remove(struct machine *m, const char *drive, char *err, size_t errlen)
{
	struct ide_drive *d = find(m, drive, err, errlen);

	return d ? exchange(m, d, NULL, drive, err, errlen) : -ENOENT;
}

int medium_insert(struct machine *m, const char *drive, const struct block_config *disc, char *err, size_t errlen)
{
	struct ide_drive *d = find(m, drive, err, errlen);
	struct block_config c = *disc;
	struct block *image;
	int r;

	if (!d)
		return -ENOENT;
	c.readonly = true;
	r = block_open(&image, &c, NULL, err, errlen);
	if (r < 0)
		return r;
	if (image->size < CD_SECTOR) {
		block_close(image);
		snprintf(err, errlen, "%s: the image is empty: give it a size", c.file);
		return -EINVAL;
	}
	return exchange(m, d, image, drive, err, errlen);
}

int medium_change(struct machine *m, const char *drive, const struct block_config *disc, bool force, char *err,
		  size_t errlen)
{
	int r = medium_open_tray(m, drive, force, err, errlen);

	if (r == 0)
		r = medium_remove(m, drive, err, errlen);
	if (r < 0 || !disc)
		return r;
	r = medium_insert(m, drive, disc, err, errlen);
	return r < 0 ? r : medium_close_tray(m, drive, err, errlen);
}

int medium_change_file(struct machine *m, const char *drive, const char *file, const char *format, bool force,
		       char *err, size_t errlen)
{
	struct block_config disc = {.readonly = true};

	if (!*file || strlen(file) >= sizeof(disc.file) || (format && strlen(format) >= sizeof(disc.format)) ||
	    access(file, R_OK) < 0) {
		snprintf(err, errlen, "Could not open '%.200s': %s", file, strerror(errno));
		return -ENOENT;
	}
	strcpy(disc.file, file);
	strcpy(disc.format, format ? format : "");
	return medium_change(m, drive, &disc, force, err, errlen);
}

bool medium_uses(struct machine *m, const char *image)
{
	const struct ide_config *c;
	struct ide_drive *d;
	char name[80];

	for (unsigned i = 0; (d = medium_drive(m, i, &c, name)); i++)
		if (d->image && !strcmp(d->image->config.name, image))
			return true;
	return false;
}

void medium_tell(struct machine *m)
{
	const struct ide_config *c;
	struct ide_drive *d;
	char name[80];

	for (unsigned i = 0; (d = medium_drive(m, i, &c, name)); i++) {
		bool moved, open;

		pthread_mutex_lock(&m->lock);
		open = d->open;
		moved = open != d->told_open;
		d->told_open = open;
		pthread_mutex_unlock(&m->lock);
		if (moved)
			machine_tell(m, open ? NOTE_TRAY_OPENED : NOTE_TRAY_CLOSED, false, *c->id ? c->id : name);
	}
}
