// SPDX-License-Identifier: MIT
//
// The commands of disks and CD-ROMs (SPC-4; SBC-3, "Direct access block device type model"; MMC-6), as one table from
// opcode to function. Addresses and lengths are the guest's: they are checked against the disk here, once, in 64 bits.
// Not built, and refused as the standard has it: FUA (which is not advertised), MODE SELECT, WRITE SAME of anything but
// zeroes, reservations.
#include <string.h>

#include "virtio/scsi.h"

enum { RDPROTECT = 0xe0, FUA = 0x08, UNMAP_BIT = 0x08, UNMAP_HEADER = 8, UNMAP_RANGE = 16, RANGE_BLOCKS_MAX = 1 << 22 };

bool scsi_refuse(struct scsi_request *r, struct scsi_sense why)
{
	r->status = SCSI_CHECK_CONDITION;
	r->sense = why;
	r->reply_size = 0;
	return false;
}

static bool nothing(struct scsi_request *r)
{
	return false;
}

static bool request_sense(struct scsi_request *r)
{
	r->reply[0] = 0x70; // no sense: it was given with each answer
	r->reply[7] = SCSI_SENSE - 8;
	r->reply_size = MIN((size_t)SCSI_SENSE, (size_t)r->cdb[4]);
	return false;
}

// A command's address and number of blocks, by its length.
struct extent {
	uint64_t block, count;
};

static struct extent extent_of(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return (struct extent){scsi_get(cdb + 1, 3) & 0x1fffff, cdb[4] ? cdb[4] : 256};
	case 4:
		return (struct extent){scsi_get(cdb + 2, 8), scsi_get(cdb + 10, 4)};
	case 5:
		return (struct extent){scsi_get(cdb + 2, 4), scsi_get(cdb + 6, 4)};
	}
	return (struct extent){scsi_get(cdb + 2, 4), scsi_get(cdb + 7, 2)};
}

static bool in_disk(const struct scsi_disk *d, struct extent e)
{
	return e.block <= d->blocks && e.count <= d->blocks - e.block;
}

static void place(struct scsi_request *r, struct extent e)
{
	r->r.offset = e.block * r->disk->block_size;
	r->r.size = e.count * r->disk->block_size;
}

static bool transfer(struct scsi_request *r, enum block_op op)
{
	struct extent e = extent_of(r->cdb);

	if ((r->cdb[0] >> 5) && (r->cdb[1] & (RDPROTECT | (op == BLOCK_WRITE ? FUA : 0))))
		return scsi_refuse(r, SCSI_BAD_FIELD);
	if (!in_disk(r->disk, e))
		return scsi_refuse(r, SCSI_OUT_OF_RANGE);
	if (op == BLOCK_WRITE && r->disk->image->readonly)
		return scsi_refuse(r, SCSI_WRITE_PROTECTED);
	r->r.op = op;
	place(r, e);
	return e.count > 0;
}

static bool read_blocks(struct scsi_request *r)
{
	return transfer(r, BLOCK_READ);
}

static bool write_blocks(struct scsi_request *r)
{
	return transfer(r, BLOCK_WRITE);
}

static bool verify(struct scsi_request *r)
{
	if (r->cdb[1] & (RDPROTECT | 6)) // against data
		return scsi_refuse(r, SCSI_BAD_FIELD);
	return in_disk(r->disk, extent_of(r->cdb)) ? false : scsi_refuse(r, SCSI_OUT_OF_RANGE);
}

static bool synchronize(struct scsi_request *r)
{
	r->r.op = BLOCK_FLUSH;
	return true;
}

static bool clear(struct scsi_request *r, struct extent e, enum block_op op, bool may_unmap)
{
	if (r->disk->image->readonly)
		return scsi_refuse(r, SCSI_WRITE_PROTECTED);
	if (!in_disk(r->disk, e))
		return scsi_refuse(r, SCSI_OUT_OF_RANGE);
	if (e.count > RANGE_BLOCKS_MAX)
		return scsi_refuse(r, SCSI_BAD_FIELD);
	r->r.op = op;
	r->r.may_unmap = may_unmap;
	place(r, e);
	return e.count > 0;
}

static bool write_same(struct scsi_request *r)
{
	struct extent e = extent_of(r->cdb);
	uint8_t block[4096];
	size_t n = r->disk->block_size;

	if (r->cdb[1] & (RDPROTECT | 6))
		return scsi_refuse(r, SCSI_BAD_FIELD);
	if (!(r->cdb[1] & 1) || r->cdb[0] != 0x93) { // data comes along
		if (scsi_data_out(r, 0, block, n) < n || block[0] || memcmp(block, block + 1, n - 1))
			return scsi_refuse(r, SCSI_BAD_FIELD);
	}
	if (!e.count) // to the disk's end
		e.count = e.block < r->disk->blocks ? r->disk->blocks - e.block : 0;
	return clear(r, e, BLOCK_ZERO, r->cdb[1] & UNMAP_BIT);
}

static bool unmap(struct scsi_request *r)
{
	uint8_t list[UNMAP_HEADER + UNMAP_RANGE];
	uint64_t size = scsi_get(r->cdb + 7, 2), ranges;

	if (r->cdb[1] & 1)
		return scsi_refuse(r, SCSI_BAD_FIELD);
	if (!size)
		return false;
	if (size < UNMAP_HEADER || scsi_data_out(r, 0, list, UNMAP_HEADER) < UNMAP_HEADER)
		return scsi_refuse(r, (struct scsi_sense){5, 0x1a, 0});
	ranges = MIN(scsi_get(list + 2, 2), size - UNMAP_HEADER) / UNMAP_RANGE;
	if (!ranges)
		return false;
	if (ranges > 1 || scsi_data_out(r, 0, list, sizeof(list)) < sizeof(list))
		return scsi_refuse(r, SCSI_BAD_PARAMETER);
	return clear(r, (struct extent){scsi_get(list + 8, 8), scsi_get(list + 16, 4)}, BLOCK_DISCARD, true);
}

static bool read_capacity(struct scsi_request *r)
{
	uint64_t last = r->disk->blocks ? r->disk->blocks - 1 : 0;

	scsi_put(r->reply, 4, MIN(last, (uint64_t)UINT32_MAX));
	scsi_put(r->reply + 4, 4, r->disk->block_size);
	r->reply_size = 8;
	return false;
}

static bool read_capacity_long(struct scsi_request *r)
{
	const struct scsi_disk_config *c = &r->disk->config;

	if ((r->cdb[1] & 31) != 0x10)
		return scsi_refuse(r, SCSI_BAD_FIELD);
	scsi_put(r->reply, 8, r->disk->blocks ? r->disk->blocks - 1 : 0);
	scsi_put(r->reply + 8, 4, r->disk->block_size);
	if (c->physical_size > r->disk->block_size)
		r->reply[13] = (uint8_t)__builtin_ctz(c->physical_size / r->disk->block_size);
	r->reply[14] = r->disk->image->readonly ? 0 : 0x80; // thinly provisioned
	r->reply_size = MIN((size_t)32, (size_t)scsi_get(r->cdb + 10, 4));
	return false;
}

static bool mode_sense_short(struct scsi_request *r)
{
	return scsi_mode_sense(r, false);
}

static bool mode_sense_long(struct scsi_request *r)
{
	return scsi_mode_sense(r, true);
}

static bool start_stop(struct scsi_request *r)
{
	return r->cdb[4] & 2 ? scsi_refuse(r, SCSI_BAD_FIELD) : false; // nothing can be taken out
}

// For both kinds, disks alone, CD-ROMs alone.
enum whose { BOTH, DISK, CD };

static const struct {
	uint8_t opcode, whose;
	bool (*execute)(struct scsi_request *r);
} commands[] = {
	{ 0x00, BOTH, nothing }, { 0x03, BOTH, request_sense }, { 0x08, BOTH, read_blocks }, { 0x0a, DISK, write_blocks },
	{ 0x12, BOTH, scsi_inquiry }, { 0x1a, BOTH, mode_sense_short }, { 0x1b, BOTH, start_stop },
	{ 0x1e, BOTH, nothing /* prevent or allow removal */ }, { 0x25, BOTH, read_capacity }, { 0x28, BOTH, read_blocks },
	{ 0x2a, DISK, write_blocks }, { 0x2f, DISK, verify }, { 0x35, BOTH, synchronize }, { 0x41, DISK, write_same },
	{ 0x42, DISK, unmap }, { 0x43, CD, scsi_read_toc }, { 0x46, CD, scsi_get_configuration },
	{ 0x4a, CD, scsi_event_status }, { 0x5a, BOTH, mode_sense_long }, { 0x88, DISK, read_blocks },
	{ 0x8a, DISK, write_blocks }, { 0x8f, DISK, verify }, { 0x91, DISK, synchronize }, { 0x93, DISK, write_same },
	{ 0x9e, DISK, read_capacity_long }, { 0xa0, BOTH, scsi_report_luns }, { 0xa8, BOTH, read_blocks },
	{ 0xaa, DISK, write_blocks },
};

bool scsi_execute(struct scsi_request *r)
{
	bool cd = r->disk->config.type == SCSI_CDROM;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].opcode == r->cdb[0] && (commands[i].whose == BOTH || (commands[i].whose == CD) == cd))
			return commands[i].execute(r);
	return scsi_refuse(r, SCSI_BAD_OPCODE);
}
