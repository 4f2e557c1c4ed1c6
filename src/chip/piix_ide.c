// SPDX-License-Identifier: MIT
//
// See chip/piix_ide.h.
#include "chip/piix_ide.h"

enum { MASTER_BAR = 4, MASTER_AT = 0xc000, TIMING = 0x40, TIMING_DECODED = 0x8000 };

static const struct pci_identity piix_ide_id = {PCI_DEVFN(1, 1), 0x8086, 0x7010, 0x00, 0x010180, 0x00, 0, 0x1af4,
	0x1100};

// As firmware leaves it: both channels at their old ports.
static void set_config(struct piix_ide *c)
{
	const struct pci_bar master = {BUS_PORT, PIIX_IDE_MASTER_LEN, &c->dev, 0, 0};
	struct pci_function *f = &c->pci;
	struct pci_host *host = f->host;

	pci_function_init(f, &piix_ide_id);
	f->host = host;
	pci_function_bar(f, MASTER_BAR, &master, MASTER_AT);
	pci_set(f, PCI_STATUS, 2, 0x0280);
	pci_set(f, TIMING, 4, TIMING_DECODED | TIMING_DECODED << 16);
}

static void piix_ide_reset(struct dev *d)
{
	struct piix_ide *c = (struct piix_ide *)d;

	if (!c->pci.host)
		return;
	pci_function_unmap(&c->pci);
	set_config(c);
}

void piix_ide_add(struct piix_ide *c, struct pci_host *host)
{
	pci_host_add(host, &c->pci);
	piix_ide_reset(&c->dev);
}

static uint64_t piix_ide_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct piix_ide *c = (struct piix_ide *)d;

	return c->access(c->opaque, false, PIIX_IDE_APP + off, size, 0);
}

static void piix_ide_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct piix_ide *c = (struct piix_ide *)d;

	c->access(c->opaque, true, PIIX_IDE_APP + off, size, value);
}

const struct dev_class piix_ide_class = {"piix_ide", sizeof(struct piix_ide), 4, NULL, piix_ide_reset, piix_ide_read,
	piix_ide_write};
