// SPDX-License-Identifier: MIT
//
// The SATA controllers: where they are on the bus, their drives' images.
#include "machine/ahci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "machine/machine.h"

enum { LAST_SLOT = 29, Q35_DEVFN = 31 << 3 | 2 };

static uint8_t choose_place(const struct machine *m, unsigned i)
{
	const struct ahci_config *c = &m->config->ahci[i];

	if (c->slot >= 0)
		return (uint8_t)(c->slot << 3);
	return m->config->board == BOARD_Q35 && i == 0 ? Q35_DEVFN : (uint8_t)((LAST_SLOT - i) << 3);
}

static int create(struct machine *m, unsigned i, char *err, size_t errlen)
{
	const struct ahci_config *c = &m->config->ahci[i];
	struct ahci *a = &m->pc.ahci[i];
	int r;

	m->shared->config.ahci[i].present = true;
	m->shared->config.ahci[i].devfn = choose_place(m, i);
	bus_init_dev(&m->bus, &a->dev, &ahci_class);
	r = bus_add(&m->bus, BUS_PORT, AHCI_AT + i * AHCI_SIZE, AHCI_SIZE, &a->dev, 0);
	a->ide.mem = &m->shared->config.mem;
	a->ide.run = block_run;
	a->ide.will_write = machine_tell_written;
	a->ide.tray_moved = machine_device_changed;
	a->ide.opaque = m;
	a->submit = block_submit;
	a->irq = (struct irq_line){machine_set_pci_line, m, m->shared->config.ahci[i].devfn >> 3};
	for (unsigned k = 0; r == 0 && k < AHCI_PORTS; k++) {
		struct ide_drive *d = &a->port[k].channel.drive[0];

		if (!c->drive[k].present)
			continue;
		r = ide_add_drive(d, &c->drive[k], k, err, errlen);
		if (r == 0 && d->image) {
			d->image->completed = ahci_completed;
			d->image->opaque = &a->port[k];
		}
	}
	ahci_class.reset(&a->dev);
	return r;
}

int ahci_create(struct machine *m, char *err, size_t errlen)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < AHCI_CONTROLLERS; i++)
		if (m->config->ahci[i].present)
			r = create(m, i, err, errlen);
	return r;
}

void ahci_reset_all(struct machine *m)
{
	for (unsigned i = 0; i < AHCI_CONTROLLERS; i++)
		if (m->config->ahci[i].present && m->pc.ahci[i].dev.class)
			ahci_class.reset(&m->pc.ahci[i].dev);
}

void ahci_destroy(struct machine *m)
{
	ahci_reset_all(m); // what is under way ends
	for (unsigned i = 0; i < AHCI_CONTROLLERS; i++) {
		struct ahci *a = &m->pc.ahci[i];

		if (!a->dev.class)
			continue;
		for (unsigned k = 0; k < AHCI_PORTS; k++)
			ide_remove_drive(&a->port[k].channel.drive[0]);
		ahci_free(a);
		a->dev.class = NULL;
	}
}
