// SPDX-License-Identifier: MIT
//
// pci-testdev as QEMU's "pci-testdev" document has it: BAR 0 in memory, BAR 1 in ports, in both the same header. A
// number written to its first byte chooses a test and clears the count; a byte of the value that the header names,
// written where the header says, is counted; reading gives the header of the test that was chosen, byte by byte. The
// tests differ in how a host could take the write (at once, by an event of any value, by one of this value): here all
// are taken in the same way.
#include "chip/pci_testdev.h"

#include "base/string.h"

enum { MEMORY_SIZE = 4096, PORTS_SIZE = 256, KINDS = PCI_TESTDEV_TESTS / 2, MATCH = 0xfa, ANY_VALUE = 0xce, WIDTH = 1 };
enum { PLACE = PCI_DEVFN(31, 0), MEMORY_AT = 0xfebf0000, PORTS_AT = 0xc000 };

struct header { // as the guest reads it
	uint8_t test, width, pad0[2];
	uint32_t offset;
	uint8_t data, pad1[3];
	uint32_t count;
	char name[PCI_TESTDEV_NAME];
};

static const char names[PCI_TESTDEV_TESTS][PCI_TESTDEV_NAME] = {
	"mmio-no-eventfd", "mmio-wildcard-eventfd", "mmio-datamatch-eventfd",
	"portio-no-eventfd", "portio-wildcard-eventfd", "portio-datamatch-eventfd",
};

static bool takes_any(unsigned test)
{
	return test % KINDS == 1;
}

static void make_header(const struct pci_testdev *c, struct header *h)
{
	unsigned test = (unsigned)c->current;

	*h = (struct header){.test = (uint8_t)test, .width = WIDTH, .count = c->count,
		.offset = (test < KINDS ? MEMORY_SIZE : PORTS_SIZE) / 2 + test * WIDTH,
		.data = takes_any(test) ? ANY_VALUE : MATCH};
	memcpy(h->name, names[test], sizeof(h->name));
}

static uint64_t pci_testdev_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	const struct pci_testdev *c = (struct pci_testdev *)d;
	uint64_t value = 0;
	struct header h;

	if (c->current < 0 || off >= sizeof(h))
		return 0;
	make_header(c, &h);
	memcpy(&value, (const char *)&h + off, MIN(size, sizeof(h) - off));
	return value;
}

static void pci_testdev_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct pci_testdev *c = (struct pci_testdev *)d;
	struct header h;

	if (off == 0) {
		c->current = value < KINDS ? (int32_t)(value + range * KINDS) : -1;
		c->count = 0;
		return;
	}
	if (c->current < 0 || (unsigned)c->current / KINDS != range)
		return;
	make_header(c, &h);
	if (off == h.offset && (takes_any((unsigned)c->current) || (size == WIDTH && value == h.data)))
		c->count++;
}

static void pci_testdev_reset(struct dev *d)
{
	static const struct pci_identity id = {PLACE, 0x1b36, 0x0005, 0, 0x00ff00, 0, 0, 0x1af4, 0x1100};
	struct pci_testdev *c = (struct pci_testdev *)d;
	const struct pci_bar memory = {BUS_MMIO, MEMORY_SIZE, d, 0, 0}, ports = {BUS_PORT, PORTS_SIZE, d, 1, 0};
	struct pci_host *host = c->pci.host;

	c->current = -1;
	c->count = 0;
	if (!host)
		return;
	pci_function_unmap(&c->pci);
	pci_function_init(&c->pci, &id);
	c->pci.host = host;
	pci_function_bar(&c->pci, 0, &memory, MEMORY_AT);
	pci_function_bar(&c->pci, 1, &ports, PORTS_AT);
	pci_set(&c->pci, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY); // as firmware leaves it
	pci_function_place(&c->pci);
}

void pci_testdev_add(struct pci_testdev *c, struct pci_host *host)
{
	pci_host_add(host, &c->pci);
	pci_testdev_reset(&c->dev);
}

const struct dev_class pci_testdev_class = {"pci-testdev", sizeof(struct pci_testdev), 4, NULL, pci_testdev_reset,
	pci_testdev_read, pci_testdev_write};
