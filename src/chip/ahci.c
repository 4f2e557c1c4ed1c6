// SPDX-License-Identifier: MIT
//
// See chip/ahci.h.
#include "chip/ahci.h"

enum { REGISTERS_BAR = 5, REGISTERS_AT = 0xfebd0000, CLASS = 0x010601, MAP = 0x90, MAP_AHCI = 0x40 };

// As firmware leaves it: the registers decoded once the guest says so.
static void set_config(struct ahci_function *c)
{
	const struct pci_identity id = {c->devfn, 0x8086, 0x2922, 0x02, CLASS, 0x00, 1, 0x1af4, 0x1100};
	const struct pci_bar registers = {BUS_MMIO, AHCI_APP_LEN, &c->dev, 0, 0};
	struct pci_function *f = &c->pci;
	struct pci_host *host = f->host;

	pci_function_init(f, &id);
	f->host = host;
	pci_function_bar(f, REGISTERS_BAR, &registers, REGISTERS_AT + c->index * AHCI_APP_LEN);
	pci_set(f, PCI_INTERRUPT_LINE, 1, pci_intx_line(c->devfn));
	pci_set(f, MAP, 1, MAP_AHCI);
}

static void ahci_function_reset(struct dev *d)
{
	struct ahci_function *c = (struct ahci_function *)d;

	if (!c->pci.host)
		return;
	pci_function_unmap(&c->pci);
	set_config(c);
}

void ahci_function_add(struct ahci_function *c, unsigned index, uint8_t devfn, struct pci_host *host)
{
	c->index = index;
	c->devfn = devfn;
	pci_host_add(host, &c->pci);
	ahci_function_reset(&c->dev);
}

static uint64_t ahci_function_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct ahci_function *c = (struct ahci_function *)d;

	return c->access(c->opaque, false, AHCI_APP + c->index * AHCI_APP_LEN + off, size, 0);
}

static void ahci_function_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct ahci_function *c = (struct ahci_function *)d;

	c->access(c->opaque, true, AHCI_APP + c->index * AHCI_APP_LEN + off, size, value);
}

const struct dev_class ahci_function_class = {"ahci_function", sizeof(struct ahci_function), 4, NULL,
	ahci_function_reset, ahci_function_read, ahci_function_write};
