// SPDX-License-Identifier: MIT
//
// A CD-ROM on the IDE controller: packet commands (ATA/ATAPI-6, "PACKET"; MMC-6 and SPC-3 for what is in the packets).
// The tray may be empty or open. An answer goes to the guest in parts of at most as many bytes as it has asked for;
// data that is read goes through the buffer, a part of the sectors at a time.
#include "dev/ide.h"

#include <string.h>

enum { REASON_COMMAND = BIT(0), REASON_TO_HOST = BIT(1), FEATURE_DMA = BIT(0), SEGMENTS = 64 };
enum { SENSE_NONE = 0, SENSE_NOT_READY = 2, SENSE_MEDIUM = 3, SENSE_ILLEGAL = 5, SENSE_ATTENTION = 6 };
enum { ASC_INVALID_COMMAND = 0x20, ASC_OUT_OF_RANGE = 0x21, ASC_INVALID_FIELD = 0x24, ASC_CHANGED = 0x28,
	ASC_READ_ERROR = 0x11, ASC_NO_MEDIUM = 0x3a, ASC_LOCKED = 0x53 };
enum { CD_CURRENT = 6, DVD_CURRENT = 10 /* among the features */ };
enum { LEAD_OUT = 0xaa, PROFILE_CDROM = 8, SECTORS_A_TIME = IDE_BUFFER / CD_SECTOR };

static uint32_t sectors_of(const struct ide_drive *d)
{
	return (uint32_t)MIN(d->image->size / CD_SECTOR, (uint64_t)UINT32_MAX);
}

static bool has_disc(const struct ide_drive *d)
{
	return d->image && !d->open;
}

static void put16be(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32be(uint8_t *p, uint32_t v)
{
	put16be(p, v >> 16);
	put16be(p + 2, v);
}

static uint32_t get16be(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get32be(const uint8_t *p)
{
	return get16be(p) << 16 | get16be(p + 2);
}

// -- the end of a packet command

static void finish(struct ide_drive *d)
{
	d->r.count[0] = REASON_TO_HOST | REASON_COMMAND;
	ide_end(d);
}

static void fail(struct ide_drive *d, uint8_t sense, uint8_t asc)
{
	d->sense = sense;
	d->asc = asc;
	d->r.count[0] = REASON_TO_HOST | REASON_COMMAND;
	ide_abort(d);
	d->error = (uint8_t)(sense << 4 | IDE_ABORTED);
}

// -- answers

static bool fill(struct ide_drive *d)
{
	uint32_t n = MIN(d->cd_left, (uint32_t)SECTORS_A_TIME);
	struct iovec iov = {d->buffer, (size_t)n * CD_SECTOR};

	if (ide_image(d, BLOCK_READ, (uint64_t)d->cd_lba * CD_SECTOR, &iov, 1, iov.iov_len))
		return false;
	d->cd_lba += n;
	d->cd_left -= n;
	d->answer_at = 0;
	d->answer_end = n * CD_SECTOR;
	return true;
}

// The next part by programmed I/O. An odd limit cannot be kept but at the end.
static void next_part(struct ide_drive *d)
{
	uint32_t limit = d->part_max, n;

	if (d->answer_at == d->answer_end && (!d->cd_left || !fill(d))) {
		if (d->cd_left)
			fail(d, SENSE_MEDIUM, ASC_READ_ERROR);
		else
			finish(d);
		return;
	}
	limit = limit && limit != 0xffff ? limit : 0xfffe;
	n = d->answer_end - d->answer_at;
	if (n > limit)
		n = MAX(limit & ~1u, 2u);
	d->r.mid[0] = (uint8_t)n;
	d->r.high[0] = (uint8_t)(n >> 8);
	d->r.count[0] = REASON_TO_HOST;
	ide_put(d, d->answer_at + n, next_part);
	d->at = d->answer_at;
	d->answer_at += n;
	ide_interrupt(d);
}

static void start_answer(struct ide_drive *d)
{
	if (d->answer_end == d->answer_at && !d->cd_left) {
		finish(d);
	} else if (d->packet_dma) {
		d->to_drive = false;
		d->r.count[0] = REASON_TO_HOST;
		d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
		d->dma_waits = true;
	} else {
		next_part(d);
	}
}

// What stands in the buffer, but no more than the packet allows.
static void answer(struct ide_drive *d, uint32_t size, uint32_t allowed)
{
	d->answer_at = 0;
	d->answer_end = MIN(size, allowed);
	d->cd_left = 0;
	start_answer(d);
}

// The buffer's bytes into the guest's memory, from `skip` on of what the table describes.
static bool to_memory(struct ide_drive *d, uint64_t skip)
{
	struct iovec iov[SEGMENTS];
	const uint8_t *from = d->buffer + d->answer_at;
	uint64_t size = d->answer_end - d->answer_at, moved = 0, part;

	while (moved < size) {
		unsigned n = ide_dma_segments(d->channel, skip + moved, size - moved, iov, SEGMENTS, &part, true);

		if (!n)
			return false;
		for (unsigned i = 0; i < n; i++) {
			memcpy(iov[i].iov_base, from, iov[i].iov_len);
			from += iov[i].iov_len;
		}
		moved += part;
	}
	return true;
}

void ide_cdrom_dma(struct ide_drive *d)
{
	uint64_t moved = 0;

	for (;;) {
		if (d->answer_at == d->answer_end && d->cd_left && !fill(d)) {
			fail(d, SENSE_MEDIUM, ASC_READ_ERROR);
			return;
		}
		if (d->answer_at == d->answer_end)
			break;
		if (!to_memory(d, moved)) {
			fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
			return;
		}
		moved += d->answer_end - d->answer_at;
		d->answer_at = d->answer_end;
	}
	finish(d);
}

// -- packet commands

static void inquiry(struct ide_drive *d, const uint8_t *p)
{
	uint8_t *b = d->buffer;

	memset(b, 0, 36);
	b[0] = 5;    // CD-ROM
	b[1] = 0x80; // removable
	b[3] = 0x21; // ATAPI
	b[4] = 31;
	memcpy(b + 8, "RINGER  CD-ROM          1.0 ", 28);
	answer(d, 36, p[4]);
}

static void request_sense(struct ide_drive *d, const uint8_t *p)
{
	uint8_t *b = d->buffer;

	memset(b, 0, 18);
	b[0] = 0x70;
	b[2] = d->sense;
	b[7] = 10;
	b[12] = d->asc;
	d->sense = d->asc = 0;
	answer(d, 18, p[4]);
}

static void read_sectors(struct ide_drive *d, uint32_t lba, uint32_t count)
{
	if (lba > sectors_of(d) || count > sectors_of(d) - lba) {
		fail(d, SENSE_ILLEGAL, ASC_OUT_OF_RANGE);
		return;
	}
	d->cd_lba = lba;
	d->cd_left = count;
	d->answer_at = d->answer_end = 0;
	start_answer(d);
}

static void capacity(struct ide_drive *d)
{
	put32be(d->buffer, sectors_of(d) - 1);
	put32be(d->buffer + 4, CD_SECTOR);
	answer(d, 8, 8);
}

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
	uint32_t frame = lba + 150;

	if (!msf) {
		put32be(p, lba);
		return;
	}
	p[0] = 0;
	p[1] = (uint8_t)(frame / (75 * 60));
	p[2] = (uint8_t)(frame / 75 % 60);
	p[3] = (uint8_t)(frame % 75);
}

static void put_track(uint8_t *p, uint8_t track, uint32_t lba, bool msf)
{
	p[0] = p[3] = 0;
	p[1] = 0x14; // data
	p[2] = track;
	put_address(p + 4, lba, msf);
}

static void read_toc(struct ide_drive *d, const uint8_t *p)
{
	bool msf = p[1] & 2;
	unsigned format = p[2] & 15 ? p[2] & 15 : p[9] >> 6, n = 4;
	uint8_t *b = d->buffer;

	if (format > 1 || (format == 0 && p[6] > 1 && p[6] != LEAD_OUT)) {
		fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	b[2] = b[3] = 1;
	if (format == 1 || p[6] <= 1) {
		put_track(b + n, 1, 0, msf);
		n += 8;
	}
	if (format == 0) {
		put_track(b + n, LEAD_OUT, sectors_of(d), msf);
		n += 8;
	}
	put16be(b, n - 2);
	answer(d, n, get16be(p + 7));
}

static void mode_sense(struct ide_drive *d, const uint8_t *p)
{
	static const uint8_t error_page[] = {0x01, 0x06, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00};
	static const uint8_t capabilities[] = {0x2a, 0x12, 0x00, 0x00, 0x71, 0x60, 0x29, 0x00, 0x02, 0xc2, 0x00, 0x02,
		0x02, 0x00, 0x02, 0xc2, 0x00, 0x00, 0x00, 0x00};
	unsigned page = p[2] & 0x3f, n = 8;
	uint8_t *b = d->buffer;

	if (p[2] >> 6 == 3) { // saved values: there are none
		fail(d, SENSE_ILLEGAL, 0x39);
		return;
	}
	memset(b, 0, 8);
	if (page == 0x01 || page == 0x3f) {
		memcpy(b + n, error_page, sizeof(error_page));
		n += sizeof(error_page);
	}
	if (page == 0x2a || page == 0x3f) {
		memcpy(b + n, capabilities, sizeof(capabilities));
		b[n + 6] |= d->locked ? 2 : 0;
		n += sizeof(capabilities);
	}
	if (n == 8) {
		fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	put16be(b, n - 2);
	b[2] = 0x70; // no button, a data disc
	answer(d, n, get16be(p + 7));
}

static void configuration(struct ide_drive *d, const uint8_t *p)
{
	static const uint8_t features[] = {
		0, 0, 3, 8, 0, PROFILE_CDROM, 1, 0, 0, 0x10, 1, 0, // profile list
		0, 1, 3, 4, 0, 0, 0, 2,                            // core: ATAPI
		0, 3, 3, 4, 0x29, 0, 0, 0,                         // removable medium
	};
	uint8_t *b = d->buffer;
	unsigned n = 8 + sizeof(features);

	memset(b, 0, 8);
	put32be(b, n - 4);
	put16be(b + 6, has_disc(d) ? PROFILE_CDROM : 0);
	memcpy(b + 8, features, sizeof(features));
	b[8 + CD_CURRENT] = b[8 + DVD_CURRENT] = has_disc(d);
	answer(d, n, get16be(p + 7));
}

static void event_status(struct ide_drive *d, const uint8_t *p)
{
	uint8_t *b = d->buffer;

	if (!(p[1] & 1)) { // without polling
		fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	memset(b, 0, 8);
	b[3] = 0x10; // there are media events
	if (p[4] & 0x10) {
		put16be(b, 6);
		b[2] = 4;
		b[4] = d->media_event;
		b[5] = (has_disc(d) ? 2 : 0) | d->open;
		d->media_event = IDE_MEDIA_NONE;
		answer(d, 8, get16be(p + 7));
	} else {
		put16be(b, 2);
		b[2] = 0x80;
		answer(d, 4, get16be(p + 7));
	}
}

static void disc_information(struct ide_drive *d, const uint8_t *p)
{
	uint8_t *b = d->buffer;

	memset(b, 0, 34);
	b[1] = 32;
	b[2] = 0x0e; // complete
	b[3] = b[4] = b[5] = b[6] = 1;
	b[7] = 0x20;
	answer(d, 34, get16be(p + 7));
}

// -- the tray

void ide_cdrom_move_tray(struct ide_drive *d, bool open)
{
	if (d->open == open)
		return;
	d->open = open;
	d->changed = !open && d->image;
	d->media_event = open ? IDE_MEDIA_REMOVED : d->image ? IDE_MEDIA_NEW : IDE_MEDIA_NONE;
	if (d->channel->ide->tray_moved)
		d->channel->ide->tray_moved(d->channel->ide->opaque);
}

void ide_cdrom_press_button(struct ide_drive *d)
{
	if (d->locked)
		d->media_event = IDE_MEDIA_EJECT_ASKED;
	else
		ide_cdrom_move_tray(d, true);
}

struct block *ide_cdrom_change(struct ide_drive *d, struct block *image)
{
	struct block *old = d->image;

	d->image = image;
	d->cd_left = 0; // what was being read is gone
	d->changed = image && !d->open;
	if (!d->open)
		d->media_event = image ? IDE_MEDIA_NEW : IDE_MEDIA_REMOVED;
	return old;
}

// START STOP UNIT: of the disc's turning nothing is to be seen.
static void start_stop(struct ide_drive *d, const uint8_t *p)
{
	enum { START = BIT(0), LOAD_EJECT = BIT(1) };

	if (!(p[4] & LOAD_EJECT)) {
		if (!(p[4] & START) || has_disc(d))
			finish(d);
		else
			fail(d, SENSE_NOT_READY, ASC_NO_MEDIUM);
	} else if (!(p[4] & START) && d->locked) {
		fail(d, has_disc(d) ? SENSE_ILLEGAL : SENSE_NOT_READY, ASC_LOCKED);
	} else {
		ide_cdrom_move_tray(d, !(p[4] & START));
		finish(d);
	}
}

static bool needs_disc(uint8_t command)
{
	static const uint8_t those[] = {0x00, 0x25, 0x28, 0x2b, 0x43, 0x51, 0xa8};

	return memchr(those, command, sizeof(those));
}

static void packet(struct ide_drive *d)
{
	uint8_t p[CD_PACKET];

	memcpy(p, d->buffer, sizeof(p));
	if (d->changed && p[0] != 0x12 && p[0] != 0x03 && p[0] != 0x4a && p[0] != 0x46) {
		d->changed = false;
		fail(d, SENSE_ATTENTION, ASC_CHANGED);
		return;
	}
	if (needs_disc(p[0]) && !has_disc(d)) {
		fail(d, SENSE_NOT_READY, ASC_NO_MEDIUM);
		return;
	}
	switch (p[0]) {
	case 0x00: case 0x2b: finish(d); break; // is it ready; seek
	case 0x1b: start_stop(d, p); break;
	case 0x1e:
		d->locked = p[4] & 1;
		finish(d);
		break;
	case 0x03: request_sense(d, p); break;
	case 0x12: inquiry(d, p); break;
	case 0x25: capacity(d); break;
	case 0x28: read_sectors(d, get32be(p + 2), get16be(p + 7)); break;
	case 0xa8: read_sectors(d, get32be(p + 2), get32be(p + 6)); break;
	case 0x43: read_toc(d, p); break;
	case 0x46: configuration(d, p); break;
	case 0x4a: event_status(d, p); break;
	case 0x51: disc_information(d, p); break;
	case 0x5a: mode_sense(d, p); break;
	case 0xbd:
		memset(d->buffer, 0, 8);
		d->buffer[5] = 1;
		answer(d, 8, get16be(p + 8));
		break;
	default: fail(d, SENSE_ILLEGAL, ASC_INVALID_COMMAND);
	}
}

// -- ATA commands

static void done(struct ide_drive *d)
{
	d->status = IDE_DRDY | IDE_DSC;
}

static void identify_packet(struct ide_drive *d)
{
	uint8_t *w = d->buffer;

	memset(w, 0, IDE_SECTOR);
	w[0] = 0xc0; // ATAPI, CD-ROM, removable, packets of 12 bytes
	w[1] = 0x85;
	ide_text(w + 20, d->serial, IDE_SERIAL);
	ide_text(w + 46, "1.0", 8);
	ide_text(w + 54, "RINGER CD-ROM", 40);
	w[96] = 1;
	w[99] = 0x03; // DMA, LBA
	w[106] = 7;
	w[126] = 7;   // multiword DMA
	w[128] = 3;
	for (unsigned i = 65; i <= 68; i++)
		w[i * 2] = 120;
	w[160] = 0x1e; // up to ATAPI-4
	w[176] = 0x3f; // Ultra DMA
	w[177] = 0x20;
	ide_put(d, IDE_SECTOR, done);
	ide_interrupt(d);
}

void ide_cdrom_command(struct ide_drive *d, uint8_t command)
{
	switch (command) {
	case 0xa0:
		d->packet_dma = d->r.feature[0] & FEATURE_DMA;
		d->part_max = (uint16_t)(d->r.mid[0] | d->r.high[0] << 8);
		d->r.count[0] = REASON_COMMAND;
		ide_take(d, CD_PACKET, packet);
		break;
	case 0xa1: identify_packet(d); break;
	case 0xef: case 0xe0: case 0xe1: case 0xe2: case 0xe3: ide_end(d); break;
	case 0xe5: d->r.count[0] = 0xff; ide_end(d); break;
	case 0xec: case 0x20: case 0x21: // IDENTIFY DEVICE, READ SECTORS: it says what it is
		ide_signature(d);
		ide_abort(d);
		break;
	default: ide_abort(d);
	}
}
