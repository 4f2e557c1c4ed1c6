// SPDX-License-Identifier: MIT
#include "machine/slots.h"

#include <errno.h>

#include "machine/machine.h"

enum { FIRST_SLOT = 3, SLOTS = 32, I6300ESB_SLOT = 30 /* chip/i6300esb.c */ };

static bool slot_taken(const struct machine *m, int slot)
{
	if (m->config->pc.watchdog && slot == I6300ESB_SLOT)
		return true;
	for (unsigned i = 0; i < AHCI_CONTROLLERS; i++)
		if (m->shared->config.ahci[i].present && m->shared->config.ahci[i].devfn >> 3 == slot)
			return true;
	for (unsigned i = 0; i < E1000_CARDS; i++)
		if (m->shared->config.e1000[i].present && m->shared->config.e1000[i].devfn >> 3 == slot)
			return true;
	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (m->shared->pci[i].present && !m->shared->pci[i].port && m->shared->pci[i].devfn >> 3 == slot)
			return true;
	for (unsigned i = 0; i < PCIE_PORTS; i++)
		if (m->shared->config.root_port[i].present && m->shared->config.root_port[i].devfn >> 3 == slot)
			return true;
	if (machine_has_vga(m->config) && slot == machine_vga_slot(m->config))
		return true;
	return m->config->board == BOARD_Q35 ? slot == 0 || slot == 31 : slot < 2; // the chip set's own
}

static bool is_wanted(const struct machine_config *c, int slot)
{
	for (unsigned i = 0; i < c->nvirtio; i++)
		if (!c->virtio[i].port && c->virtio[i].slot == slot)
			return true;
	for (unsigned i = 0; i < c->nics; i++)
		if (c->nic[i].model == NIC_E1000 && c->nic[i].slot == slot)
			return true;
	return false;
}

int slot_find(const struct machine *m, int wanted)
{
	if (wanted != SLOT_ANY)
		return slot_taken(m, wanted) ? -EBUSY : wanted;
	for (int i = 0; i < SLOTS; i++) {
		int slot = (FIRST_SLOT + i) % SLOTS;

		if (!slot_taken(m, slot) && !is_wanted(m->config, slot))
			return slot;
	}
	return -ENOSPC;
}

int slot_for(const struct machine *m, const struct virtio_config *c)
{
	if (!c->port)
		return slot_find(m, c->slot);
	for (unsigned i = 0; i < PCI_APP_MAX; i++)
		if (m->shared->pci[i].present && m->shared->pci[i].port == c->port)
			return -EBUSY;
	return 0;
}
