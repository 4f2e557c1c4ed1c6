// SPDX-License-Identifier: MIT
//
// A disk on the IDE controller: its commands (ATA/ATAPI-6, "Command descriptions") as a table.
#include "dev/ide.h"

#include <string.h>

enum { DEVICE_LBA = BIT(6), SECTORS_28 = 1 << 28, SEGMENTS = 256 };
enum { FEATURE_WRITE_CACHE_ON = 0x02, FEATURE_WRITE_CACHE_OFF = 0x82, FEATURE_TRANSFER = 0x03,
	FEATURE_LOOK_AHEAD_ON = 0xaa, FEATURE_LOOK_AHEAD_OFF = 0x55, FEATURE_POWER_ON_DEFAULTS = 0xcc,
	FEATURE_KEEP = 0x66 };

static uint64_t sectors_of(const struct ide_drive *d)
{
	return d->image->size / IDE_SECTOR;
}

// At least 2, as in QEMU: a BIOS reads by cylinders, and finds no sector on a disk that has none.
static uint32_t cylinders_of(const struct ide_drive *d)
{
	return (uint32_t)MAX(MIN(sectors_of(d) / ((uint64_t)d->heads * d->sectors), UINT64_C(16383)), UINT64_C(2));
}

static void put_word(uint8_t *to, unsigned word, uint32_t value)
{
	to[word * 2] = (uint8_t)value;
	to[word * 2 + 1] = (uint8_t)(value >> 8);
}

static void put_long(uint8_t *to, unsigned word, uint64_t value, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		put_word(to, word + i, (uint32_t)(value >> 16 * i));
}

static void done(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC;
}

static void identify(struct ide_drive *d)
{
	uint8_t *w = d->buffer;
	uint64_t sectors = sectors_of(d);
	uint32_t chs = cylinders_of(d) * d->heads * d->sectors;

	memset(w, 0, IDE_SECTOR);
	put_word(w, 0, 0x0040); // fixed
	put_word(w, 1, cylinders_of(d));
	put_word(w, 3, d->heads);
	put_word(w, 6, d->sectors);
	ide_text(w + 10 * 2, d->serial, IDE_SERIAL);
	ide_text(w + 23 * 2, "1.0", 8);
	ide_text(w + 27 * 2, "RINGER HARDDISK", 40);
	put_word(w, 47, 0x8000 | IDE_MULTIPLE);
	put_word(w, 48, 1);       // transfers of 32 bits
	put_word(w, 49, 0x0b00);  // DMA, LBA, IORDY
	put_word(w, 50, 0x4000);
	put_word(w, 51, 0x0200);
	put_word(w, 53, 7);
	put_word(w, 54, cylinders_of(d));
	put_word(w, 55, d->heads);
	put_word(w, 56, d->sectors);
	put_long(w, 57, chs, 2);
	put_word(w, 59, d->multiple ? 0x100u | d->multiple : 0);
	put_long(w, 60, MIN(sectors, (uint64_t)SECTORS_28 - 1), 2);
	put_word(w, 63, 0x0007);  // multiword DMA
	put_word(w, 64, 3);       // PIO 3 and 4
	for (unsigned i = 65; i <= 68; i++)
		put_word(w, i, 120);  // ns a cycle
	put_word(w, 80, 0x00f0);  // ATA-4 to 7
	put_word(w, 82, 0x4020);  // write cache
	put_word(w, 83, 0x7400);  // FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses
	put_word(w, 84, 0x4000);
	put_word(w, 85, 0x4020);
	put_word(w, 86, 0x3400);
	put_word(w, 87, 0x4000);
	put_word(w, 88, 0x203f);  // Ultra DMA 0 to 5; 5 is on
	put_word(w, 93, 0x6001);
	put_long(w, 100, sectors, 4);
	ide_put(d, IDE_SECTOR, done);
	ide_interrupt(d);
}

// -- where and how much

bool ide_take_address(struct ide_drive *d, bool wide)
{
	const struct ide_regs *r = &d->r;
	uint32_t count = wide ? r->count[0] | (uint32_t)r->count[1] << 8 : r->count[0];
	uint64_t end;

	d->left = count ? count : wide ? 65536 : 256;
	if (wide) {
		d->lba = (uint64_t)r->low[0] | (uint64_t)r->mid[0] << 8 | (uint64_t)r->high[0] << 16 |
			 (uint64_t)r->low[1] << 24 | (uint64_t)r->mid[1] << 32 | (uint64_t)r->high[1] << 40;
	} else if (d->device & DEVICE_LBA) {
		d->lba = r->low[0] | (uint32_t)r->mid[0] << 8 | (uint32_t)r->high[0] << 16 | (uint32_t)(d->device & 15) << 24;
	} else {
		uint32_t cylinder = r->mid[0] | (uint32_t)r->high[0] << 8;

		if (!r->low[0] || r->low[0] > d->sectors || (d->device & 15) >= d->heads)
			return false;
		d->lba = ((uint64_t)cylinder * d->heads + (d->device & 15)) * d->sectors + r->low[0] - 1;
	}
	end = d->lba + d->left;
	return end <= sectors_of(d);
}

static void not_there(struct ide_drive *d)
{
	ide_abort(d);
	d->error = IDE_NO_ID;
}

static void broken(struct ide_drive *d)
{
	ide_abort(d);
	d->error = IDE_BAD_DATA | IDE_ABORTED;
}

// -- programmed I/O

static uint32_t next_block(struct ide_drive *d)
{
	uint32_t n = MIN(d->left, d->block);

	d->left -= n;
	return n * IDE_SECTOR;
}

static void read_block(struct ide_drive *d)
{
	uint32_t size = next_block(d);
	struct iovec iov = {d->buffer, size};

	if (!size) {
		done(d);
		return;
	}
	if (ide_image(d, BLOCK_READ, d->lba * IDE_SECTOR, &iov, 1, size)) {
		broken(d);
		return;
	}
	d->lba += size / IDE_SECTOR;
	ide_put(d, size, read_block);
	ide_interrupt(d);
}

static void write_block(struct ide_drive *d)
{
	struct iovec iov = {d->buffer, d->end};
	uint32_t size;

	if (ide_image(d, BLOCK_WRITE, d->lba * IDE_SECTOR, &iov, 1, d->end)) {
		broken(d);
		return;
	}
	d->lba += d->end / IDE_SECTOR;
	size = next_block(d);
	if (!size) {
		ide_end(d);
		return;
	}
	ide_take(d, size, write_block);
	ide_interrupt(d);
}

static void start_read(struct ide_drive *d, bool wide, uint32_t block)
{
	d->block = block;
	if (!block)
		ide_abort(d);
	else if (!ide_take_address(d, wide))
		not_there(d);
	else
		read_block(d);
}

static void start_write(struct ide_drive *d, bool wide, uint32_t block)
{
	d->block = block;
	if (!block || d->image->readonly)
		ide_abort(d);
	else if (!ide_take_address(d, wide))
		not_there(d);
	else
		ide_take(d, next_block(d), write_block); // the first one without an interrupt
}

// -- by bus mastering

static void start_dma(struct ide_drive *d, bool wide, bool write)
{
	d->to_drive = write;
	if (write && d->image->readonly) {
		ide_abort(d);
	} else if (!ide_take_address(d, wide)) {
		not_there(d);
	} else {
		d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
		d->error = 0;
		d->dma_waits = true;
	}
}

void ide_disk_dma(struct ide_drive *d)
{
	uint64_t size = (uint64_t)d->left * IDE_SECTOR, moved = 0, part;
	struct iovec iov[SEGMENTS];

	while (moved < size) {
		unsigned n = ide_dma_segments(d->channel, moved, size - moved, iov, SEGMENTS, &part, !d->to_drive);

		if (!n || part % IDE_SECTOR ||
		    ide_image(d, d->to_drive ? BLOCK_WRITE : BLOCK_READ, d->lba * IDE_SECTOR + moved, iov, n, part)) {
			broken(d);
			return;
		}
		moved += part;
	}
	ide_end(d);
}

// -- the others

static void flush(struct ide_drive *d)
{
	if (ide_image(d, BLOCK_FLUSH, 0, NULL, 0, 0) && !d->image->readonly)
		broken(d);
	else
		ide_end(d);
}

static void verify(struct ide_drive *d, bool wide)
{
	if (ide_take_address(d, wide))
		ide_end(d);
	else
		not_there(d);
}

static void set_multiple(struct ide_drive *d)
{
	uint8_t n = d->r.count[0];

	if (n > IDE_MULTIPLE || n & (n - 1)) {
		ide_abort(d);
		return;
	}
	d->multiple = n;
	ide_end(d);
}

static void set_geometry(struct ide_drive *d)
{
	uint8_t heads = (uint8_t)((d->device & 15) + 1), sectors = d->r.count[0];

	if (!sectors) {
		ide_abort(d);
		return;
	}
	d->heads = heads;
	d->sectors = sectors;
	ide_end(d);
}

static void set_features(struct ide_drive *d)
{
	switch (d->r.feature[0]) {
	case FEATURE_WRITE_CACHE_ON: case FEATURE_TRANSFER: case FEATURE_LOOK_AHEAD_ON: case FEATURE_LOOK_AHEAD_OFF:
	case FEATURE_POWER_ON_DEFAULTS: case FEATURE_KEEP:
		ide_end(d);
		break;
	case FEATURE_WRITE_CACHE_OFF: // what is written is safe after a flush only
		flush(d);
		break;
	default:
		ide_abort(d);
	}
}

static void read_native_max(struct ide_drive *d, bool wide)
{
	uint64_t last = sectors_of(d) - 1;

	if (!wide)
		last = MIN(last, (uint64_t)SECTORS_28 - 1);
	d->r.low[0] = (uint8_t)last;
	d->r.mid[0] = (uint8_t)(last >> 8);
	d->r.high[0] = (uint8_t)(last >> 16);
	if (wide) {
		d->r.low[1] = (uint8_t)(last >> 24);
		d->r.mid[1] = (uint8_t)(last >> 32);
		d->r.high[1] = (uint8_t)(last >> 40);
	} else {
		d->device = (uint8_t)((d->device & 0xf0) | (last >> 24 & 15));
	}
	ide_end(d);
}

void ide_disk_command(struct ide_drive *d, uint8_t command)
{
	switch (command) {
	case 0x20: case 0x21: start_read(d, false, 1); break;
	case 0x24: start_read(d, true, 1); break;
	case 0x25: start_dma(d, true, false); break;
	case 0x27: read_native_max(d, true); break;
	case 0x29: start_read(d, true, d->multiple); break;
	case 0x30: case 0x31: start_write(d, false, 1); break;
	case 0x34: start_write(d, true, 1); break;
	case 0x35: start_dma(d, true, true); break;
	case 0x39: start_write(d, true, d->multiple); break;
	case 0x40: case 0x41: verify(d, false); break;
	case 0x42: verify(d, true); break;
	case 0x91: set_geometry(d); break;
	case 0xc4: start_read(d, false, d->multiple); break;
	case 0xc5: start_write(d, false, d->multiple); break;
	case 0xc6: set_multiple(d); break;
	case 0xc8: case 0xc9: start_dma(d, false, false); break;
	case 0xca: case 0xcb: start_dma(d, false, true); break;
	case 0xe5: case 0x98: d->r.count[0] = 0xff; ide_end(d); break; // power mode: active
	case 0xe7: case 0xea: flush(d); break;
	case 0xec: identify(d); break;
	case 0xef: set_features(d); break;
	case 0xf8: read_native_max(d, false); break;
	case 0x70: case 0x94: case 0x95: case 0x96: case 0x97: case 0xe0: case 0xe1: case 0xe2: case 0xe3:
		ide_end(d); // SEEK, STANDBY, IDLE
		break;
	case 0xa1: // IDENTIFY PACKET DEVICE: this is none
		ide_signature(d);
		ide_abort(d);
		break;
	default:
		if (command >> 4 == 1) // RECALIBRATE
			ide_end(d);
		else
			ide_abort(d);
	}
}
