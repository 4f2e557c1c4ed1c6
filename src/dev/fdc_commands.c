// SPDX-License-Identifier: MIT
//
// The floppy controller's commands as a table (82077AA data sheet, "Command Set/Descriptions"). Sectors have 512 bytes,
// tracks are as the medium's format has them; a transfer at another data rate finds no address mark.
#include "dev/fdc.h"

#include <string.h>

enum { MULTI = BIT(7), SPECIFY_NO_DMA = BIT(0), IMPLIED_SEEK = BIT(6), DRIVE = 3, HEAD = BIT(2), SIZE_512 = 2,
	VERIFY_COUNT = BIT(7), LOCK = BIT(7), LAST_TRACK = 84 };

static struct fdc_drive *drive_of(struct fdc *f)
{
	return &f->drive[f->fifo[1] % FDC_DRIVES];
}

static bool is_there(const struct fdc *f)
{
	return !(f->fifo[1] & 2) && f->drive[f->fifo[1] % FDC_DRIVES].image;
}

static void answer(struct fdc *f, unsigned n)
{
	f->at = 0;
	f->end = (uint8_t)n;
	f->phase = n ? FDC_RESULT : FDC_COMMAND;
}

// The end of what moves data or looks for it: seven bytes, and an interrupt.
static void end_transfer(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
	st0 |= f->fifo[1] & (DRIVE | HEAD);
	memcpy(f->fifo, (uint8_t[]){st0, st1, st2, f->id.c, f->id.h, f->id.r, f->id.n}, 7);
	answer(f, 7);
	fdc_interrupt(f, true);
}

// The head's end of a transfer: where f->id is in the image. False: no such sector, said.
static bool find(struct fdc *f, uint64_t *offset)
{
	const struct fdc_drive *d = drive_of(f);
	const struct fdc_format *m = &d->format;
	uint8_t side = f->fifo[1] & HEAD ? 1 : 0;

	if (!is_there(f) || f->rate != m->rate || d->track >= m->tracks || side >= m->sides) {
		end_transfer(f, ST0_ABNORMAL, ST1_NO_ADDRESS, 0);
	} else if (f->id.c != d->track) {
		end_transfer(f, ST0_ABNORMAL, ST1_NO_DATA, ST2_WRONG_TRACK);
	} else if (f->id.h != side || !f->id.r || f->id.r > m->sectors || f->id.n != SIZE_512) {
		end_transfer(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
	} else {
		*offset = (((uint64_t)d->track * m->sides + side) * m->sectors + f->id.r - 1) * FDC_SECTOR;
		return true;
	}
	return false;
}

// One sector of the image; what lies behind a short image's end is zeros.
static bool move(struct fdc *f, enum block_op op, uint64_t offset)
{
	struct block *image = drive_of(f)->image;
	struct iovec iov = {f->sector, FDC_SECTOR};
	struct block_request r = {.op = op, .offset = offset, .size = FDC_SECTOR, .iov = &iov, .niov = 1};
	bool there = offset + FDC_SECTOR <= image->size;

	if (op == BLOCK_READ && !there)
		memset(f->sector, 0, FDC_SECTOR);
	if (op == BLOCK_READ ? !there || !f->run(image, &r, 0) : there && !f->run(image, &r, 0))
		return true;
	end_transfer(f, ST0_ABNORMAL, ST1_CRC, 0);
	return false;
}

// On to the sector after this one. False: it was the last, and the transfer's end is written as the manual's table
// "Result Phase" has it.
static bool step(struct fdc *f)
{
	if (f->id.r != f->last) {
		f->id.r++;
		return true;
	}
	f->id.r = 1;
	if (f->both_sides && !(f->fifo[1] & HEAD)) {
		f->fifo[1] |= HEAD;
		f->id.h = 1;
		return true;
	}
	if (f->both_sides)
		f->id.h = 0;
	f->id.c++;
	return false;
}

static void load_or_end(struct fdc *f)
{
	uint64_t offset;

	if (!find(f, &offset))
		return;
	f->byte = 0;
	if (f->phase == FDC_READING && !move(f, BLOCK_READ, offset))
		return;
	fdc_interrupt(f, true);
}

void fdc_next_sector(struct fdc *f)
{
	uint64_t offset;

	if (f->phase == FDC_WRITING && (!find(f, &offset) || !move(f, BLOCK_WRITE, offset)))
		return;
	if (step(f))
		load_or_end(f);
	else
		end_transfer(f, ST0_ABNORMAL, ST1_END_OF_TRACK, 0); // nobody has said that it was enough
}

static void run_dma(struct fdc *f, bool reading)
{
	bool ended = false;
	uint64_t offset;
	unsigned n;

	do {
		if (!find(f, &offset) || (reading && !move(f, BLOCK_READ, offset)))
			return;
		n = i8237_move(f->dma, FDC_DMA, reading, f->sector, FDC_SECTOR, &ended);
		if (n < FDC_SECTOR && !ended) {
			end_transfer(f, ST0_ABNORMAL, ST1_OVERRUN, 0);
			return;
		}
		if (n < FDC_SECTOR && !reading)
			memset(f->sector + n, 0, FDC_SECTOR - n);
		if (!reading && !move(f, BLOCK_WRITE, offset))
			return;
	} while (step(f) && !ended);
	end_transfer(f, ended ? 0 : ST0_ABNORMAL, ended ? 0 : ST1_END_OF_TRACK, 0);
}

static void take_place(struct fdc *f)
{
	memcpy(&f->id, f->fifo + 2, sizeof(f->id));
	f->last = f->fifo[6];
	f->both_sides = f->fifo[0] & MULTI;
	if (f->configure & IMPLIED_SEEK && is_there(f)) {
		drive_of(f)->track = f->id.c;
		drive_of(f)->changed = false;
	}
}

static void transfer(struct fdc *f, bool reading)
{
	take_place(f);
	if (!reading && is_there(f) && drive_of(f)->image->readonly) {
		end_transfer(f, ST0_ABNORMAL, ST1_READ_ONLY, 0);
	} else if (f->specify[1] & SPECIFY_NO_DMA) {
		f->phase = reading ? FDC_READING : FDC_WRITING;
		load_or_end(f);
	} else {
		run_dma(f, reading);
	}
}

static void read_data(struct fdc *f)
{
	transfer(f, true);
}

static void read_track(struct fdc *f) // whatever its sectors are called: from the index hole on
{
	f->fifo[0] &= ~(unsigned)MULTI;
	f->fifo[4] = 1;
	transfer(f, true);
}

static void write_data(struct fdc *f)
{
	transfer(f, false);
}

static void verify(struct fdc *f)
{
	unsigned left = f->fifo[1] & VERIFY_COUNT ? f->fifo[8] : 0;
	bool counts = left;
	uint64_t offset;

	take_place(f);
	do {
		if (!find(f, &offset))
			return;
	} while (step(f) && !(counts && !--left));
	end_transfer(f, 0, 0, 0);
}

static void read_id(struct fdc *f)
{
	uint64_t offset;

	f->id = (struct fdc_id){drive_of(f)->track, f->fifo[1] & HEAD ? 1 : 0, 1, SIZE_512};
	if (find(f, &offset))
		end_transfer(f, 0, 0, 0);
}

// The host gives each sector's address; those of the medium's format stay, and their data is the filler.
static void format_track(struct fdc *f)
{
	uint8_t n = f->fifo[2], sectors = f->fifo[3], filler = f->fifo[5];
	uint64_t offset;
	bool ended = false;

	f->id = (struct fdc_id){drive_of(f)->track, f->fifo[1] & HEAD ? 1 : 0, 1, n};
	if (is_there(f) && drive_of(f)->image->readonly) {
		end_transfer(f, ST0_ABNORMAL, ST1_READ_ONLY, 0);
		return;
	}
	for (unsigned i = 0; i < sectors && !ended; i++) {
		if (i8237_move(f->dma, FDC_DMA, false, (uint8_t *)&f->id, sizeof(f->id), &ended) < sizeof(f->id)) {
			end_transfer(f, ST0_ABNORMAL, ST1_OVERRUN, 0);
			return;
		}
		memset(f->sector, filler, FDC_SECTOR);
		if (!find(f, &offset) || !move(f, BLOCK_WRITE, offset))
			return;
	}
	end_transfer(f, 0, 0, 0);
}

// -- heads

static void seek_to(struct fdc *f, unsigned track, uint8_t trouble)
{
	uint8_t st0 = ST0_SEEK_END | (f->fifo[1] & (DRIVE | HEAD));

	if (is_there(f)) {
		drive_of(f)->track = (uint8_t)MIN(track, (unsigned)LAST_TRACK);
		drive_of(f)->changed = false;
	} else {
		st0 |= trouble;
	}
	f->seek_ended = true;
	f->seek_status = st0;
	answer(f, 0);
	fdc_interrupt(f, true);
}

static void recalibrate(struct fdc *f)
{
	f->fifo[1] &= DRIVE;
	seek_to(f, 0, ST0_ABNORMAL | ST0_NO_TRACK_0);
}

static void seek(struct fdc *f)
{
	seek_to(f, f->fifo[2], 0);
}

static void seek_out(struct fdc *f)
{
	unsigned track = drive_of(f)->track;

	seek_to(f, track - MIN(track, (unsigned)f->fifo[2]), 0);
}

static void seek_in(struct fdc *f)
{
	seek_to(f, drive_of(f)->track + (unsigned)f->fifo[2], 0);
}

static void sense_interrupt(struct fdc *f)
{
	uint8_t drive;

	fdc_interrupt(f, false);
	if (f->sense) {
		drive = 4 - f->sense--;
		f->fifo[0] = ST0_POLLED | drive;
	} else if (f->seek_ended) {
		f->seek_ended = false;
		drive = f->seek_status & DRIVE;
		f->fifo[0] = f->seek_status;
	} else {
		f->fifo[0] = ST0_INVALID;
		answer(f, 1);
		return;
	}
	f->fifo[1] = drive < FDC_DRIVES ? f->drive[drive].track : 0;
	answer(f, 2);
}

static void sense_drive(struct fdc *f)
{
	const struct fdc_drive *d = drive_of(f);
	uint8_t st3 = 0x28 | (f->fifo[1] & (DRIVE | HEAD)); // ready, two sides

	if (is_there(f))
		st3 |= (d->track ? 0 : 0x10) | (d->image->readonly ? 0x40 : 0);
	f->fifo[0] = st3;
	answer(f, 1);
}

// -- settings

static void specify(struct fdc *f)
{
	memcpy(f->specify, f->fifo + 1, 2);
	answer(f, 0);
}

static void configure(struct fdc *f)
{
	f->configure = f->fifo[2];
	f->precompensation = f->fifo[3];
	answer(f, 0);
}

static void lock(struct fdc *f)
{
	f->locked = f->fifo[0] & LOCK;
	f->fifo[0] = f->locked ? 0x10 : 0;
	answer(f, 1);
}

static void perpendicular(struct fdc *f)
{
	f->perpendicular = f->fifo[1];
	answer(f, 0);
}

static void drive_specification(struct fdc *f)
{
	answer(f, 0);
}

static void dump_registers(struct fdc *f)
{
	uint8_t out[10] = {f->drive[0].track, f->drive[1].track, 0, 0, f->specify[0], f->specify[1], f->last,
		(f->locked ? 0x80 : 0) | (f->perpendicular & 0x7f), f->configure, f->precompensation};

	memcpy(f->fifo, out, sizeof(out));
	answer(f, sizeof(out));
}

static void version(struct fdc *f)
{
	f->fifo[0] = 0x90; // enhanced
	answer(f, 1);
}

static void part_id(struct fdc *f)
{
	f->fifo[0] = 0x41;
	answer(f, 1);
}

static void invalid(struct fdc *f)
{
	f->fifo[0] = ST0_INVALID;
	answer(f, 1);
}

static const struct fdc_command {
	uint8_t mask, value, length;
	void (*run)(struct fdc *f);
} commands[] = {
	{0x1f, 0x06, 9, read_data}, {0x1f, 0x0c, 9, read_data}, {0x3f, 0x05, 9, write_data}, {0x3f, 0x09, 9, write_data},
	{0x9f, 0x02, 9, read_track}, {0x1f, 0x16, 9, verify}, {0xbf, 0x0a, 2, read_id}, {0xbf, 0x0d, 6, format_track},
	{0xff, 0x07, 2, recalibrate}, {0xff, 0x08, 1, sense_interrupt}, {0xff, 0x03, 3, specify},
	{0xff, 0x04, 2, sense_drive}, {0xff, 0x0f, 3, seek}, {0xff, 0x8f, 3, seek_out}, {0xff, 0xcf, 3, seek_in},
	{0xff, 0x0e, 1, dump_registers}, {0xff, 0x10, 1, version}, {0xff, 0x12, 2, perpendicular},
	{0xff, 0x13, 4, configure}, {0x7f, 0x14, 1, lock}, {0xff, 0x18, 1, part_id},
	{0xff, 0x8e, 6, drive_specification},
};
static const struct fdc_command unknown = {0, 0, 1, invalid};

static const struct fdc_command *lookup(uint8_t command)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if ((command & commands[i].mask) == commands[i].value)
			return &commands[i];
	return &unknown;
}

unsigned fdc_command_length(uint8_t command)
{
	return lookup(command)->length;
}

void fdc_execute(struct fdc *f)
{
	lookup(f->fifo[0])->run(f);
}
