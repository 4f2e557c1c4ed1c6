// SPDX-License-Identifier: MIT
//
// A root port as QEMU's pcie-root-port is one (1b36:000c), with a window for memory below 4 GiB and none for ports or
// prefetchable memory, which a bridge may leave away. Until the guest gives it bus numbers nothing behind it is found.
// The slot has a button, a power controller and indicators that hold what is written; each command is obeyed at once,
// so that none is reported as completed. Interrupts are INTx. A slot without power has no device to be found.
#include "chip/pcie_port.h"

#include "base/string.h"

enum { BUS_PRIMARY = 0x18, BUS_SECONDARY = 0x19, BUS_SUBORDINATE = 0x1a, SECONDARY_STATUS = 0x1e, MEMORY_BASE = 0x20,
	MEMORY_LIMIT = 0x22, WINDOWS_END = 0x28, BRIDGE_CONTROL = 0x3e };
enum { SSVID = 0x40, SSVID_ID = 0x0d, EXP = 0x48, EXP_ID = 0x10, EXP_END = EXP + 0x3c };
enum { // of the Express capability
	EXP_FLAGS = EXP + 2, DEV_CAP = EXP + 4, DEV_CTL = EXP + 8, DEV_STA = EXP + 10, LNK_CAP = EXP + 12,
	LNK_CTL = EXP + 16, LNK_STA = EXP + 18, SLT_CAP = EXP + 20, SLT_CTL = EXP + 24, SLT_STA = EXP + 26,
	ROOT_CTL = EXP + 28, ROOT_STA = EXP + 32, LNK_CAP2 = EXP + 44, LNK_CTL2 = EXP + 48,
};
enum { FLAGS = 0x0142 /* version 2, root port, has a slot */, ROLE_BASED = BIT(15) };
enum { LINK = 0x11 /* 2.5 GT/s, one lane */, LINK_ACTIVE_REPORTED = BIT(20), LINK_ACTIVE = BIT(13), SPEEDS = BIT(1) };
enum { SLT_BUTTON = BIT(0), SLT_POWER = BIT(1), SLT_ATTENTION_LIGHT = BIT(3), SLT_POWER_LIGHT = BIT(4),
	SLT_HOTPLUG = BIT(6), SLT_NO_COMPLETED = BIT(18) };
enum { STA_BUTTON = BIT(0), STA_PRESENCE = BIT(3), STA_PRESENT = BIT(6), STA_LINK = BIT(8),
	STA_EVENTS = STA_BUTTON | BIT(1) | BIT(2) | STA_PRESENCE | BIT(4) | STA_LINK };
enum { CTL_INTERRUPT = BIT(5), CTL_LINK = BIT(12), CTL_POWER_OFF = BIT(10), CTL_LIGHTS_OFF = 0x3c0,
	CTL_POWER_LIT = 0x1c0, CTL_WRITABLE = 0x1fff };

static bool is_powered(const struct pcie_port *p)
{
	return !(pci_get(&p->pci, SLT_CTL, 2) & CTL_POWER_OFF);
}

bool pcie_port_leads_to(const struct pcie_port *p, unsigned bus)
{
	return bus && is_powered(p) && pci_get(&p->pci, BUS_SECONDARY, 1) == bus;
}

bool pcie_port_passes(const struct pcie_port *p, bool memory, uint32_t at, uint32_t size)
{
	uint32_t base = (pci_get(&p->pci, MEMORY_BASE, 2) & 0xfff0) << 16;
	uint32_t limit = (pci_get(&p->pci, MEMORY_LIMIT, 2) & 0xfff0) << 16 | 0xfffff;

	return memory && is_powered(p) && (pci_get(&p->pci, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) && at >= base &&
	       size - 1 <= limit && at <= limit - (size - 1);
}

static void place_those_behind(struct pcie_port *p)
{
	struct pci_host *host = p->pci.host;

	for (unsigned i = 0; host && i < host->nfunctions; i++)
		if (host->functions[i]->port == p)
			pci_function_place(host->functions[i]);
}

// The event that control enables for each status bit has the same place in both registers, but for the link's.
static void update_line(struct pcie_port *p)
{
	uint32_t control = pci_get(&p->pci, SLT_CTL, 2), status = pci_get(&p->pci, SLT_STA, 2);
	bool wanted = (status & control & STA_EVENTS & ~(uint32_t)STA_LINK) || (status & STA_LINK && control & CTL_LINK);
	bool raised = wanted && control & CTL_INTERRUPT;
	uint32_t old = pci_get(&p->pci, PCI_STATUS, 1);

	pci_set(&p->pci, PCI_STATUS, 1, (old & ~(uint32_t)PCI_STATUS_INTERRUPT) | (raised ? PCI_STATUS_INTERRUPT : 0));
	raised = raised && !(pci_get(&p->pci, PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF);
	if (p->line == raised)
		return;
	p->line = raised;
	p->line_changed(p->opaque);
}

// What is in the slot, and what has happened there: of `events` those that are of status bits.
static void set_slot(struct pcie_port *p, uint32_t events)
{
	bool active = p->occupied && is_powered(p), was = pci_get(&p->pci, LNK_STA, 2) & LINK_ACTIVE;
	uint32_t status = pci_get(&p->pci, SLT_STA, 2) & ~(uint32_t)STA_PRESENT;

	if (active != was)
		events |= STA_LINK;
	pci_set(&p->pci, LNK_STA, 2, LINK | (active ? LINK_ACTIVE : 0));
	pci_set(&p->pci, SLT_STA, 2, status | events | (p->occupied ? STA_PRESENT : 0));
	update_line(p);
}

static void port_written(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	struct pcie_port *p = opaque;

	if (off < PCI_COMMAND + 2 || (off < WINDOWS_END && off + size > BUS_PRIMARY))
		place_those_behind(p);
	if (off < SLT_CTL + 2 && off + size > SLT_CTL) {
		place_those_behind(p);
		if (p->occupied && !is_powered(p) && p->powered_off)
			p->powered_off(p->opaque, p, p->asked);
		set_slot(p, 0);
	}
	update_line(p);
}

static void put_capabilities(struct pcie_port *p)
{
	const struct pcie_port_place *at = &p->place;
	struct pci_function *f = &p->pci;
	static const struct {
		uint8_t off, size;
		uint32_t bits;
	} writable[] = {
		{DEV_CTL, 2, 0x7fff}, {LNK_CTL, 2, 0x0fdb}, {SLT_CTL, 2, CTL_WRITABLE}, {ROOT_CTL, 2, 0x1f}, {LNK_CTL2, 2, 0xf},
	}, clearable[] = { {DEV_STA, 1, 0x0f}, {SLT_STA, 2, STA_EVENTS}, {ROOT_STA + 2, 1, 1} };

	memset(f->writable + PCI_DEVICE_SPECIFIC, 0, PCI_CONFIG_SIZE - PCI_DEVICE_SPECIFIC);
	pci_set(f, PCI_CAPABILITIES, 1, SSVID);
	pci_set(f, PCI_STATUS, 1, PCI_STATUS_CAPABILITIES);
	pci_set(f, SSVID, 2, SSVID_ID | EXP << 8);
	pci_set(f, SSVID + 4, 4, 0x1af4 | 0x1100u << 16);
	pci_set(f, EXP, 2, EXP_ID);
	pci_set(f, EXP_FLAGS, 2, FLAGS);
	pci_set(f, DEV_CAP, 4, ROLE_BASED);
	pci_set(f, LNK_CAP, 4, LINK | LINK_ACTIVE_REPORTED | (uint32_t)at->number << 24);
	pci_set(f, LNK_STA, 2, LINK);
	pci_set(f, SLT_CAP, 4, SLT_BUTTON | SLT_POWER | SLT_ATTENTION_LIGHT | SLT_POWER_LIGHT | SLT_HOTPLUG |
		SLT_NO_COMPLETED | (uint32_t)(at->slot & 0x1fff) << 19);
	pci_set(f, LNK_CAP2, 4, SPEEDS);
	pci_set(f, LNK_CTL2, 2, 1);
	for (size_t i = 0; i < ARRAY_SIZE(writable); i++)
		for (unsigned k = 0; k < writable[i].size; k++)
			f->writable[writable[i].off + k] = writable[i].bits >> (8 * k);
	for (size_t i = 0; i < ARRAY_SIZE(clearable); i++)
		for (unsigned k = 0; k < clearable[i].size; k++)
			f->clearable[clearable[i].off + k] = clearable[i].bits >> (8 * k);
}

void pcie_port_reset(struct pcie_port *p)
{
	const struct pci_identity id = {p->place.devfn, 0x1b36, 0x000c, 0, 0x060400, p->place.multifunction ? 0x81 : 0x01,
		1, 0, 0};
	struct pci_function *f = &p->pci;

	pci_function_preset(f, &id, NULL, 0);
	pci_set(f, 0x2c, 4, 0); // a type 1 header has other things there
	memset(f->writable + PCI_BAR0, 0, PCI_CAPABILITIES - PCI_BAR0);
	memset(f->writable + BUS_PRIMARY, 0xff, 3);
	f->writable[MEMORY_BASE] = f->writable[MEMORY_LIMIT] = 0xf0;
	f->writable[MEMORY_BASE + 1] = f->writable[MEMORY_LIMIT + 1] = 0xff;
	pci_set(f, MEMORY_BASE, 2, 0xfff0); // no window
	f->writable[BRIDGE_CONTROL] = 0x5f;
	f->clearable[SECONDARY_STATUS + 1] = 0xf9;
	pci_set(f, PCI_INTERRUPT_LINE, 1, pci_function_line(f));
	put_capabilities(p);
	p->asked = false;
	pci_set(f, SLT_CTL, 2, p->occupied ? CTL_POWER_LIT : CTL_LIGHTS_OFF | CTL_POWER_OFF);
	set_slot(p, 0);
	pci_set(f, SLT_STA, 2, pci_get(f, SLT_STA, 2) & STA_PRESENT); // nothing has happened yet
	update_line(p);
}

void pcie_port_add(struct pcie_port *p, struct pci_host *host)
{
	pci_host_add(host, &p->pci);
	p->pci.written = port_written;
	p->pci.opaque = p;
	pcie_port_reset(p);
}

void pcie_port_plugged(struct pcie_port *p)
{
	p->occupied = true;
	p->asked = false;
	set_slot(p, STA_PRESENCE | STA_BUTTON);
}

void pcie_port_press(struct pcie_port *p)
{
	p->asked = true;
	set_slot(p, STA_BUTTON);
}

void pcie_port_emptied(struct pcie_port *p)
{
	p->occupied = p->asked = false;
	set_slot(p, STA_PRESENCE);
}
