// SPDX-License-Identifier: MIT
//
// The drives on the board's IDE controller: their images, and what the controller needs of the machine.
#include "machine/ide.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"

bool ide_is_present(const struct machine *m)
{
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		if (m->config->ide[i].present)
			return true;
	return false;
}

int ide_add_drive(struct ide_drive *d, const struct ide_config *c, unsigned place, char *err, size_t errlen)
{
	int r = *c->image.file ? block_open(&d->image, &c->image, NULL, err, errlen) : 0;

	if (r < 0)
		return r;
	d->buffer = malloc(IDE_BUFFER);
	if (!d->buffer || (d->image && d->image->size < (c->cdrom ? CD_SECTOR : IDE_SECTOR))) {
		snprintf(err, errlen, "%s: %s", c->image.file, d->buffer ? "the image is empty: give it a size" :
			 "out of memory");
		return d->buffer ? -EINVAL : -ENOMEM;
	}
	d->cdrom = c->cdrom;
	d->changed = c->cdrom && d->image;
	snprintf(d->serial, sizeof(d->serial), "%s", c->serial);
	if (!*d->serial)
		snprintf(d->serial, sizeof(d->serial), "RNG%05u", place + 1);
	return 0;
}

int ide_create(struct machine *m, char *err, size_t errlen)
{
	static const struct {
		uint32_t base, len;
		unsigned range;
	} ports[] = {
		{0x1f0, 8, IDE_RANGE_COMMAND}, {0x3f6, 1, IDE_RANGE_CONTROL},
		{0x170, 8, IDE_RANGE_COMMAND + 1}, {0x376, 1, IDE_RANGE_CONTROL + 1},
		{IDE_BUS_MASTER, IDE_BUS_MASTER_LEN, IDE_RANGE_BUS_MASTER},
	};
	struct ide *s = &m->pc.ide;
	int r = 0;

	if (!ide_is_present(m))
		return 0;
	bus_init_dev(&m->bus, &s->dev, &ide_class);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ports); i++)
		r = bus_add(&m->bus, BUS_PORT, ports[i].base, ports[i].len, &s->dev, ports[i].range);
	if (r < 0) {
		snprintf(err, errlen, "IDE: its ports belong to another device");
		return r;
	}
	s->mem = &m->shared->config.mem;
	s->run = block_run;
	s->will_write = machine_tell_written;
	s->tray_moved = machine_device_changed;
	s->opaque = m;
	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		s->channel[i].irq = (struct irq_line){machine_set_irq, m, IDE_IRQ + i};
		s->channel[i].window = &m->shared->ide[i];
	}
	for (unsigned i = 0; r == 0 && i < IDE_DRIVES; i++)
		if (m->config->ide[i].present)
			r = ide_add_drive(&s->channel[i / 2].drive[i % 2], &m->config->ide[i], i, err, errlen);
	ide_class.reset(&s->dev);
	return r;
}

void ide_remove_drive(struct ide_drive *d)
{
	if (d->image)
		block_close(d->image);
	free(d->buffer);
	d->image = NULL;
	d->buffer = NULL;
}

void ide_destroy(struct machine *m)
{
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ide_remove_drive(&m->pc.ide.channel[i / 2].drive[i % 2]);
}
