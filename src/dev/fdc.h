// SPDX-License-Identifier: MIT
//
// The floppy controller, an 82077AA with two drives. A command is carried out while the guest's write of its last byte
// waits for it. See dev/fdc.c (registers, phases) and dev/fdc_commands.c.
#ifndef DEV_FDC_H
#define DEV_FDC_H

#include "dev/i8237.h"
#include "io/block.h"

enum { FDC_DRIVES = 2, FDC_SECTOR = 512, FDC_IRQ = 6, FDC_DMA = 2, FDC_FIFO = 16 };
enum fdc_range { FDC_RANGE_LOW, FDC_RANGE_HIGH };
enum { FDC_LOW = 0x3f0, FDC_LOW_LEN = 6, FDC_HIGH = 0x3f7, FDC_HIGH_LEN = 1 };
// CMOS's kinds of drive.
enum fdc_kind { FDC_NO_DRIVE, FDC_360K, FDC_1200K, FDC_720K, FDC_1440K, FDC_2880K };

struct fdc_format { // of a medium
	uint8_t tracks, sides, sectors;
	uint8_t rate; // as the data rate register has it
	uint8_t kind; // of the drive that it is put in
};

struct fdc_drive {
	struct block *image; // NULL: no drive
	struct fdc_format format;
	uint8_t track;       // where its head is
	bool changed;        // no step since the medium was put in
};

enum fdc_phase { FDC_COMMAND, FDC_READING, FDC_WRITING, FDC_RESULT }; // the two in between: by programmed I/O

struct fdc_id { // of a sector, as it stands on the track before it
	uint8_t c, h, r, n;
};

struct fdc {
	struct dev dev;
	struct fdc_drive drive[FDC_DRIVES];
	uint8_t dor, rate, tape;
	enum fdc_phase phase;
	uint8_t fifo[FDC_FIFO]; // the command's bytes, then the result's
	uint8_t at, end;
	uint8_t specify[2], configure, precompensation, perpendicular;
	bool locked;
	uint8_t sense;     // drives that SENSE INTERRUPT STATUS has yet to report after a reset
	bool seek_ended;
	uint8_t seek_status;

	// a transfer
	struct fdc_id id;
	uint8_t last;      // sector of the track, EOT
	bool both_sides, verify, whole_track;
	unsigned count;    // sectors that VERIFY still wants, 0: up to `last`
	uint8_t sector[FDC_SECTOR];
	unsigned byte;     // by programmed I/O: the next one of `sector`
	struct i8237 *dma;
	struct irq_line irq;
	int (*run)(struct block *b, struct block_request *r, unsigned worker); // block_run
};

extern const struct dev_class fdc_class;

// The format of an image of that many bytes: of this size, or the next larger one. NULL: none is that large.
const struct fdc_format *fdc_format_of(uint64_t size);

// -- among its parts
enum fdc_st0 { ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLLED = 0xc0, ST0_SEEK_END = 0x20, ST0_NO_TRACK_0 = 0x10 };
enum fdc_st1 { ST1_NO_ADDRESS = 0x01, ST1_READ_ONLY = 0x02, ST1_NO_DATA = 0x04, ST1_OVERRUN = 0x10, ST1_CRC = 0x20,
	ST1_END_OF_TRACK = 0x80 };
enum fdc_st2 { ST2_WRONG_TRACK = 0x10 };
enum { FDC_DOR_RUNS = BIT(2), FDC_DOR_GATE = BIT(3), FDC_MOTOR = 4 };

unsigned fdc_command_length(uint8_t command); // bytes, itself included
void fdc_execute(struct fdc *f); // fifo[] has a whole command
void fdc_next_sector(struct fdc *f); // programmed I/O: `byte` has reached the sector's end
void fdc_interrupt(struct fdc *f, bool on);

#endif
