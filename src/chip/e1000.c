// SPDX-License-Identifier: MIT
//
// See chip/e1000.h.
#include "chip/e1000.h"

enum { REGISTERS_BAR = 0, PORTS_BAR = 1, REGISTERS_AT = 0xfe200000, PORTS_AT = 0xc100, PORTS = 0x40, CLASS = 0x020000 };
enum { RANGE_REGISTERS, RANGE_PORTS, PORT_ADDRESS = 0, PORT_DATA = 4 };

// As firmware leaves it: the registers decoded once the guest says so.
static void set_config(struct e1000_function *c)
{
	const struct pci_identity id = {c->devfn, 0x8086, 0x100e, 0x03, CLASS, 0x00, 1, 0x1af4, 0x1100};
	const struct pci_bar registers = {BUS_MMIO, E1000_APP_LEN, &c->dev, RANGE_REGISTERS, 0};
	const struct pci_bar ports = {BUS_PORT, PORTS, &c->dev, RANGE_PORTS, 0};
	struct pci_function *f = &c->pci;
	struct pci_host *host = f->host;

	pci_function_init(f, &id);
	f->host = host;
	pci_function_bar(f, REGISTERS_BAR, &registers, REGISTERS_AT + c->index * E1000_APP_LEN);
	pci_function_bar(f, PORTS_BAR, &ports, PORTS_AT + c->index * PORTS);
	pci_set(f, PCI_INTERRUPT_LINE, 1, pci_intx_line(c->devfn));
	c->address = 0;
}

static void e1000_function_reset(struct dev *d)
{
	struct e1000_function *c = (struct e1000_function *)d;

	if (!c->pci.host)
		return;
	pci_function_unmap(&c->pci);
	set_config(c);
}

void e1000_function_add(struct e1000_function *c, unsigned index, uint8_t devfn, struct pci_host *host)
{
	c->index = index;
	c->devfn = devfn;
	pci_host_add(host, &c->pci);
	e1000_function_reset(&c->dev);
}

static uint64_t to_app(struct e1000_function *c, bool write, uint64_t off, unsigned size, uint64_t value)
{
	return c->access(c->opaque, write, E1000_APP + c->index * E1000_APP_LEN + off, size, value);
}

static uint64_t e1000_function_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct e1000_function *c = (struct e1000_function *)d;

	if (range == RANGE_REGISTERS)
		return to_app(c, false, off, size, 0);
	if (off == PORT_ADDRESS && size == 4)
		return c->address;
	return off == PORT_DATA && size == 4 && c->address < E1000_APP_LEN ? to_app(c, false, c->address, 4, 0) : 0;
}

static void e1000_function_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct e1000_function *c = (struct e1000_function *)d;

	if (range == RANGE_REGISTERS)
		to_app(c, true, off, size, value);
	else if (off == PORT_ADDRESS && size == 4)
		c->address = (uint32_t)value;
	else if (off == PORT_DATA && size == 4 && c->address < E1000_APP_LEN)
		to_app(c, true, c->address, 4, value);
}

const struct dev_class e1000_function_class = {"e1000_function", sizeof(struct e1000_function), 4, NULL,
	e1000_function_reset, e1000_function_read, e1000_function_write};
