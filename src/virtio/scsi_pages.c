// SPDX-License-Identifier: MIT
//
// What a disk says of itself (SPC-4, "INQUIRY command", "Vital product data parameters"; SBC-3, "Mode parameters",
// "Block Limits VPD page"; MMC-6, "READ TOC/PMA/ATIP", "GET CONFIGURATION"): replies of a few dozen bytes, built in the
// request's buffer.
#include <string.h>

#include "virtio/scsi.h"

enum { VPD_PAGES = 0x00, VPD_SERIAL = 0x80, VPD_ID = 0x83, VPD_LIMITS = 0xb0, VPD_CHARACTERISTICS = 0xb1,
	VPD_PROVISIONING = 0xb2 };
enum { MODE_RECOVERY = 0x01, MODE_CACHING = 0x08, MODE_CD = 0x2a, MODE_ALL = 0x3f };
enum { UNMAP_BLOCKS_MAX = 1 << 22, WRITE_PROTECTED = 0x80 };

static bool answer(struct scsi_request *r, size_t size, uint64_t allocated)
{
	r->reply_size = MIN(size, allocated);
	return false;
}

// Text padded with spaces.
static void put_text(uint8_t *to, size_t n, const char *text)
{
	memset(to, ' ', n);
	memcpy(to, text, MIN(strlen(text), n));
}

static size_t page_list(const struct scsi_request *r, uint8_t *b)
{
	static const uint8_t all[] = {VPD_PAGES, VPD_SERIAL, VPD_ID, VPD_LIMITS, VPD_CHARACTERISTICS, VPD_PROVISIONING};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (all[i] == VPD_SERIAL && !*r->disk->config.serial)
			continue;
		if (all[i] > VPD_ID && r->disk->config.type == SCSI_CDROM)
			continue;
		b[n++] = all[i];
	}
	return n;
}

static size_t id_page(const struct scsi_request *r, uint8_t *b)
{
	const struct scsi_disk_config *c = &r->disk->config;
	const char *id = *c->serial ? c->serial : c->id;
	size_t n = strlen(id);

	if (!n)
		return 0;
	b[0] = 2; // ASCII
	b[3] = (uint8_t)n;
	memcpy(b + 4, id, n);
	return n + 4;
}

static size_t limits_page(const struct scsi_request *r, uint8_t *b)
{
	b[1] = 0; // no COMPARE AND WRITE
	scsi_put(b + 16, 4, UNMAP_BLOCKS_MAX);
	scsi_put(b + 20, 4, 1); // ranges in one UNMAP
	scsi_put(b + 24, 4, 1);
	scsi_put(b + 32, 8, UNMAP_BLOCKS_MAX); // WRITE SAME
	return 60;
}

static size_t provisioning_page(const struct scsi_request *r, uint8_t *b)
{
	b[1] = r->disk->image->readonly ? 0 : 0xe0; // UNMAP, and WRITE SAME that may
	b[2] = r->disk->image->readonly ? 1 : 2;    // fully or thinly provisioned
	return 4;
}

static bool vital_data(struct scsi_request *r, uint64_t allocated)
{
	uint8_t page = r->cdb[2], *b = r->reply + 4, list[16];
	size_t n = 0;

	if (!memchr(list, page, page_list(r, list)))
		return scsi_refuse(r, SCSI_BAD_FIELD);
	switch (page) {
	case VPD_PAGES:
		n = page_list(r, b);
		break;
	case VPD_SERIAL:
		n = strlen(r->disk->config.serial);
		memcpy(b, r->disk->config.serial, n);
		break;
	case VPD_ID:
		n = id_page(r, b);
		break;
	case VPD_LIMITS:
		n = limits_page(r, b);
		break;
	case VPD_CHARACTERISTICS:
		n = 60;
		break;
	case VPD_PROVISIONING:
		n = provisioning_page(r, b);
		break;
	}
	r->reply[0] = (uint8_t)r->disk->config.type;
	r->reply[1] = page;
	scsi_put(r->reply + 2, 2, n);
	return answer(r, n + 4, allocated);
}

bool scsi_inquiry(struct scsi_request *r)
{
	const struct scsi_disk_config *c = &r->disk->config;
	uint64_t allocated = scsi_get(r->cdb + 3, 2);
	uint8_t *b = r->reply;

	if (r->cdb[1] & 1)
		return vital_data(r, allocated);
	if (r->cdb[2])
		return scsi_refuse(r, SCSI_BAD_FIELD);
	b[0] = (uint8_t)c->type;
	b[1] = c->type == SCSI_CDROM ? 0x80 : 0; // removable
	b[2] = 5; // SPC-3
	b[3] = 0x12; // the data's format; reports LUNs as SAM has it
	b[4] = 36 - 5;
	b[7] = 2; // commands are queued
	put_text(b + 8, 8, *c->vendor ? c->vendor : "QEMU");
	put_text(b + 16, 16, *c->product ? c->product : c->type == SCSI_CDROM ? "QEMU CD-ROM" : "QEMU HARDDISK");
	put_text(b + 32, 4, "2.5+");
	return answer(r, 36, allocated);
}

// A page's bytes at b, or 0: there is no such page. values: not which of them could be changed, which are none.
static size_t mode_page(const struct scsi_request *r, uint8_t page, bool values, uint8_t *b)
{
	bool cd = r->disk->config.type == SCSI_CDROM;
	size_t n;

	if (page == MODE_CACHING && !cd) {
		n = 20;
		b[2] = values && r->disk->config.write_cache ? 4 : 0;
	} else if (page == MODE_RECOVERY) {
		n = 12;
		b[2] = values ? 0x80 : 0; // bad blocks are moved for writes
	} else if (page == MODE_CD && cd) {
		n = 22;
		if (values) {
			b[2] = 0x3b; // reads CD-R, CD-RW, DVD
			b[4] = 0x70; // multisession, two forms of mode 2
			b[6] = 0x2d; // may be locked, a tray
			scsi_put(b + 8, 2, 50 * 176);
			scsi_put(b + 12, 2, 2048);
			scsi_put(b + 14, 2, 16 * 176);
		}
	} else {
		return 0;
	}
	b[0] = page;
	b[1] = (uint8_t)(n - 2);
	return n;
}

bool scsi_mode_sense(struct scsi_request *r, bool long_form)
{
	static const uint8_t pages[] = {MODE_RECOVERY, MODE_CACHING, MODE_CD};
	uint8_t page = r->cdb[2] & 0x3f, control = r->cdb[2] >> 6, *b = r->reply;
	bool with_blocks = !(r->cdb[1] & 8) && r->disk->config.type == SCSI_HARD_DISK;
	size_t header = long_form ? 8 : 4, n = header, found = 0;

	if (control == 3) // there are none saved
		return scsi_refuse(r, (struct scsi_sense){5, 0x39, 0});
	b[long_form ? 3 : 2] = r->disk->image->readonly && r->disk->config.type == SCSI_HARD_DISK ? WRITE_PROTECTED : 0;
	if (with_blocks) {
		b[long_form ? 7 : 3] = 8;
		scsi_put(b + n, 4, MIN(r->disk->blocks, (uint64_t)UINT32_MAX));
		scsi_put(b + n + 5, 3, r->disk->block_size);
		b[n + 4] = 0;
		n += 8;
	}
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (page == pages[i] || page == MODE_ALL)
			found += mode_page(r, pages[i], control != 1, b + n + found);
	if (!found || (r->cdb[3] && r->cdb[3] != 0xff))
		return scsi_refuse(r, SCSI_BAD_FIELD);
	n += found;
	if (long_form)
		scsi_put(b, 2, n - 2);
	else
		b[0] = (uint8_t)(n - 1);
	return answer(r, n, long_form ? scsi_get(r->cdb + 7, 2) : r->cdb[4]);
}

bool scsi_report_luns(struct scsi_request *r)
{
	const struct virtio_scsi *v = r->disk->owner;
	uint64_t allocated = scsi_get(r->cdb + 6, 4);
	size_t n = 8;

	if (r->cdb[2] > 2)
		return scsi_refuse(r, SCSI_BAD_FIELD);
	for (unsigned i = 0; i < v->disks && r->cdb[2] != 1; i++) {
		const struct scsi_disk_config *c = &v->disk[i].config;

		if (c->target != r->disk->config.target)
			continue;
		r->reply[n + 1] = (uint8_t)c->lun;
		n += 8;
	}
	scsi_put(r->reply, 4, n - 8);
	return answer(r, n, allocated);
}

// One track of data, then the lead-out.
bool scsi_read_toc(struct scsi_request *r)
{
	uint8_t *b = r->reply, format = r->cdb[2] & 15, first = r->cdb[6];
	bool msf = r->cdb[1] & 2;
	size_t n = 4;

	if (format == 1) { // one session
		b[1] = 10;
		b[2] = b[3] = 1;
		b[5] = 0x14;
		b[6] = 1;
		return answer(r, 12, scsi_get(r->cdb + 7, 2));
	}
	if (format || (first > 1 && first != 0xaa))
		return scsi_refuse(r, SCSI_BAD_FIELD);
	b[2] = b[3] = 1;
	for (unsigned i = first > 1; i < 2; i++, n += 8) {
		uint64_t at = i ? r->disk->blocks : 0;

		b[n + 1] = 0x14; // data
		b[n + 2] = i ? 0xaa : 1;
		if (msf) {
			at += 150;
			b[n + 5] = (uint8_t)MIN(at / 75 / 60, 255u);
			b[n + 6] = (uint8_t)(at / 75 % 60);
			b[n + 7] = (uint8_t)(at % 75);
		} else {
			scsi_put(b + n + 4, 4, at);
		}
	}
	scsi_put(b, 2, n - 2);
	return answer(r, n, scsi_get(r->cdb + 7, 2));
}

bool scsi_get_configuration(struct scsi_request *r)
{
	uint8_t *b = r->reply;
	uint16_t profile = r->disk->blocks > 450000 ? 0x10 : 0x08; // DVD, CD

	scsi_put(b, 4, 16);
	scsi_put(b + 6, 2, profile);
	b[10] = 3; // feature 0, the list of profiles: persistent and current
	b[11] = 8;
	scsi_put(b + 12, 2, 0x10);
	b[14] = profile == 0x10;
	scsi_put(b + 16, 2, 0x08);
	b[18] = profile == 0x08;
	return answer(r, 20, scsi_get(r->cdb + 7, 2));
}

bool scsi_event_status(struct scsi_request *r)
{
	uint8_t *b = r->reply;

	if (!(r->cdb[1] & 1)) // only when asked, not when it happens
		return scsi_refuse(r, SCSI_BAD_FIELD);
	b[3] = 1 << 4; // media events are known
	if (!(r->cdb[4] & b[3])) {
		b[2] = 0x80; // nothing of what was asked for
		scsi_put(b, 2, 2);
		return answer(r, 4, scsi_get(r->cdb + 7, 2));
	}
	scsi_put(b, 2, 6);
	b[2] = 4;
	b[5] = 2; // a disc is in
	return answer(r, 8, scsi_get(r->cdb + 7, 2));
}
