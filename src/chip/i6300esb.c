// SPDX-License-Identifier: MIT
//
// Two registers in configuration space (how it counts, whether it runs), three in memory (the preloads of two stages,
// and the one that starts the first stage anew). A write of those in memory counts only after 0x80 and 0x86 were
// written to the last (Intel 6300ESB I/O Controller Hub datasheet, "Watchdog Timer"). The first interrupt is not
// built: drivers leave it off.
#include "chip/i6300esb.h"

#include "base/muldiv.h"

enum { SIZE = 16, PLACE = PCI_DEVFN(30, 0), MEMORY_AT = 0xfebe0000, CLOCK_HZ = 33000000, NS_PER_S = 1000000000 };
enum { CONFIG = 0x60, CONFIG_FAST = BIT(2), CONFIG_NO_REBOOT = BIT(5), LOCK = 0x68, LOCK_LOCKED = BIT(0),
	LOCK_ENABLE = BIT(1), LOCK_FREE_RUN = BIT(2) };
enum { TIMER_1 = 0, TIMER_2 = 4, RELOAD = 12, RELOAD_START = BIT(8), RELOAD_TIMED_OUT = BIT(9), PRELOAD = 0xfffff };
enum { SLOW_SHIFT = 15, FAST_SHIFT = 5, WORD_1 = 0x80, WORD_2 = 0x86 };

static void start(struct i6300esb *c, uint8_t stage)
{
	uint64_t clocks = (uint64_t)c->preload[stage] << (c->fast ? FAST_SHIFT : SLOW_SHIFT);
	struct bus *bus = c->dev.bus;

	c->stage = stage;
	timer_set(bus, &c->timer, c->enabled ? bus_now(bus) + 1 + muldiv64_up(clocks, NS_PER_S, CLOCK_HZ) : 0);
}

static void expire(void *opaque, uint64_t now)
{
	struct i6300esb *c = opaque;

	if (c->stage == 0) {
		start(c, 1);
		return;
	}
	c->timed_out = true;
	if (!c->no_reboot && c->bite)
		c->bite(c->opaque);
	if (c->free_run)
		start(c, 0);
}

static uint64_t i6300esb_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	const struct i6300esb *c = (struct i6300esb *)d;

	return off == RELOAD && c->timed_out ? RELOAD_TIMED_OUT : 0;
}

static void i6300esb_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct i6300esb *c = (struct i6300esb *)d;

	if (off == RELOAD && (value == WORD_1 || (value == WORD_2 && c->unlock == 1))) {
		c->unlock = value == WORD_1 ? 1 : 2;
		return;
	}
	if (c->unlock != 2)
		return;
	c->unlock = 0;
	if (off == TIMER_1 || off == TIMER_2)
		c->preload[off == TIMER_2] = value & PRELOAD;
	else if (off == RELOAD && (value & RELOAD_TIMED_OUT))
		c->timed_out = false;
	if (off == RELOAD && (value & RELOAD_START) && c->enabled)
		start(c, 0);
}

static void config_written(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	struct i6300esb *c = opaque;
	uint32_t config = pci_get(f, CONFIG, 2), lock = pci_get(f, LOCK, 1);
	bool was = c->enabled;

	c->no_reboot = config & CONFIG_NO_REBOOT;
	c->fast = config & CONFIG_FAST;
	if (off > LOCK || off + size <= LOCK || c->locked)
		return;
	c->locked = lock & LOCK_LOCKED;
	if (c->locked)
		f->writable[LOCK] = 0;
	c->free_run = lock & LOCK_FREE_RUN;
	c->enabled = lock & LOCK_ENABLE;
	if (c->enabled != was)
		start(c, 0); // or stop
}

static void i6300esb_reset(struct dev *d)
{
	static const struct pci_identity id = {PLACE, 0x8086, 0x25ab, 0, 0x088000, 0, 0, 0x1af4, 0x1100};
	struct i6300esb *c = (struct i6300esb *)d;
	const struct pci_bar memory = {BUS_MMIO, SIZE, d, 0, 0};
	struct pci_host *host = c->pci.host;

	c->preload[0] = c->preload[1] = PRELOAD;
	c->locked = c->enabled = c->free_run = c->no_reboot = c->fast = c->timed_out = false;
	c->unlock = 0;
	start(c, 0);
	if (!host)
		return;
	pci_function_unmap(&c->pci);
	pci_function_init(&c->pci, &id);
	c->pci.host = host;
	c->pci.written = config_written;
	c->pci.opaque = c;
	c->pci.writable[CONFIG] = 0x3f;
	c->pci.writable[LOCK] = LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE_RUN;
	pci_function_bar(&c->pci, 0, &memory, MEMORY_AT);
	pci_set(&c->pci, PCI_COMMAND, 2, PCI_COMMAND_MEMORY); // as firmware leaves it
	pci_function_place(&c->pci);
}

static void i6300esb_init(struct dev *d)
{
	struct i6300esb *c = (struct i6300esb *)d;

	timer_init(d->bus, &c->timer, expire, c);
}

void i6300esb_add(struct i6300esb *c, struct pci_host *host)
{
	pci_host_add(host, &c->pci);
	i6300esb_reset(&c->dev);
}

const struct dev_class i6300esb_class = {"i6300esb", sizeof(struct i6300esb), 4, i6300esb_init, i6300esb_reset,
	i6300esb_read, i6300esb_write};
