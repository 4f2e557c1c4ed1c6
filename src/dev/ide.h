// SPDX-License-Identifier: MIT
//
// The PIIX3's IDE controller: two channels with two drives each, disks (ide_disk.c) and CD-ROMs (ide_cdrom.c), by
// programmed I/O and by bus mastering (ATA/ATAPI-6; PCI IDE Controller Specification; Programming Interface for Bus
// Master IDE Controller). A request is carried out while the guest's access to a register waits for it: this is for
// guests that have no driver for virtio. See dev/ide.c.
#ifndef DEV_IDE_H
#define DEV_IDE_H

#include "bus/bus.h"
#include "bus/ide_window.h"
#include "io/block.h"
#include "mem/mem.h"

enum { IDE_CHANNELS = 2, IDE_DRIVES = 4, IDE_IRQ = 14, IDE_SERIAL = 20, IDE_SECTOR = 512, IDE_MULTIPLE = 16,
	CD_SECTOR = 2048 };
enum ide_range { IDE_RANGE_COMMAND, IDE_RANGE_CONTROL = 2, IDE_RANGE_BUS_MASTER = 4 }; // + channel
// The bus master's registers, where the monitor passes them on: no port of the guest's.
enum { IDE_BUS_MASTER = 0x20000, IDE_BUS_MASTER_LEN = 16 };

enum ide_status { IDE_ERR = BIT(0), IDE_DRQ = BIT(3), IDE_DSC = BIT(4), IDE_DRDY = BIT(6), IDE_BSY = BIT(7) };
enum ide_error { IDE_ABORTED = BIT(2), IDE_NO_ID = BIT(4), IDE_BAD_DATA = BIT(6) };

struct ide_regs { // the task file; [1] is what was written before, for 48-bit addresses
	uint8_t feature[2], count[2], low[2], mid[2], high[2];
};

enum { IDE_BUFFER = 128 << 10, CD_PACKET = 12 };

struct ide_drive {
	struct block *image;       // NULL: no drive, or a CD-ROM without a disc
	bool cdrom;
	char serial[IDE_SERIAL + 1];
	struct ide_regs r;
	uint8_t device, status, error;
	uint8_t multiple;          // sectors a block, 0: READ and WRITE MULTIPLE are off
	uint8_t heads, sectors;    // the geometry in use

	// a transfer by programmed I/O: buffer[at..end)
	uint8_t *buffer;
	uint32_t at, end;
	bool to_drive;
	void (*block_done)(struct ide_drive *d); // the guest has moved it all

	// a disk's
	uint64_t lba;
	uint32_t left, block;      // sectors: after those in the buffer; at a time
	// by bus mastering: waits for the start bit
	bool dma_waits;

	// a CD-ROM's
	bool packet_dma;
	uint16_t part_max;         // bytes of an answer at a time, as the packet's command has asked
	uint8_t sense, asc;
	bool changed;              // a unit attention is due
	bool open, locked;         // the tray; the guest has forbidden to open it by its button
	bool told_open;            // what the operators know (machine/medium.c)
	uint8_t media_event;       // enum ide_media_event, for GET EVENT STATUS NOTIFICATION
	uint32_t answer_at, answer_end; // what is left of the answer in the buffer
	uint32_t cd_lba, cd_left;  // sectors to be read after that

	struct ide_channel *channel;
};

struct ide_channel {
	struct ide_drive drive[2];
	unsigned selected;
	uint8_t control;
	struct irq_line irq;
	uint8_t bm_command, bm_status;
	uint32_t bm_table;
	struct ide *ide;
	bool line;                 // an interrupt is asked for
	struct ide_window *window; // what the monitor may do by itself, or NULL
	uint32_t window_size;      // bytes of the selected drive's block, from `at` on, that are in it
	// Another table of guest memory than the bus master's, as ide_dma_segments; or NULL.
	unsigned (*segments)(struct ide_channel *c, uint64_t skip, uint64_t size, struct iovec *iov, unsigned room,
			     uint64_t *done, bool to_guest);
};

struct ide {
	struct dev dev;
	struct ide_channel channel[IDE_CHANNELS];
	const struct mem *mem;
	int (*run)(struct block *b, struct block_request *r, unsigned worker); // block_run
	void (*will_write)(void *opaque, gpa_t gpa, uint64_t size); // before guest RAM is written
	void (*tray_moved)(void *opaque); // may be NULL
	void *opaque;
};

extern const struct dev_class ide_class;

enum ide_media_event { IDE_MEDIA_NONE, IDE_MEDIA_EJECT_ASKED, IDE_MEDIA_NEW, IDE_MEDIA_REMOVED };

static inline bool ide_is_there(const struct ide_drive *d)
{
	return d->image || d->cdrom;
}

// A CD-ROM's tray, from outside or by the guest's command; then ide.tray_moved.
void ide_cdrom_move_tray(struct ide_drive *d, bool open);
void ide_cdrom_press_button(struct ide_drive *d); // opens, or asks the guest, who has locked it
// The disc in the tray is another one: image, or NULL. Returns the old one, which the caller closes.
struct block *ide_cdrom_change(struct ide_drive *d, struct block *image);

// -- among its parts

void ide_interrupt(struct ide_drive *d);
void ide_abort(struct ide_drive *d);                  // the command ends with an error
void ide_end(struct ide_drive *d);                    // ... well
void ide_put(struct ide_drive *d, uint32_t size, void (*done)(struct ide_drive *d));  // buffer[0..size) to the guest
void ide_take(struct ide_drive *d, uint32_t size, void (*done)(struct ide_drive *d)); // ... from the guest
// The guest's memory by the bus master's table: up to size bytes, from `skip` on. Returns how many segments, 0 if the
// table is wrong; *done: bytes.
unsigned ide_dma_segments(struct ide_channel *c, uint64_t skip, uint64_t size, struct iovec *iov, unsigned room,
			  uint64_t *done, bool to_guest);
int ide_image(struct ide_drive *d, enum block_op op, uint64_t offset, struct iovec *iov, unsigned n, uint64_t size);
void ide_text(uint8_t *to, const char *text, unsigned size); // as IDENTIFY has it: bytes swapped, padded

bool ide_take_address(struct ide_drive *d, bool wide); // lba and left from the task file; false: not on the disk
void ide_reset_drive(struct ide_drive *d);
void ide_disk_command(struct ide_drive *d, uint8_t command);
void ide_disk_dma(struct ide_drive *d);
void ide_cdrom_command(struct ide_drive *d, uint8_t command);
void ide_cdrom_dma(struct ide_drive *d);
void ide_signature(struct ide_drive *d); // what kind of drive it is, in the task file

#endif
