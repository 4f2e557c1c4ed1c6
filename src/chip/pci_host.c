// SPDX-License-Identifier: MIT
//
// PCI configuration space by mechanism #1 (PCI Local Bus Specification, "Software Generation of Configuration
// Transactions"): the address is latched by a 32-bit write to 0xcf8 only; 0xcfc to 0xcff are the four bytes of the
// register that it names. A function that does not exist reads all ones. Buses behind root ports have the numbers that
// the guest has given to these (chip/pcie_port.c). Byte writes to 0xcf9 go to the reset control
// register of the PIIX3 instead.
#include "chip/pci_host.h"

#include "base/assert.h"
#include "base/string.h"
#include "chip/pcie_port.h"

enum { ADDRESS = 0, RESET_CONTROL = 1, DATA = 4 };
enum { RESET_CPU = BIT(2), RESET_KEPT = BIT(1) };
#define ADDRESS_ENABLE 0x80000000u

enum { PCI_CACHE_LINE = 12, PCI_LATENCY = 13, BAR_IO = BIT(0) };
enum { COMMAND_WRITABLE = 0x0547 /* IO, memory, master, parity, SERR, INTx off */,
	STATUS_CLEARABLE = 0xf9 /* high byte */ };

uint32_t pci_get(const struct pci_function *f, unsigned off, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)f->config[(off + i) % PCI_CONFIG_SIZE] << (8 * i);
	return value;
}

void pci_set(struct pci_function *f, unsigned off, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++)
		f->config[(off + i) % PCI_CONFIG_SIZE] = value >> (8 * i);
}

void pci_function_init(struct pci_function *f, const struct pci_identity *id)
{
	memset(f, 0, sizeof(*f));
	f->devfn = id->devfn;
	pci_set(f, 0x00, 2, id->vendor);
	pci_set(f, 0x02, 2, id->device);
	pci_set(f, 0x08, 1, id->revision);
	pci_set(f, 0x09, 3, id->class_code);
	pci_set(f, 0x0e, 1, id->header_type);
	pci_set(f, 0x2c, 2, id->subsystem_vendor);
	pci_set(f, 0x2e, 2, id->subsystem);
	pci_set(f, 0x3d, 1, id->interrupt_pin);
	f->writable[PCI_COMMAND] = COMMAND_WRITABLE & 0xff;
	f->writable[PCI_COMMAND + 1] = COMMAND_WRITABLE >> 8;
	f->clearable[PCI_STATUS + 1] = STATUS_CLEARABLE;
	f->writable[PCI_CACHE_LINE] = f->writable[PCI_LATENCY] = f->writable[PCI_INTERRUPT_LINE] = 0xff;
	memset(f->writable + PCI_DEVICE_SPECIFIC, 0xff, PCI_CONFIG_SIZE - PCI_DEVICE_SPECIFIC);
}

void pci_function_preset(struct pci_function *f, const struct pci_identity *id, const struct pci_preset *p,
			 size_t count)
{
	struct pci_function old = *f;

	pci_function_init(f, id);
	f->host = old.host;
	f->port = old.port;
	f->written = old.written;
	f->opaque = old.opaque;
	for (size_t i = 0; i < count; i++)
		pci_set(f, p[i].off, p[i].size, p[i].value);
}

void pci_function_bar(struct pci_function *f, unsigned n, const struct pci_bar *bar, uint32_t at)
{
	uint32_t flags = bar->space == BUS_PORT ? BAR_IO : 0;

	ASSERT(n < PCI_BARS && bar->size >= 16 && !(bar->size & (bar->size - 1)));
	f->bar[n] = *bar;
	f->bar[n].mapped = 0;
	pci_set(f, PCI_BAR0 + 4 * n, 4, at | flags);
	for (unsigned i = 0; i < 4; i++)
		f->writable[PCI_BAR0 + 4 * n + i] = ~(bar->size - 1) >> (8 * i);
}

static uint32_t bar_wanted(const struct pci_function *f, unsigned n)
{
	const struct pci_bar *bar = &f->bar[n];
	uint32_t at = pci_get(f, PCI_BAR0 + 4 * n, 4) & ~(bar->size - 1);
	uint32_t decode = bar->space == BUS_PORT ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	if (f->port && !pcie_port_passes(f->port, bar->space == BUS_MMIO, at, bar->size))
		return 0;
	if (!(pci_get(f, PCI_COMMAND, 2) & decode) || (bar->space == BUS_PORT && at > 0xffff))
		return 0;
	return at;
}

void pci_function_place(struct pci_function *f)
{
	struct bus *b = f->host ? f->host->dev.bus : NULL;

	for (unsigned i = 0; b && i < PCI_BARS; i++) {
		struct pci_bar *bar = &f->bar[i];
		uint32_t at = bar->size ? bar_wanted(f, i) : 0;

		if (!bar->size || at == bar->mapped)
			continue;
		if (bar->mapped)
			bus_remove_range(b, bar->dev, bar->range);
		bar->mapped = at && !bus_add(b, bar->space, at, bar->size, bar->dev, bar->range) ? at : 0;
	}
}

void pci_function_unmap(struct pci_function *f)
{
	pci_set(f, PCI_COMMAND, 2, 0);
	pci_function_place(f);
}

void pci_host_add(struct pci_host *c, struct pci_function *f)
{
	ASSERT(c->nfunctions < PCI_FUNCTIONS_MAX);
	f->host = c;
	c->functions[c->nfunctions++] = f;
}

void pci_host_remove(struct pci_host *c, struct pci_function *f)
{
	unsigned i = 0;

	pci_function_unmap(f);
	while (i < c->nfunctions && c->functions[i] != f)
		i++;
	if (i == c->nfunctions)
		return;
	c->nfunctions--;
	for (; i < c->nfunctions; i++)
		c->functions[i] = c->functions[i + 1];
}

unsigned pci_intx_line(uint8_t devfn)
{
	static const uint8_t lines[] = {10, 10, 11, 11};

	return lines[((devfn >> 3) + ARRAY_SIZE(lines) - 1) % ARRAY_SIZE(lines)];
}

unsigned pci_function_line(const struct pci_function *f)
{
	return pci_intx_line(f->port ? f->port->pci.devfn : f->devfn);
}

struct pci_function *pci_host_find(const struct pci_host *c, unsigned bus, unsigned devfn)
{
	for (unsigned i = 0; i < c->nfunctions; i++)
		if (c->functions[i]->devfn == devfn &&
		    (c->functions[i]->port ? pcie_port_leads_to(c->functions[i]->port, bus) : !bus))
			return c->functions[i];
	return NULL;
}

static struct pci_function *pci_selected(const struct pci_host *c)
{
	if (!(c->address & ADDRESS_ENABLE))
		return NULL;
	return pci_host_find(c, c->address >> 16 & 0xff, c->address >> 8 & 0xff);
}

uint32_t pci_function_read(struct pci_function *f, unsigned off, unsigned size)
{
	if (f->reading)
		f->reading(f->opaque, f, off, size);
	return pci_get(f, off, size);
}

void pci_function_write(struct pci_function *f, unsigned off, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++) {
		uint8_t byte = value >> (8 * i), *reg = &f->config[off + i];

		*reg = (*reg & ~f->writable[off + i]) | (byte & f->writable[off + i]);
		*reg &= ~(byte & f->clearable[off + i]);
	}
	if (off < PCI_COMMAND + 2 || (off < PCI_BAR0 + 4 * PCI_BARS && off + size > PCI_BAR0))
		pci_function_place(f);
	if (f->written)
		f->written(f->opaque, f, off, size);
}

static void reset_control_write(struct pci_host *c, uint8_t value)
{
	bool was = c->reset_control & RESET_CPU;

	c->reset_control = value & (RESET_KEPT | RESET_CPU);
	if ((value & RESET_CPU) && !was && c->reset)
		c->reset(c->opaque);
	c->reset_control &= RESET_KEPT;
}

// The register's lower two bits count, as QEMU has it: software that reads 0xcfc only relies on that.
static unsigned selected_register(const struct pci_host *c, uint64_t off, unsigned size)
{
	return MIN((c->address & 0xff) | (unsigned)(off - DATA), PCI_CONFIG_SIZE - size);
}

static uint64_t pci_host_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct pci_host *c = (struct pci_host *)d;
	struct pci_function *f;

	if (off == RESET_CONTROL && size == 1)
		return c->reset_control;
	if (c->absent)
		return UINT64_MAX;
	if (off < DATA)
		return off == ADDRESS && size == 4 ? c->address : UINT64_MAX;
	f = pci_selected(c);
	return f ? pci_function_read(f, selected_register(c, off, size), size) : UINT64_MAX;
}

static void pci_host_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct pci_host *c = (struct pci_host *)d;
	struct pci_function *f;

	if (off == ADDRESS && size == 4)
		c->address = value & 0x80ffffff;
	else if (off == RESET_CONTROL && size == 1)
		reset_control_write(c, value);
	if (off < DATA)
		return;
	f = pci_selected(c);
	if (f)
		pci_function_write(f, selected_register(c, off, size), size, value);
}

static void pci_host_reset(struct dev *d)
{
	struct pci_host *c = (struct pci_host *)d;

	c->address = 0;
	c->reset_control = 0;
}

const struct dev_class pci_host_class = {"pci_host", sizeof(struct pci_host), 4, NULL, pci_host_reset, pci_host_read,
	pci_host_write};
