// SPDX-License-Identifier: MIT
//
// See dev/e1000.h: the registers, interrupts, resets ("Register Descriptions"). Most registers are memory, as far as
// the table says; those that do something are in the functions below it.
#include "dev/e1000.h"

#include <string.h>

enum { STATUS_LINK = BIT(1), STATUS_PLAIN = BIT(0) | BIT(7) | BIT(9), /* full, 1000 */
	CTRL_DEFAULT = BIT(0) | BIT(9) | BIT(11) | BIT(12) };
#define PHY_RESET BIT(31)
#define ADDRESS_VALID BIT(31)

// Bits that a write changes, of registers that are memory; those that are not here read as 0, but for those which
// read_register and write_register know.
static const struct {
	uint32_t off, writable;
} memory[] = {
	{0x00018, 0x0fffffff}, {0x0001c, ~0u}, {0x00028, ~0u}, {0x0002c, 0xffff}, {0x00030, 0xffff}, // CTRL_EXT, FLA, FC
	{E1000_VET, 0xffff}, {0x000c4, 0xffff}, {E1000_RCTL, 0x07f7ffff}, {0x00170, 0x8000ffff}, // ITR, FCTTV
	{0x00178, ~0u}, {0x00180, ~0u}, {E1000_TCTL, 0x07ffffff}, {0x00410, 0x3fffffff}, {0x00458, 0xffff}, // TXCW, TIPG
	{0x00e00, ~0u}, {E1000_PBA, 0xffff}, {0x02160, 0x8000fff8}, {0x02168, 0xfff8}, // LEDCTL, FCRTL, FCRTH
	{E1000_RDBAL, ~15u}, {E1000_RDBAH, ~0u}, {E1000_RDLEN, 0xfff80}, {E1000_RDH, 0xffff}, {E1000_RDT, 0xffff},
	{0x02820, 0xffff}, {0x02828, 0x0f3f3f3f}, {0x0282c, 0xffff}, {0x02c00, 0xfff}, // RDTR, RXDCTL, RADV, RSRPD
	{E1000_TDBAL, ~15u}, {E1000_TDBAH, ~0u}, {E1000_TDLEN, 0xfff80}, {E1000_TDH, 0xffff}, {E1000_TDT, 0xffff},
	{0x03000, 1}, {0x03820, 0xffff}, {0x03828, ~0u}, {0x0382c, 0xffff}, {0x03830, ~0u}, // TXDMAC, TIDV, TXDCTL, TADV
	{E1000_RXCSUM, 0x7ff},
};

static uint32_t writable_bits(unsigned off)
{
	if (off >= E1000_MTA && off < E1000_TABLES_END)
		return ~0u;
	for (size_t i = 0; i < ARRAY_SIZE(memory); i++)
		if (memory[i].off == off)
			return memory[i].writable;
	return 0;
}

static void update_line(struct e1000 *e)
{
	irq_set(&e->irq, e->icr & e->ims);
}

void e1000_raise(struct e1000 *e, uint32_t causes)
{
	e->icr |= causes;
	update_line(e);
}

void e1000_count(struct e1000 *e, unsigned off, uint64_t n)
{
	uint32_t *low = e1000_reg(e, off);
	uint64_t value;

	if (off != E1000_GORCL && off != E1000_GOTCL && off != E1000_TORL && off != E1000_TOTL) {
		*low = n > UINT32_MAX - *low ? UINT32_MAX : *low + (uint32_t)n;
		return;
	}
	memcpy(&value, low, sizeof(value));
	value = n > UINT64_MAX - value ? UINT64_MAX : value + n;
	memcpy(low, &value, sizeof(value));
}

uint32_t e1000_ring_size(struct e1000 *e, unsigned base)
{
	return *e1000_reg(e, base + E1000_RDLEN - E1000_RDBAL) / E1000_DESCRIPTOR;
}

uint8_t *e1000_descriptor(struct e1000 *e, unsigned base, uint32_t i)
{
	gpa_t at = *e1000_reg(e, base) | (uint64_t)*e1000_reg(e, base + 4) << 32;

	return mem_host(e->mem, at + (gpa_t)i * E1000_DESCRIPTOR, E1000_DESCRIPTOR);
}

void e1000_written(struct e1000 *e, const void *host, uint64_t size)
{
	if (e->will_write && size)
		e->will_write(e->opaque, mem_gpa(host), size);
}

// -- resets and the link

static void reset(struct e1000 *e)
{
	memset(e->reg, 0, sizeof(e->reg));
	e->icr = e->ims = 0;
	e->sending.begun = e->sending.complete = e->blocked = false;
	e->context = e->segmentation = (struct e1000_context){0};
	*e1000_reg(e, E1000_CTRL) = CTRL_DEFAULT;
	*e1000_reg(e, E1000_PBA) = 0x00100030;
	*e1000_reg(e, E1000_RA) = (uint32_t)(e->mac[0] | e->mac[1] << 8 | e->mac[2] << 16) | (uint32_t)e->mac[3] << 24;
	*e1000_reg(e, E1000_RA + 4) = (uint32_t)(e->mac[4] | e->mac[5] << 8) | ADDRESS_VALID; // out of the EEPROM
	e1000_media_reset(e);
	update_line(e);
}

static void e1000_reset(struct dev *dev)
{
	struct e1000 *e = (struct e1000 *)dev;

	pthread_mutex_lock(&e->lock);
	reset(e);
	pthread_mutex_unlock(&e->lock);
}

// -- registers

static uint32_t read_and_clear(uint32_t *value)
{
	uint32_t was = *value;

	*value = 0;
	return was;
}

static uint32_t read_register(struct e1000 *e, unsigned off)
{
	uint32_t value;

	switch (off) {
	case 0x00004: return *e1000_reg(e, E1000_CTRL); // a copy
	case E1000_STATUS: return STATUS_PLAIN | (e->link ? STATUS_LINK : 0);
	case E1000_EECD: return e1000_read_eecd(e);
	case E1000_IMS: return e->ims;
	case E1000_ICR:
		value = read_and_clear(&e->icr);
		update_line(e);
		return value;
	}
	if (off >= E1000_STATISTICS && off < E1000_STATISTICS_END)
		return read_and_clear(e1000_reg(e, off));
	return off < E1000_TABLES_END ? *e1000_reg(e, off) : 0;
}

static void write_ctrl(struct e1000 *e, uint32_t value)
{
	if (value & E1000_CTRL_RST) {
		reset(e);
		return;
	}
	*e1000_reg(e, E1000_CTRL) = value & ~(uint32_t)PHY_RESET;
	if (value & PHY_RESET)
		e1000_media_reset(e);
}

static void write_register(struct e1000 *e, unsigned off, uint32_t value)
{
	uint32_t may = writable_bits(off);

	switch (off) {
	case E1000_CTRL: case 0x00004: write_ctrl(e, value); return;
	case E1000_EECD: e1000_write_eecd(e, value); return;
	case E1000_EERD: e1000_write_eerd(e, value); return;
	case E1000_MDIC: e1000_write_mdic(e, value); return;
	case E1000_ICR: e->icr &= ~value; update_line(e); return;
	case E1000_ICS: e1000_raise(e, value & 0x1ffff); return;
	case E1000_IMS: e->ims |= value & 0x1ffff; update_line(e); return;
	case E1000_IMC: e->ims &= ~value; update_line(e); return;
	}
	if (!may)
		return;
	*e1000_reg(e, off) = value & may;
	if (off == E1000_TDT || off == E1000_TCTL)
		e1000_send(e);
	else if ((off == E1000_RDT || off == E1000_RCTL) && e->net)
		net_card_ready(e->net);
}

static uint64_t e1000_read(struct dev *dev, unsigned range, uint64_t off, unsigned size)
{
	struct e1000 *e = (struct e1000 *)dev;
	uint32_t value;

	pthread_mutex_lock(&e->lock);
	value = read_register(e, (unsigned)off & ~3u);
	pthread_mutex_unlock(&e->lock);
	return value >> 8 * (off & 3);
}

// Registers are written whole ("all accesses are 32 bits wide").
static void e1000_write(struct dev *dev, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct e1000 *e = (struct e1000 *)dev;

	if (size != 4 || off % 4)
		return;
	pthread_mutex_lock(&e->lock);
	write_register(e, (unsigned)off, (uint32_t)value);
	pthread_mutex_unlock(&e->lock);
}

// -- the network's side

static void enter(void *opaque)
{
	pthread_mutex_lock(&((struct e1000 *)opaque)->lock);
}

static void leave(void *opaque)
{
	pthread_mutex_unlock(&((struct e1000 *)opaque)->lock);
}

static bool receive(void *opaque, const struct net_frame *f)
{
	return e1000_receive(opaque, f);
}

// A batch has come: one interrupt for it, and another if the guest should give more buffers.
static void received(void *opaque)
{
	struct e1000 *e = opaque;
	uint32_t size = e1000_ring_size(e, E1000_RDBAL), head = *e1000_reg(e, E1000_RDH), tail = *e1000_reg(e, E1000_RDT);
	uint32_t left = size && head < size ? (tail + size - head) % size : 0;
	uint32_t least = size >> (1 + (*e1000_reg(e, E1000_RCTL) >> 8 & 3)); // RDMTS: half, a quarter, an eighth

	e1000_raise(e, E1000_RXT0 | (left < least ? E1000_RXDMT0 : 0));
}

static void sendable(void *opaque)
{
	struct e1000 *e = opaque;

	e->blocked = false;
	e1000_send(e);
}

static void link_changed(void *opaque, bool up)
{
	struct e1000 *e = opaque;

	e->link = up;
	e1000_media_link(e);
	e1000_raise(e, E1000_LSC);
}

void e1000_attach(struct e1000 *e, struct net *net)
{
	const struct net_card card = {enter, leave, receive, received, sendable, link_changed, e};

	e->net = net;
	e->link = net && net->up;
	e1000_reset(&e->dev);
	if (net)
		net_attach(net, &card);
}

static void e1000_init(struct dev *dev)
{
	pthread_mutex_init(&((struct e1000 *)dev)->lock, NULL);
}

void e1000_free(struct e1000 *e)
{
	if (e->net)
		net_attach(e->net, NULL);
	e->net = NULL;
	pthread_mutex_destroy(&e->lock);
}

const struct dev_class e1000_class = {"e1000", sizeof(struct e1000), 4, e1000_init, e1000_reset, e1000_read,
	e1000_write};
