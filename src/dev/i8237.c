// SPDX-License-Identifier: MIT
//
// Intel 8237A after its data sheet: registers of both controllers, and transfers of single bytes on the first one. The
// second one, for words, has no device here. Memory that is not RAM reads as ones and drops what is written.
#include "dev/i8237.h"

enum { COMMAND = 8, REQUEST, MASK_ONE, MODE, CLEAR_HIGH, MASTER_CLEAR, CLEAR_MASK, MASK_ALL };
enum { COMMAND_OFF = BIT(2), MODE_AUTO = BIT(4), MODE_DOWN = BIT(5), ONE_SET = BIT(2) };
enum { TRANSFER_VERIFY, TRANSFER_TO_MEMORY, TRANSFER_FROM_MEMORY };

static const uint8_t page_of[I8237_CHANNELS] = {7, 3, 1, 2}; // its port, from 0x80 on

static void clear(struct i8237_chip *c)
{
	c->command = c->request = c->ended = 0;
	c->mask = 0xf;
	c->high = false;
}

static uint64_t read_chip(struct i8237_chip *c, unsigned reg)
{
	const struct i8237_channel *ch = &c->channel[reg / 2 % I8237_CHANNELS];
	uint16_t value = reg & 1 ? ch->count : ch->address;
	uint8_t status;

	if (reg < COMMAND) {
		c->high = !c->high;
		return c->high ? value & 0xff : value >> 8;
	}
	if (reg == MASK_ALL)
		return 0xf0 | c->mask;
	if (reg != COMMAND)
		return 0;
	status = (uint8_t)(c->ended | c->request << 4);
	c->ended = 0;
	return status;
}

static void put_half(uint16_t *to, bool high, uint8_t value)
{
	*to = high ? (uint16_t)((*to & 0xff) | value << 8) : (uint16_t)((*to & 0xff00) | value);
}

static void set_bit(uint8_t *bits, uint8_t value)
{
	uint8_t bit = (uint8_t)(1 << (value & 3));

	*bits = value & ONE_SET ? *bits | bit : (uint8_t)(*bits & ~bit);
}

static void write_chip(struct i8237_chip *c, unsigned reg, uint8_t value)
{
	struct i8237_channel *ch = &c->channel[reg / 2 % I8237_CHANNELS];

	if (reg < COMMAND) {
		put_half(reg & 1 ? &ch->base_count : &ch->base_address, c->high, value);
		ch->address = reg & 1 ? ch->address : ch->base_address;
		ch->count = reg & 1 ? ch->base_count : ch->count;
		c->high = !c->high;
		return;
	}
	switch (reg) {
	case COMMAND: c->command = value; break;
	case REQUEST: set_bit(&c->request, value); break;
	case MASK_ONE: set_bit(&c->mask, value); break;
	case MODE: c->channel[value & 3].mode = value; break;
	case CLEAR_HIGH: c->high = false; break;
	case MASTER_CLEAR: clear(c); break;
	case CLEAR_MASK: c->mask = 0; break;
	case MASK_ALL: c->mask = value & 0xf; break;
	}
}

// The word controller's registers are two ports apart.
static uint64_t i8237_read(struct dev *dev, unsigned range, uint64_t off, unsigned size)
{
	struct i8237 *d = (struct i8237 *)dev;

	if (range == I8237_RANGE_PAGES)
		return d->page[off + 1];
	return read_chip(&d->chip[range], (unsigned)(range == I8237_RANGE_WORDS ? off / 2 : off));
}

static void i8237_write(struct dev *dev, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct i8237 *d = (struct i8237 *)dev;

	if (range == I8237_RANGE_PAGES)
		d->page[off + 1] = (uint8_t)value;
	else
		write_chip(&d->chip[range], (unsigned)(range == I8237_RANGE_WORDS ? off / 2 : off), (uint8_t)value);
}

static void move_byte(struct i8237 *d, gpa_t gpa, unsigned kind, uint8_t *byte)
{
	uint8_t *at = mem_host(d->mem, gpa, 1);

	if (kind == TRANSFER_FROM_MEMORY)
		*byte = at ? *at : 0xff;
	else if (kind == TRANSFER_TO_MEMORY && at)
		*at = *byte;
}

unsigned i8237_move(struct i8237 *d, unsigned n, bool to_memory, uint8_t *bytes, unsigned size, bool *ended)
{
	struct i8237_chip *c = &d->chip[0];
	struct i8237_channel *ch = &c->channel[n];
	unsigned kind = ch->mode >> 2 & 3, bit = 1u << n, done = 0;
	gpa_t page = (gpa_t)d->page[page_of[n]] << 16;

	*ended = false;
	if (c->command & COMMAND_OFF || c->mask & bit || kind == (to_memory ? TRANSFER_FROM_MEMORY : TRANSFER_TO_MEMORY))
		return 0;
	if (to_memory && d->will_write) // the address wraps within its 64 KiB
		d->will_write(d->opaque, page, 64 << 10);
	while (done < size && !*ended) {
		move_byte(d, page | ch->address, kind, &bytes[done++]);
		ch->address += ch->mode & MODE_DOWN ? -1 : 1;
		*ended = ch->count-- == 0;
	}
	if (*ended) {
		c->ended |= bit;
		c->request &= (uint8_t)~bit;
		if (ch->mode & MODE_AUTO) {
			ch->address = ch->base_address;
			ch->count = ch->base_count;
		} else {
			c->mask |= bit;
		}
	}
	return done;
}

static void i8237_reset(struct dev *dev)
{
	struct i8237 *d = (struct i8237 *)dev;

	clear(&d->chip[0]);
	clear(&d->chip[1]);
}

const struct dev_class i8237_class = {"i8237", sizeof(struct i8237), 1, NULL, i8237_reset, i8237_read, i8237_write};
