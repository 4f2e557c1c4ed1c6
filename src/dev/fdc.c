// SPDX-License-Identifier: MIT
//
// Intel 82077AA after its data sheet: the registers, reset, and the phases of a command. Nothing takes time here: there
// is no spindle, and motors are on at once.
#include "dev/fdc.h"

#include <string.h>

enum { SRA = 0, SRB, DOR, TDR, MSR, FIFO };
enum { MSR_BUSY = BIT(4), MSR_NO_DMA = BIT(5), MSR_TO_HOST = BIT(6), MSR_READY = BIT(7) };
enum { DSR_RESET = BIT(7), RATE = 3, RATE_250K = 2, DIR_CHANGED = BIT(7), CONFIGURE_NO_POLL = BIT(4),
	CONFIGURE_DEFAULT = 0x20 };

static const struct fdc_format formats[] = { // by size
	{40, 1, 8, 1, FDC_1200K}, {40, 1, 9, 1, FDC_1200K}, {40, 2, 8, 1, FDC_1200K}, {40, 2, 9, 1, FDC_1200K},
	{80, 2, 9, 2, FDC_1440K}, {80, 2, 15, 0, FDC_1200K}, {80, 2, 18, 0, FDC_1440K}, {80, 2, 20, 0, FDC_1440K},
	{80, 2, 21, 0, FDC_1440K}, {82, 2, 21, 0, FDC_1440K}, {83, 2, 21, 0, FDC_1440K}, {80, 2, 36, 3, FDC_2880K},
};

static uint64_t format_size(const struct fdc_format *f)
{
	return (uint64_t)f->tracks * f->sides * f->sectors * FDC_SECTOR;
}

// An image of no format's size begins a 2.88 MB disk, as QEMU has it: what was written to be loaded there reads far
// into a track at once.
const struct fdc_format *fdc_format_of(uint64_t size)
{
	const struct fdc_format *largest = &formats[ARRAY_SIZE(formats) - 1];

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (align_up(size, FDC_SECTOR) == format_size(&formats[i]))
			return &formats[i];
	return size < format_size(largest) ? largest : NULL;
}

void fdc_interrupt(struct fdc *f, bool on)
{
	irq_set(&f->irq, on && f->dor & FDC_DOR_GATE);
}

// What the reset bits do; what SPECIFY and, if locked, CONFIGURE have set stays.
static void restart(struct fdc *f)
{
	f->phase = FDC_COMMAND;
	f->at = f->end = 0;
	f->seek_ended = false;
	f->sense = 0;
	if (!f->locked) {
		f->configure = CONFIGURE_DEFAULT;
		f->precompensation = 0;
	}
	f->perpendicular &= ~3u;
	fdc_interrupt(f, false);
}

static void run_again(struct fdc *f)
{
	if (f->configure & CONFIGURE_NO_POLL)
		return;
	f->sense = 4;
	fdc_interrupt(f, true);
}

static void write_dor(struct fdc *f, uint8_t value)
{
	bool was = f->dor & FDC_DOR_RUNS;

	f->dor = value;
	if (!(value & FDC_DOR_RUNS))
		restart(f);
	else if (!was)
		run_again(f);
}

static uint8_t main_status(const struct fdc *f)
{
	bool transfers = f->phase == FDC_READING || f->phase == FDC_WRITING;

	if (!(f->dor & FDC_DOR_RUNS))
		return 0;
	return MSR_READY | (f->phase != FDC_COMMAND || f->at ? MSR_BUSY : 0) | (transfers ? MSR_NO_DMA : 0) |
		(f->phase == FDC_READING || f->phase == FDC_RESULT ? MSR_TO_HOST : 0);
}

// Programmed I/O: each byte has an interrupt.
static void next_byte(struct fdc *f)
{
	if (f->byte == FDC_SECTOR)
		fdc_next_sector(f);
	else
		fdc_interrupt(f, true);
}

static uint8_t read_fifo(struct fdc *f)
{
	uint8_t value = 0;

	fdc_interrupt(f, false);
	if (f->phase == FDC_READING) {
		value = f->sector[f->byte++];
		next_byte(f);
	} else if (f->phase == FDC_RESULT) {
		value = f->fifo[f->at++];
		if (f->at == f->end) {
			f->phase = FDC_COMMAND;
			f->at = 0;
		}
	}
	return value;
}

static void write_fifo(struct fdc *f, uint8_t value)
{
	if (!(f->dor & FDC_DOR_RUNS))
		return;
	if (f->phase == FDC_WRITING) {
		fdc_interrupt(f, false);
		f->sector[f->byte++] = value;
		next_byte(f);
	} else if (f->phase == FDC_COMMAND) {
		f->fifo[f->at++] = value;
		if (f->at == fdc_command_length(f->fifo[0]))
			fdc_execute(f);
	}
}

static uint8_t directory(const struct fdc *f)
{
	const struct fdc_drive *d = &f->drive[f->dor % FDC_DRIVES];
	bool here = !(f->dor & 2) && d->image && f->dor & 1u << (FDC_MOTOR + f->dor % FDC_DRIVES);

	return here && d->changed ? DIR_CHANGED : 0;
}

static uint64_t fdc_read(struct dev *dev, unsigned range, uint64_t off, unsigned size)
{
	struct fdc *f = (struct fdc *)dev;

	if (range == FDC_RANGE_HIGH)
		return directory(f);
	switch (off) {
	case SRA: return f->sense || f->seek_ended || f->phase == FDC_RESULT ? 0x80 : 0;
	case SRB: return 0xc0 | (f->dor & 1) << 5 | f->dor >> FDC_MOTOR;
	case DOR: return f->dor;
	case TDR: return f->tape;
	case MSR: return main_status(f);
	default: return read_fifo(f);
	}
}

static void fdc_write(struct dev *dev, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct fdc *f = (struct fdc *)dev;
	uint8_t byte = (uint8_t)value;

	if (range == FDC_RANGE_HIGH) {
		f->rate = byte & RATE;
		return;
	}
	switch (off) {
	case DOR:
		write_dor(f, byte);
		break;
	case TDR:
		f->tape = byte & 3;
		break;
	case MSR: // the data rate select register
		f->rate = byte & RATE;
		if (byte & DSR_RESET && f->dor & FDC_DOR_RUNS) {
			restart(f);
			run_again(f);
		}
		break;
	case FIFO:
		write_fifo(f, byte);
		break;
	}
}

static void fdc_reset(struct dev *dev)
{
	struct fdc *f = (struct fdc *)dev;

	f->locked = false;
	restart(f);
	f->dor = 0;
	f->rate = RATE_250K;
	f->perpendicular = 0;
	memset(f->specify, 0, sizeof(f->specify));
	for (unsigned i = 0; i < FDC_DRIVES; i++)
		f->drive[i].changed = true;
}

const struct dev_class fdc_class = {"fdc", sizeof(struct fdc), 1, NULL, fdc_reset, fdc_read, fdc_write};
