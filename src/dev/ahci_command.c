// SPDX-License-Identifier: MIT
//
// The command lists of dev/ahci.h: a header and a table in guest memory for each slot, in it the FIS with the command
// and the list of memory that the data come from or go to (Serial ATA AHCI, "System Memory Structures"). All addresses
// are the guest's: whatever is not RAM fails the command.
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dev/ahci.h"

enum { HEADER_SIZE = 32, HEADER_ATAPI = BIT(5), HEADER_COUNT = 4, PACKET_AT = 0x40, PRDS_AT = 0x80, PRD_SIZE = 16,
	PRD_BYTES = 0x3fffff };
enum { FIS_TO_DEVICE = 0x27, FIS_TO_HOST = 0x34, FIS_PIO = 0x5f, FIS_BITS = 0xa1, FIS_SIZE = 20, PIO_AT = 0x20,
	REGISTER_AT = 0x40, BITS_AT = 0x58 };
enum { FIS_IS_COMMAND = BIT(7), FIS_INTERRUPT = BIT(6), FIS_TO_MEMORY = BIT(5) };
enum { CONTROL_SRST = BIT(2), STATUS_GOOD = IDE_DRDY | IDE_DSC, SLOT_SHIFT = 8, SLOT_MASK = 0x1f00 };
enum { SIG_DISK = 0x101, PACKET_COMMAND = 0xa0, IDENTIFY = 0xec, PIECES = 64 };

// -- the list of memory

static bool prd_get(const struct ahci_port *p, unsigned i, gpa_t *gpa, uint32_t *len)
{
	const uint8_t *prd = mem_host(p->ahci->ide.mem, p->table + PRDS_AT + (gpa_t)i * PRD_SIZE, PRD_SIZE);
	uint32_t count;

	if (!prd)
		return false;
	memcpy(gpa, prd, 8);
	memcpy(&count, prd + 12, 4);
	*len = ((count & PRD_BYTES) | 1) + 1;
	*gpa &= ~(gpa_t)1;
	return true;
}

// As ide_dma_segments.
static unsigned segments(struct ide_channel *c, uint64_t skip, uint64_t size, struct iovec *iov, unsigned room,
			 uint64_t *done, bool to_guest)
{
	struct ahci_port *p = (struct ahci_port *)c;
	const struct ide *ide = &p->ahci->ide;
	unsigned n = 0;

	*done = 0;
	for (unsigned i = 0; i < p->prds && n < room && *done < size; i++) {
		uint32_t len, part;
		gpa_t gpa;

		if (!prd_get(p, i, &gpa, &len))
			return 0;
		if (skip >= len) {
			skip -= len;
			continue;
		}
		part = (uint32_t)MIN(len - skip, size - *done);
		iov[n] = (struct iovec){mem_host(ide->mem, gpa + skip, part), part};
		if (!iov[n++].iov_base)
			return 0;
		if (to_guest && ide->will_write)
			ide->will_write(ide->opaque, gpa + skip, part);
		*done += part;
		skip = 0;
	}
	return n;
}

// -- what the drive sends

static uint8_t *fis_at(const struct ahci_port *p, unsigned at)
{
	gpa_t gpa = p->received + at;
	uint8_t *fis = p->cmd & AHCI_FIS_RUNS ? mem_host(p->ahci->ide.mem, gpa, FIS_SIZE) : NULL;

	if (fis && p->ahci->ide.will_write)
		p->ahci->ide.will_write(p->ahci->ide.opaque, gpa, FIS_SIZE);
	return fis;
}

static void put_task_file(uint8_t *fis, uint8_t type, const struct ide_drive *d)
{
	const struct ide_regs *r = &d->r;
	const uint8_t bytes[FIS_SIZE] = {type, FIS_INTERRUPT, d->status, d->error, r->low[0], r->mid[0], r->high[0],
		d->device, r->low[1], r->mid[1], r->high[1], 0, r->count[0], r->count[1]};

	memcpy(fis, bytes, sizeof(bytes));
}

static void take_status(struct ahci_port *p)
{
	const struct ide_drive *d = &p->channel.drive[0];

	p->tfd = d->status | (uint32_t)d->error << 8;
	if (!(d->status & IDE_ERR))
		return;
	p->is |= AHCI_TASK_ERROR;
	p->failed = true;
}

static void send_registers(struct ahci_port *p)
{
	uint8_t *fis = fis_at(p, REGISTER_AT);

	if (fis)
		put_task_file(fis, FIS_TO_HOST, &p->channel.drive[0]);
	p->is |= AHCI_REGISTER_FIS;
	take_status(p);
}

static void send_pio(struct ahci_port *p, uint32_t size, bool to_memory)
{
	const struct ide_drive *d = &p->channel.drive[0];
	uint8_t *fis = fis_at(p, PIO_AT);

	if (fis) {
		put_task_file(fis, FIS_PIO, d);
		fis[1] |= to_memory ? FIS_TO_MEMORY : 0;
		fis[2] = STATUS_GOOD | IDE_DRQ;
		fis[15] = d->status;
		fis[16] = (uint8_t)size;
		fis[17] = (uint8_t)(size >> 8);
	}
	p->is |= AHCI_PIO_FIS;
	take_status(p);
}

static void send_bits(struct ahci_port *p, uint32_t bits)
{
	const struct ide_drive *d = &p->channel.drive[0];
	uint8_t *fis = fis_at(p, BITS_AT);

	if (fis) {
		const uint8_t start[4] = {FIS_BITS, FIS_INTERRUPT, d->status & 0x77, d->error};

		memcpy(fis, start, 4);
		memcpy(fis + 4, &bits, 4);
	}
	p->is |= AHCI_BITS_FIS;
	take_status(p);
}

void ahci_send_signature(struct ahci_port *p)
{
	struct ide_drive *d = &p->channel.drive[0];

	ide_signature(d);
	p->sig = d->r.count[0] | (uint32_t)d->r.low[0] << 8 | (uint32_t)d->r.mid[0] << 16 | (uint32_t)d->r.high[0] << 24;
	send_registers(p);
	p->is &= ~(uint32_t)AHCI_REGISTER_FIS; // nobody waits for it
}

// -- the end of a command

static void set_count(const struct ahci_port *p, unsigned slot, uint64_t bytes)
{
	const struct ide *ide = &p->ahci->ide;
	gpa_t at = p->list + slot * HEADER_SIZE + HEADER_COUNT;
	uint8_t *to = mem_host(ide->mem, at, 4);
	uint32_t count = (uint32_t)bytes;

	if (!to)
		return;
	if (ide->will_write)
		ide->will_write(ide->opaque, at, 4);
	memcpy(to, &count, 4);
}

// A command that has failed stays in the list, and the others wait until software has stopped it.
static void finish(struct ahci_port *p, unsigned slot)
{
	if (!p->failed)
		p->ci &= ~BIT(slot);
}

static void set_result(struct ide_drive *d, bool good, uint8_t error)
{
	d->status = good ? STATUS_GOOD : STATUS_GOOD | IDE_ERR;
	d->error = good ? 0 : error;
}

static void finish_request(struct ahci_command *c)
{
	struct ahci_port *p = c->port;
	struct ide_drive *d = &p->channel.drive[0];
	const struct ide *ide = &p->ahci->ide;
	bool good = !c->r.error;

	p->running &= ~BIT(c->slot);
	for (unsigned i = 0; c->r.op == BLOCK_READ && ide->will_write && i < c->r.niov; i++)
		ide->will_write(ide->opaque, mem_gpa(c->r.iov[i].iov_base), c->r.iov[i].iov_len);
	set_result(d, good, IDE_BAD_DATA | IDE_ABORTED);
	if (c->queued) {
		if (good)
			p->sact &= ~BIT(c->slot);
		send_bits(p, good ? BIT(c->slot) : 0);
		return;
	}
	p->busy = false;
	set_count(p, c->slot, c->r.op == BLOCK_FLUSH || !good ? 0 : c->r.size);
	send_registers(p);
	finish(p, c->slot);
}

static void finish_list(struct ahci_port *p, struct block_request *list)
{
	while (list) {
		struct ahci_command *c = (struct ahci_command *)list;

		list = list->next;
		finish_request(c);
	}
	if (!p->running)
		pthread_cond_broadcast(&p->ahci->idle);
}

void ahci_completed(void *port, struct block_request *list)
{
	struct ahci_port *p = port;

	pthread_mutex_lock(&p->ahci->lock);
	finish_list(p, list);
	if (!p->draining)
		ahci_issue(p);
	ahci_update(p->ahci);
	pthread_mutex_unlock(&p->ahci->lock);
}

// -- commands that go to the image

static const struct request_kind {
	uint8_t command;
	enum block_op op;
	bool wide, queued;
} request_kinds[] = {
	{0x25, BLOCK_READ, true, false}, {0xc8, BLOCK_READ, false, false}, {0xc9, BLOCK_READ, false, false},
	{0x35, BLOCK_WRITE, true, false}, {0xca, BLOCK_WRITE, false, false}, {0xcb, BLOCK_WRITE, false, false},
	{0x60, BLOCK_READ, true, true}, {0x61, BLOCK_WRITE, true, true},
	{0xe7, BLOCK_FLUSH, false, false}, {0xea, BLOCK_FLUSH, false, false},
};

static const struct request_kind *find_kind(const struct ide_drive *d, uint8_t command)
{
	for (size_t i = 0; !d->cdrom && i < ARRAY_SIZE(request_kinds); i++)
		if (request_kinds[i].command == command)
			return &request_kinds[i];
	return NULL;
}

static bool make_room(struct ahci_command *c, unsigned n)
{
	struct iovec *iov = n > c->room ? realloc(c->iov, n * sizeof(*iov)) : c->iov;

	if (n > c->room && !iov)
		return false;
	c->iov = iov;
	c->room = MAX(n, c->room);
	return true;
}

// False: the disk does not do this; d has the status.
static bool prepare(struct ahci_port *p, struct ahci_command *c, const struct request_kind *k)
{
	struct ide_drive *d = &p->channel.drive[0];
	uint64_t size, found;

	c->r = (struct block_request){.op = k->op};
	c->queued = k->queued;
	set_result(d, false, IDE_ABORTED);
	if (k->op == BLOCK_FLUSH)
		return true;
	if (k->queued)
		memcpy(d->r.count, d->r.feature, sizeof(d->r.count));
	if (k->op == BLOCK_WRITE && d->image->readonly)
		return false;
	if (!ide_take_address(d, k->wide)) {
		d->error = IDE_NO_ID | (k->queued ? IDE_ABORTED : 0);
		return false;
	}
	size = (uint64_t)d->left * IDE_SECTOR;
	if (!make_room(c, p->prds))
		return false;
	c->r.niov = segments(&p->channel, 0, size, c->iov, c->room, &found, k->op == BLOCK_READ);
	c->r.iov = c->iov;
	c->r.offset = d->lba * IDE_SECTOR;
	c->r.size = size;
	return found == size && c->r.niov;
}

static void start_request(struct ahci_port *p, unsigned slot, const struct request_kind *k)
{
	struct ahci_command *c = &p->command[slot];
	struct ide_drive *d = &p->channel.drive[0];
	struct block_request *done;

	if (!prepare(p, c, k)) {
		if (k->queued)
			send_bits(p, 0);
		else
			send_registers(p);
		return;
	}
	p->running |= BIT(slot);
	p->busy = !k->queued;
	p->tfd = STATUS_GOOD | (k->queued ? 0 : IDE_BSY);
	if (k->queued) // the drive has it: the slot's tag is in PxSACT
		p->ci &= ~BIT(slot);
	done = p->ahci->submit(d->image, &c->r);
	finish_list(p, done);
}

// -- the others, as on the IDE controller

// The data of a block by programmed I/O between the drive's buffer and the guest.
static bool move_block(struct ahci_port *p, uint64_t skip)
{
	struct ide_drive *d = &p->channel.drive[0];
	uint8_t *at = d->buffer + d->at;
	struct iovec iov[PIECES];
	uint64_t left = d->end - d->at, part;

	while (left) {
		unsigned n = segments(&p->channel, skip, left, iov, PIECES, &part, !d->to_drive);

		if (!n)
			return false;
		for (unsigned i = 0; i < n; at += iov[i++].iov_len)
			memcpy(d->to_drive ? at : iov[i].iov_base, d->to_drive ? iov[i].iov_base : at, iov[i].iov_len);
		skip += part;
		left -= part;
	}
	return true;
}

// What an IDE disk does not say of itself: native command queuing (ATA8-ACS, "IDENTIFY DEVICE data").
static void add_sata(uint8_t *words)
{
	static const struct {
		uint8_t word;
		uint16_t value;
	} sata[] = { {75, AHCI_SLOTS - 1}, {76, BIT(8) | BIT(1)}, {93, 0} };

	for (size_t i = 0; i < ARRAY_SIZE(sata); i++)
		memcpy(words + sata[i].word * 2, &sata[i].value, 2);
}

static void run_command(struct ahci_port *p, unsigned slot, uint8_t command)
{
	struct ide_drive *d = &p->channel.drive[0];
	bool packet = false, to_memory = false;
	uint64_t moved = 0;

	d->dma_waits = false;
	if (d->cdrom)
		ide_cdrom_command(d, command);
	else
		ide_disk_command(d, command);
	if (command == IDENTIFY && (d->status & IDE_DRQ))
		add_sata(d->buffer);
	while (d->status & IDE_DRQ) {
		if (d->dma_waits) {
			d->dma_waits = false;
			moved = (d->cdrom ? d->answer_end - d->answer_at + (uint64_t)d->cd_left * CD_SECTOR :
				 (uint64_t)d->left * IDE_SECTOR);
			(d->cdrom ? ide_cdrom_dma : ide_disk_dma)(d);
			break;
		}
		if (d->cdrom && command == PACKET_COMMAND && !packet) {
			const uint8_t *from = mem_host(p->ahci->ide.mem, p->table + PACKET_AT, CD_PACKET);

			packet = true;
			memcpy(d->buffer, from, CD_PACKET); // of the table, which was found to be RAM
		} else {
			to_memory |= !d->to_drive;
			if (!move_block(p, moved)) {
				ide_abort(d);
				break;
			}
			moved += d->end - d->at;
			if (packet)
				send_pio(p, d->end - d->at, !d->to_drive);
		}
		d->at = d->end;
		d->block_done(d);
	}
	set_count(p, slot, d->status & IDE_ERR ? 0 : moved);
	if (to_memory && !packet && !(d->status & IDE_ERR))
		send_pio(p, IDE_SECTOR, true); // ends without any other
	else
		send_registers(p);
	finish(p, slot);
}

// -- the list

static void load_task_file(struct ide_drive *d, const uint8_t *fis)
{
	d->r = (struct ide_regs){.feature = {fis[3], fis[11]}, .count = {fis[12], fis[13]}, .low = {fis[4], fis[8]},
		.mid = {fis[5], fis[9]}, .high = {fis[6], fis[10]}};
	d->device = fis[7];
}

// A write of the control register: the software reset, when it ends.
static void control(struct ahci_port *p, unsigned slot, uint8_t value)
{
	struct ide_channel *c = &p->channel;
	bool was = c->control & CONTROL_SRST;

	c->control = value;
	p->ci &= ~BIT(slot);
	if (value & CONTROL_SRST) {
		c->drive[0].status = IDE_BSY;
		p->tfd = IDE_BSY;
	} else if (was) {
		ide_reset_drive(&c->drive[0]);
		ahci_send_signature(p);
		p->is |= AHCI_REGISTER_FIS;
	}
}

static bool take_header(struct ahci_port *p, unsigned slot)
{
	const uint8_t *h;
	uint32_t flags;

	p->header = p->list + slot * HEADER_SIZE;
	h = mem_host(p->ahci->ide.mem, p->header, HEADER_SIZE);
	if (!h)
		return false;
	memcpy(&flags, h, 4);
	memcpy(&p->table, h + 8, 8);
	p->table &= ~(gpa_t)0x7f;
	p->prds = flags >> 16;
	return mem_is_ram(p->ahci->ide.mem, p->table, PRDS_AT);
}

static void start(struct ahci_port *p, unsigned slot)
{
	struct ide_drive *d = &p->channel.drive[0];
	const struct request_kind *k;
	uint8_t fis[FIS_SIZE];

	p->cmd = (p->cmd & ~(uint32_t)SLOT_MASK) | slot << SLOT_SHIFT;
	if (!take_header(p, slot)) {
		p->is |= AHCI_BUS_ERROR;
		p->failed = true;
		return;
	}
	memcpy(fis, mem_host(p->ahci->ide.mem, p->table, FIS_SIZE), FIS_SIZE);
	if (fis[0] != FIS_TO_DEVICE || !ide_is_there(d)) {
		p->ci &= ~BIT(slot);
		return;
	}
	if (!(fis[1] & FIS_IS_COMMAND)) {
		control(p, slot, fis[15]);
		return;
	}
	load_task_file(d, fis);
	k = find_kind(d, fis[2]);
	p->channel.segments = segments;
	if (k)
		start_request(p, slot, k);
	else
		run_command(p, slot, fis[2]);
}

void ahci_issue(struct ahci_port *p)
{
	while ((p->cmd & AHCI_START) && !p->busy && !p->failed && (p->ci & ~p->running))
		start(p, (unsigned)__builtin_ctz(p->ci & ~p->running));
}
