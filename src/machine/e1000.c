// SPDX-License-Identifier: MIT
//
// The 82540EM network cards: where they are on the bus, and on which network.
#include "dev/e1000.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"
#include "machine/slots.h"

static int create(struct machine *m, unsigned i, const struct nic_config *card, char *err, size_t errlen)
{
	int slot = slot_find(m, card->slot), r;
	struct e1000 *e;

	if (slot < 0) {
		snprintf(err, errlen, "-device: e1000: %s", slot == -EBUSY ?
			 "its address (addr=) belongs to another device; choose another" : "the bus is full");
		return slot;
	}
	e = m->pc.e1000[i] = calloc(1, sizeof(*e));
	if (!e) {
		snprintf(err, errlen, "-device: e1000: out of memory");
		return -ENOMEM;
	}
	m->shared->config.e1000[i] = (struct pci_place){true, (uint8_t)(slot << 3)};
	bus_init_dev(&m->bus, &e->dev, &e1000_class);
	e->mem = &m->shared->config.mem;
	e->will_write = machine_tell_written;
	e->opaque = m;
	e->irq = (struct irq_line){machine_set_pci_line, m, (unsigned)slot};
	memcpy(e->mac, card->mac, sizeof(e->mac));
	r = bus_add(&m->bus, BUS_PORT, E1000_AT + i * E1000_SIZE, E1000_SIZE, &e->dev, 0);
	e1000_attach(e, card->net < 0 ? NULL : m->net[card->net]);
	return r;
}

int e1000_create(struct machine *m, char *err, size_t errlen)
{
	const struct machine_config *c = m->config;
	unsigned n = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < c->nics; i++)
		if (c->nic[i].model == NIC_E1000)
			r = create(m, n++, &c->nic[i], err, errlen);
	return r;
}

void e1000_reset_all(struct machine *m)
{
	for (unsigned i = 0; i < E1000_CARDS; i++)
		if (m->pc.e1000[i])
			e1000_class.reset(&m->pc.e1000[i]->dev);
}

void e1000_destroy(struct machine *m)
{
	for (unsigned i = 0; i < E1000_CARDS; i++) {
		if (m->pc.e1000[i])
			e1000_free(m->pc.e1000[i]);
		free(m->pc.e1000[i]);
		m->pc.e1000[i] = NULL;
	}
}
