// SPDX-License-Identifier: MIT
//
// See dev/ide.h: the channels' registers, transfers by programmed I/O, the bus master.
#include "dev/ide.h"

#include <stdatomic.h>
#include <string.h>

enum { DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS }; // registers; FEATURE and COMMAND when written
enum { CONTROL_NIEN = BIT(1), CONTROL_SRST = BIT(2), CONTROL_HOB = BIT(7), DEVICE_SELECT = BIT(4), DEVICE_ONES = 0xa0 };
enum { BM_START = BIT(0), BM_TO_MEMORY = BIT(3), BM_ACTIVE = BIT(0), BM_ERROR = BIT(1), BM_INTERRUPT = BIT(2),
	BM_CAPABLE = 0x60 };
enum { PRD_SIZE = 8, PRDS_MAX = 8192, PRD_LAST = BIT(7), COMMAND_DEVICE_RESET = 0x08, COMMAND_DIAGNOSE = 0x90 };

static void update_line(struct ide_channel *c, bool level)
{
	c->line = level && !(c->control & CONTROL_NIEN);
	irq_set(&c->irq, c->line);
}

void ide_interrupt(struct ide_drive *d)
{
	struct ide_channel *c = d->channel;

	c->bm_status |= BM_INTERRUPT;
	update_line(c, true);
}

void ide_abort(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC | IDE_ERR;
	d->error = IDE_ABORTED;
	d->at = d->end = 0;
	d->dma_waits = false;
	ide_interrupt(d);
}

void ide_end(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC;
	d->error = 0;
	d->at = d->end = 0;
	ide_interrupt(d);
}

static void start_block(struct ide_drive *d, uint32_t size, bool to_drive, void (*done)(struct ide_drive *d))
{
	d->at = 0;
	d->end = size;
	d->to_drive = to_drive;
	d->block_done = done;
	d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
	d->error = 0;
}

void ide_put(struct ide_drive *d, uint32_t size, void (*done)(struct ide_drive *d))
{
	start_block(d, size, false, done);
}

void ide_take(struct ide_drive *d, uint32_t size, void (*done)(struct ide_drive *d))
{
	start_block(d, size, true, done);
}

int ide_image(struct ide_drive *d, enum block_op op, uint64_t offset, struct iovec *iov, unsigned n, uint64_t size)
{
	struct block_request r = {.op = op, .offset = offset, .size = size, .iov = iov, .niov = n};

	if (!d->image || (size && (offset > d->image->size || size > d->image->size - offset)))
		return -1;
	if (op != BLOCK_READ && d->image->readonly)
		return -1;
	return d->channel->ide->run(d->image, &r, 0);
}

void ide_signature(struct ide_drive *d)
{
	bool packet = d->cdrom;

	d->r.count[0] = d->r.low[0] = 1;
	d->r.mid[0] = packet ? 0x14 : 0;
	d->r.high[0] = packet ? 0xeb : 0;
	if (!ide_is_there(d))
		d->r = (struct ide_regs){.feature = {0}};
}

void ide_text(uint8_t *to, const char *text, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i ^ 1] = *text ? (uint8_t)*text++ : ' ';
}

// -- the bus master

unsigned ide_dma_segments(struct ide_channel *c, uint64_t skip, uint64_t size, struct iovec *iov, unsigned room,
			  uint64_t *done, bool to_guest)
{
	const struct mem *mem = c->ide->mem;
	unsigned n = 0;

	*done = 0;
	if (c->segments)
		return c->segments(c, skip, size, iov, room, done, to_guest);
	for (unsigned i = 0; i < PRDS_MAX && n < room && *done < size; i++) {
		const uint8_t *prd = mem_host(mem, c->bm_table + i * PRD_SIZE, PRD_SIZE);
		uint32_t gpa, len;
		bool last;
		void *at;

		if (!prd)
			return 0;
		memcpy(&gpa, prd, 4);
		len = prd[4] | (uint32_t)prd[5] << 8;
		last = prd[7] & PRD_LAST;
		gpa &= ~1u;
		len = len & ~1u ? len & ~1u : 64 << 10;
		if (skip < len) {
			uint32_t part = (uint32_t)MIN(len - skip, size - *done);

			at = mem_host(mem, gpa + skip, part);
			if (!at)
				return 0;
			if (to_guest && c->ide->will_write)
				c->ide->will_write(c->ide->opaque, gpa + skip, part);
			iov[n++] = (struct iovec){at, part};
			*done += part;
			skip = 0;
		} else {
			skip -= len;
		}
		if (last)
			break;
	}
	return n;
}

static void run_dma(struct ide_channel *c)
{
	struct ide_drive *d = &c->drive[c->selected];

	if (!(c->bm_command & BM_START) || !ide_is_there(d) || !d->dma_waits)
		return;
	d->dma_waits = false;
	if (d->cdrom)
		ide_cdrom_dma(d);
	else
		ide_disk_dma(d);
	c->bm_status &= (uint8_t)~BM_ACTIVE;
	if (d->status & IDE_ERR)
		c->bm_status |= BM_ERROR;
}

static uint8_t bm_read(struct ide_channel *c, unsigned off)
{
	switch (off) {
	case 0: return c->bm_command;
	case 2: return c->bm_status;
	case 4: case 5: case 6: case 7: return (uint8_t)(c->bm_table >> 8 * (off - 4));
	default: return 0;
	}
}

static void bm_write(struct ide_channel *c, unsigned off, uint8_t value)
{
	unsigned shift = 8 * (off - 4);

	switch (off) {
	case 0:
		if (!(value & BM_START))
			c->bm_status &= (uint8_t)~BM_ACTIVE;
		else if (!(c->bm_command & BM_START))
			c->bm_status |= BM_ACTIVE;
		c->bm_command = value & (BM_START | BM_TO_MEMORY);
		run_dma(c);
		break;
	case 2:
		c->bm_status = (uint8_t)((c->bm_status & ~(BM_CAPABLE | (value & (BM_ERROR | BM_INTERRUPT)))) |
					 (value & BM_CAPABLE));
		break;
	case 4: case 5: case 6: case 7:
		c->bm_table = (c->bm_table & ~(0xffu << shift)) | (uint32_t)value << shift;
		c->bm_table &= ~3u;
		break;
	}
}

// -- programmed I/O

static void move_data(struct ide_drive *d, uint8_t *bytes, unsigned size, bool to_drive)
{
	if (!(d->status & IDE_DRQ) || d->to_drive != to_drive || d->dma_waits) {
		memset(bytes, 0xff, to_drive ? 0 : size);
		return;
	}
	for (unsigned i = 0; i < size && d->at < d->end; i++, d->at++) {
		if (to_drive)
			d->buffer[d->at] = bytes[i];
		else
			bytes[i] = d->buffer[d->at];
	}
	if (d->at == d->end) {
		d->block_done(d);
		run_dma(d->channel); // a packet has come, and the bus master waits for it
	}
}

// -- registers

void ide_reset_drive(struct ide_drive *d)
{
	d->r = (struct ide_regs){.feature = {0}};
	d->device = 0;
	d->error = 1; // diagnostics: all is well
	d->status = !d->image || d->cdrom ? 0 : IDE_DRDY | IDE_DSC;
	d->multiple = IDE_MULTIPLE; // Linux leaves it as it finds it
	d->heads = 16;
	d->sectors = 63;
	d->at = d->end = 0;
	d->dma_waits = d->locked = false;
	ide_signature(d);
}

static void reset_channel(struct ide_channel *c)
{
	for (unsigned i = 0; i < 2; i++)
		ide_reset_drive(&c->drive[i]);
	c->selected = 0;
	c->bm_command = 0;
	c->bm_status &= BM_CAPABLE;
	update_line(c, false);
}

static void command(struct ide_channel *c, uint8_t value)
{
	struct ide_drive *d = &c->drive[c->selected];

	if (value == COMMAND_DIAGNOSE) {
		for (unsigned i = 0; i < 2; i++)
			ide_reset_drive(&c->drive[i]);
		c->selected = 0;
		ide_interrupt(&c->drive[0]);
		return;
	}
	if (!ide_is_there(d))
		return;
	update_line(c, false);
	if (value == COMMAND_DEVICE_RESET && d->cdrom) {
		uint8_t device = d->device;

		ide_reset_drive(d);
		d->device = device;
		return;
	}
	if (d->cdrom)
		ide_cdrom_command(d, value);
	else
		ide_disk_command(d, value);
	run_dma(c);
}

static void write_pair(uint8_t pair[2], uint8_t value)
{
	pair[1] = pair[0];
	pair[0] = value;
}

static void write_register(struct ide_channel *c, unsigned reg, uint8_t value)
{
	c->control &= (uint8_t)~CONTROL_HOB;
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = &c->drive[i];

		switch (reg) {
		case ERROR: write_pair(d->r.feature, value); break;
		case COUNT: write_pair(d->r.count, value); break;
		case LOW: write_pair(d->r.low, value); break;
		case MID: write_pair(d->r.mid, value); break;
		case HIGH: write_pair(d->r.high, value); break;
		case DEVICE: d->device = value | DEVICE_ONES; break;
		}
	}
	if (reg == DEVICE)
		c->selected = !!(value & DEVICE_SELECT);
	if (reg == STATUS)
		command(c, value);
}

// Where there is no drive 0 and 1 nobody drives the lines; an absent drive beside a present one reads zeros.
static uint8_t read_register(struct ide_channel *c, unsigned reg)
{
	struct ide_drive *d = &c->drive[c->selected];
	unsigned old = !!(c->control & CONTROL_HOB);

	if (!ide_is_there(&c->drive[0]) && !ide_is_there(&c->drive[1]))
		return 0;
	switch (reg) {
	case ERROR: return ide_is_there(d) ? d->error : 0;
	case COUNT: return d->r.count[old];
	case LOW: return d->r.low[old];
	case MID: return d->r.mid[old];
	case HIGH: return d->r.high[old];
	case DEVICE: return d->device;
	default: return ide_is_there(d) ? d->status : 0;
	}
}

// -- the window -------------------------------------------------------------------------------------------------------

// What the monitor has done since it was last shown: whatever it says, no more than it was allowed.
static void take_window(struct ide_channel *c)
{
	struct ide_window *w = c->window;
	struct ide_drive *d = &c->drive[c->selected];
	uint32_t n, posts;

	if (!w)
		return;
	n = c->window_size ? MIN(w->at, c->window_size - 1) : 0;
	posts = MIN(w->nposts, (uint32_t)IDE_POSTS);
	if (n && d->to_drive)
		memcpy(d->buffer + d->at, w->data, n);
	d->at += n;
	c->window_size = 0;
	w->at = w->nposts = 0;
	for (uint32_t i = 0; i < posts; i++)
		if (w->post[i].reg >= ERROR && w->post[i].reg <= DEVICE)
			write_register(c, w->post[i].reg, w->post[i].value);
}

// Data that come and go by the data register now: all that is left of the block, or as much as there is room for.
static void show_data(struct ide_channel *c, struct ide_window *w)
{
	struct ide_drive *d = &c->drive[c->selected];

	c->window_size = 0;
	if (!ide_is_there(d) || !(d->status & IDE_DRQ) || d->dma_waits)
		return;
	c->window_size = MIN(d->end - d->at, (uint32_t)IDE_WINDOW);
	w->to_drive = d->to_drive;
	if (!d->to_drive)
		memcpy(w->data, d->buffer + d->at, c->window_size);
}

static void show_window(struct ide_channel *c)
{
	struct ide_window *w = c->window;

	if (!w)
		return;
	show_data(c, w);
	w->second = c->selected;
	for (unsigned reg = ERROR; reg < STATUS; reg++)
		w->task[reg] = read_register(c, reg);
	atomic_store_explicit(&w->end, c->window_size, memory_order_release);
	atomic_store_explicit(&w->status, read_register(c, STATUS) | (c->line ? (unsigned)IDE_STATUS_ASK : 0),
			      memory_order_release);
}

static uint64_t read_any(struct ide *s, unsigned range, uint64_t off, unsigned size)
{
	struct ide_channel *c = &s->channel[range & 1];
	uint8_t bytes[8] = {0};
	uint64_t value = 0;

	if (range >= IDE_RANGE_BUS_MASTER) {
		for (unsigned i = 0; i < size && off + i < IDE_BUS_MASTER_LEN; i++)
			bytes[i] = bm_read(&s->channel[(off + i) >> 3], (off + i) & 7);
	} else if (range >= IDE_RANGE_CONTROL) {
		bytes[0] = read_register(c, STATUS); // the alternate one
	} else if (off == DATA) {
		move_data(&c->drive[c->selected], bytes, size, false);
	} else {
		bytes[0] = read_register(c, (unsigned)off);
		if (off == STATUS)
			update_line(c, false);
	}
	memcpy(&value, bytes, sizeof(value));
	return value;
}

static void write_control(struct ide_channel *c, uint8_t value)
{
	bool was = c->control & CONTROL_SRST;

	c->control = value;
	if (value & CONTROL_NIEN)
		update_line(c, false);
	if (value & CONTROL_SRST && !was)
		for (unsigned i = 0; i < 2; i++)
			c->drive[i].status = IDE_BSY;
	if (!(value & CONTROL_SRST) && was)
		reset_channel(c);
}

static void write_any(struct ide *s, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct ide_channel *c = &s->channel[range & 1];
	uint8_t bytes[8];

	memcpy(bytes, &value, sizeof(bytes));
	if (range >= IDE_RANGE_BUS_MASTER) {
		for (unsigned i = 0; i < size && off + i < IDE_BUS_MASTER_LEN; i++)
			bm_write(&s->channel[(off + i) >> 3], (off + i) & 7, bytes[i]);
	} else if (range >= IDE_RANGE_CONTROL) {
		write_control(c, bytes[0]);
	} else if (off == DATA) {
		move_data(&c->drive[c->selected], bytes, size, true);
	} else {
		write_register(c, (unsigned)off, bytes[0]);
	}
}

static void take_windows(struct ide *s)
{
	for (unsigned i = 0; i < IDE_CHANNELS; i++)
		take_window(&s->channel[i]);
}

static void show_windows(struct ide *s)
{
	for (unsigned i = 0; i < IDE_CHANNELS; i++)
		show_window(&s->channel[i]);
}

static uint64_t ide_read(struct dev *dev, unsigned range, uint64_t off, unsigned size)
{
	struct ide *s = (struct ide *)dev;
	uint64_t value;

	take_windows(s);
	value = read_any(s, range, off, size);
	show_windows(s);
	return value;
}

static void ide_write(struct dev *dev, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct ide *s = (struct ide *)dev;

	take_windows(s);
	write_any(s, range, off, size, value);
	show_windows(s);
}

static void ide_reset(struct dev *dev)
{
	struct ide *s = (struct ide *)dev;

	take_windows(s);
	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		struct ide_channel *c = &s->channel[i];

		c->control = c->bm_status = 0;
		c->bm_table = 0;
		reset_channel(c);
	}
	show_windows(s);
}

static void ide_init(struct dev *dev)
{
	struct ide *s = (struct ide *)dev;

	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		s->channel[i].ide = s;
		for (unsigned k = 0; k < 2; k++)
			s->channel[i].drive[k].channel = &s->channel[i];
	}
}

const struct dev_class ide_class = {"ide", sizeof(struct ide), 0, ide_init, ide_reset, ide_read, ide_write};
