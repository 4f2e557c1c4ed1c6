// SPDX-License-Identifier: MIT
//
// See dev/ahci.h: the registers, resets, the interrupt line (Serial ATA AHCI, "HBA Memory Registers").
#include "dev/ahci.h"

#include <stdlib.h>
#include <string.h>

enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10, PORTS_AT = 0x100, PORT_SIZE = 0x80 };
enum { CLB = 0x00, CLBU = 0x04, FB = 0x08, FBU = 0x0c, P_IS = 0x10, P_IE = 0x14, CMD = 0x18, TFD = 0x20, SIG = 0x24,
	SSTS = 0x28, SCTL = 0x2c, SERR = 0x30, SACT = 0x34, CI = 0x38 };
enum { GHC_RESET = BIT(0), GHC_INTERRUPTS = BIT(1), SCTL_DET = 15, DET_RESET = 1, CONNECTED = 0x113 /* 1.5 Gbit/s */ };
enum { CMD_WRITABLE = AHCI_START | AHCI_SPIN_UP | AHCI_POWER_ON | AHCI_FIS_ON | AHCI_ATAPI,
	CMD_AFTER_RESET = AHCI_SPIN_UP | AHCI_POWER_ON, SLOT_SHIFT = 8, SLOT_MASK = 0x1f00 };
enum { SERR_EXCHANGED = BIT(26), TFD_NONE = 0x7f, SIG_NONE = -1, VERSION = 0x10000 };
#define GHC_AHCI BIT(31)
// 64-bit addresses, native command queuing, overriding of busy, AHCI alone, the first generation, 32 slots
#define CAPABILITIES (BIT(31) | BIT(30) | BIT(24) | BIT(18) | BIT(20) | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1))

void ahci_update(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (a->port[i].is & a->port[i].ie)
			a->is |= BIT(i);
	irq_set(&a->irq, a->is && (a->ghc & GHC_INTERRUPTS));
}

static bool is_there(const struct ahci_port *p)
{
	return ide_is_there(&p->channel.drive[0]);
}

// What has been started goes to its end: its guest memory is given back after that.
static void drain(struct ahci_port *p)
{
	p->draining = true;
	while (p->running)
		pthread_cond_wait(&p->ahci->idle, &p->ahci->lock);
	p->draining = false;
}

static void stop_list(struct ahci_port *p)
{
	drain(p);
	p->ci = p->sact = 0;
	p->busy = p->failed = false;
	p->cmd &= ~(uint32_t)(AHCI_LIST_RUNS | SLOT_MASK);
}

// The link comes up: the drive says what it is.
static void connect(struct ahci_port *p)
{
	if (!is_there(p))
		return;
	ide_reset_drive(&p->channel.drive[0]);
	p->ssts = CONNECTED;
	p->serr |= SERR_EXCHANGED;
	p->is |= AHCI_CONNECTED;
	ahci_send_signature(p);
}

static void reset_link(struct ahci_port *p)
{
	stop_list(p);
	p->ssts = 0;
	p->sig = (uint32_t)SIG_NONE;
	p->tfd = TFD_NONE;
}

static void reset_port(struct ahci_port *p)
{
	reset_link(p);
	p->list = p->received = 0;
	p->is = p->ie = p->sctl = p->serr = 0;
	p->cmd = CMD_AFTER_RESET;
	connect(p);
	p->is = p->serr = 0;
}

static void reset_all(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		reset_port(&a->port[i]);
	a->ghc = GHC_AHCI;
	a->is = 0;
	ahci_update(a);
}

static void ahci_reset(struct dev *dev)
{
	struct ahci *a = (struct ahci *)dev;

	pthread_mutex_lock(&a->lock);
	reset_all(a);
	pthread_mutex_unlock(&a->lock);
}

static void write_cmd(struct ahci_port *p, uint32_t value)
{
	uint32_t was = p->cmd;

	p->cmd = (was & ~(uint32_t)CMD_WRITABLE) | (value & CMD_WRITABLE);
	if (!(value & AHCI_FIS_ON))
		p->cmd &= ~(uint32_t)AHCI_FIS_RUNS;
	else if (!(was & AHCI_FIS_RUNS)) {
		p->cmd |= AHCI_FIS_RUNS;
		if (p->ssts)
			ahci_send_signature(p);
	}
	if (value & AHCI_CLEAR_BUSY)
		p->tfd &= ~(uint32_t)(IDE_BSY | IDE_DRQ);
	if ((was & AHCI_START) && !(value & AHCI_START))
		stop_list(p);
	if (value & AHCI_START)
		p->cmd |= AHCI_LIST_RUNS;
}

static void write_sctl(struct ahci_port *p, uint32_t value)
{
	bool was = (p->sctl & SCTL_DET) == DET_RESET, is = (value & SCTL_DET) == DET_RESET;

	p->sctl = value & 0xfff;
	if (is && !was)
		reset_link(p);
	else if (was && !is)
		connect(p);
}

static void write_address(uint64_t *to, bool high, uint32_t value, uint32_t align)
{
	*to = high ? (uint32_t)*to | (uint64_t)value << 32 : (*to & ~(uint64_t)UINT32_MAX) | (value & ~(align - 1));
}

static void write_port(struct ahci_port *p, unsigned off, uint32_t value)
{
	bool starts = p->cmd & AHCI_START;

	switch (off) {
	case CLB: case CLBU: write_address(&p->list, off == CLBU, value, 1024); break;
	case FB: case FBU: write_address(&p->received, off == FBU, value, 256); break;
	case P_IS: p->is &= ~value; break;
	case P_IE: p->ie = value; break;
	case CMD: write_cmd(p, value); break;
	case SCTL: write_sctl(p, value); break;
	case SERR: p->serr &= ~value; break;
	case SACT: p->sact |= starts ? value : 0; break;
	case CI:
		p->ci |= starts ? value : 0;
		ahci_issue(p);
		break;
	}
}

static uint32_t read_port(const struct ahci_port *p, unsigned off)
{
	switch (off) {
	case CLB: return (uint32_t)p->list;
	case CLBU: return (uint32_t)(p->list >> 32);
	case FB: return (uint32_t)p->received;
	case FBU: return (uint32_t)(p->received >> 32);
	case P_IS: return p->is;
	case P_IE: return p->ie;
	case CMD: return p->cmd;
	case TFD: return p->tfd;
	case SIG: return p->sig;
	case SSTS: return p->ssts;
	case SCTL: return p->sctl;
	case SERR: return p->serr;
	case SACT: return p->sact;
	case CI: return p->ci;
	default: return 0;
	}
}

static uint32_t read_register(const struct ahci *a, unsigned off)
{
	if (off >= PORTS_AT)
		return (off - PORTS_AT) / PORT_SIZE < AHCI_PORTS ?
			read_port(&a->port[(off - PORTS_AT) / PORT_SIZE], off % PORT_SIZE) : 0;
	switch (off) {
	case CAP: return CAPABILITIES;
	case GHC: return a->ghc;
	case IS: return a->is;
	case PI: return BIT(AHCI_PORTS) - 1;
	case VS: return VERSION;
	default: return 0;
	}
}

static void write_register(struct ahci *a, unsigned off, uint32_t value)
{
	if (off >= PORTS_AT && (off - PORTS_AT) / PORT_SIZE < AHCI_PORTS)
		write_port(&a->port[(off - PORTS_AT) / PORT_SIZE], off % PORT_SIZE, value);
	else if (off == GHC && (value & GHC_RESET))
		reset_all(a);
	else if (off == GHC)
		a->ghc = GHC_AHCI | (value & GHC_INTERRUPTS);
	else if (off == IS)
		a->is &= ~value;
}

static uint64_t ahci_read(struct dev *dev, unsigned range, uint64_t off, unsigned size)
{
	struct ahci *a = (struct ahci *)dev;
	uint32_t value;

	pthread_mutex_lock(&a->lock);
	value = read_register(a, (unsigned)off & ~3u);
	pthread_mutex_unlock(&a->lock);
	return value >> 8 * (off & 3);
}

// Registers are written whole; parts of them are lost.
static void ahci_write(struct dev *dev, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct ahci *a = (struct ahci *)dev;

	if (size != 4 || off % 4)
		return;
	pthread_mutex_lock(&a->lock);
	write_register(a, (unsigned)off, (uint32_t)value);
	ahci_update(a);
	pthread_mutex_unlock(&a->lock);
}

static void ahci_init(struct dev *dev)
{
	struct ahci *a = (struct ahci *)dev;

	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->idle, NULL);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *p = &a->port[i];

		p->ahci = a;
		p->channel.ide = &a->ide;
		for (unsigned k = 0; k < 2; k++)
			p->channel.drive[k].channel = &p->channel;
		for (unsigned k = 0; k < AHCI_SLOTS; k++)
			p->command[k] = (struct ahci_command){.port = p, .slot = (uint8_t)k};
	}
}

void ahci_free(struct ahci *a)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		for (unsigned k = 0; k < AHCI_SLOTS; k++)
			free(a->port[i].command[k].iov);
	pthread_cond_destroy(&a->idle);
	pthread_mutex_destroy(&a->lock);
}

const struct dev_class ahci_class = {"ahci", sizeof(struct ahci), 4, ahci_init, ahci_reset, ahci_read, ahci_write};
