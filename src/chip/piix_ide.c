// SPDX-License-Identifier: MIT
//
// See chip/piix_ide.h.
#include "chip/piix_ide.h"

#include <stdatomic.h>

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

static struct ide_window *window_of(const struct piix_ide *c, unsigned range)
{
	return c->window && range != PIIX_IDE_RANGE_MASTER ? &c->window[(range - PIIX_IDE_RANGE_COMMAND) & 1] : NULL;
}

static bool is_control(unsigned range)
{
	return range >= PIIX_IDE_RANGE_CONTROL;
}

// Where the app has the register.
static uint64_t app_port(unsigned range, uint64_t off)
{
	static const uint16_t at[] = {0x1f0, 0x170, 0x3f6, 0x376};

	return range == PIIX_IDE_RANGE_MASTER ? PIIX_IDE_APP + off : at[range - PIIX_IDE_RANGE_COMMAND] + off;
}

static bool has_data(const struct ide_window *w, bool to_drive, unsigned size)
{
	return atomic_load_explicit(&w->end, memory_order_acquire) > w->at + size && w->to_drive == to_drive;
}

static uint64_t piix_ide_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct piix_ide *c = (struct piix_ide *)d;
	struct ide_window *w = window_of(c, range);
	uint64_t value = 0;

	if (w && !is_control(range) && off == IDE_DATA && has_data(w, false, size)) {
		__builtin_memcpy(&value, w->data + w->at, size);
		w->at += size;
		return value;
	}
	if (w && !is_control(range) && size == 1 && off >= IDE_FEATURE && off <= IDE_DEVICE && !w->nposts)
		return w->task[off];
	if (w && size == 1 && (is_control(range) || off == IDE_STATUS)) {
		value = atomic_load_explicit(&w->status, memory_order_acquire);
		if (is_control(range) || !(value & IDE_STATUS_ASK))
			return value & 0xff;
	}
	return c->access(c->opaque, false, app_port(range, off), size, 0);
}

// Is the value nobody's business before the next access that the app hears of?
static bool can_wait(const struct ide_window *w, uint64_t reg, uint64_t value)
{
	if (w->nposts == IDE_POSTS || reg < IDE_FEATURE || reg > IDE_DEVICE ||
	    atomic_load_explicit(&w->status, memory_order_acquire) & IDE_BUSY)
		return false;
	return reg != IDE_DEVICE || !!(value & IDE_SECOND) == w->second;
}

static void piix_ide_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct piix_ide *c = (struct piix_ide *)d;
	struct ide_window *w = window_of(c, range);

	if (w && !is_control(range) && off == IDE_DATA && has_data(w, true, size)) {
		__builtin_memcpy(w->data + w->at, &value, size);
		w->at += size;
	} else if (w && !is_control(range) && size == 1 && can_wait(w, off, value)) {
		w->post[w->nposts++] = (struct ide_post){(uint8_t)off, (uint8_t)value};
	} else {
		c->access(c->opaque, true, app_port(range, off), size, value);
	}
}

const struct dev_class piix_ide_class = {"piix_ide", sizeof(struct piix_ide), 4, NULL, piix_ide_reset, piix_ide_read,
	piix_ide_write};
