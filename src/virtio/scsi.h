// SPDX-License-Identifier: MIT
//
// virtio-scsi: a bus of disks and CD-ROMs. virtio/scsi.c moves requests, virtio/scsi_disk.c knows what the commands
// mean, virtio/scsi_pages.c what a disk says of itself.
#ifndef VIRTIO_SCSI_H
#define VIRTIO_SCSI_H

#include "io/block.h"
#include "virtio/virtio.h"

enum { SCSI_DISKS = 32, SCSI_TARGETS = 256, SCSI_LUNS = 256, SCSI_CDB = 64, SCSI_SENSE = 18, SCSI_REPLY = 512,
	SCSI_SEGMENTS = 130 };

enum scsi_type { SCSI_HARD_DISK = 0, SCSI_CDROM = 5 };
enum scsi_status { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2 };

struct scsi_disk_config { // -device scsi-hd, scsi-cd
	unsigned device; // index of its virtio-scsi in the list of virtio devices
	enum scsi_type type;
	unsigned target, lun;
	char serial[37], id[64], vendor[9], product[17];
	unsigned block_size, physical_size; // 0: as usual
	bool write_cache;
	struct block_config image;
};

struct scsi_disk {
	struct virtio_scsi *owner;
	struct scsi_disk_config config;
	struct block *image;
	unsigned block_size;
	uint64_t blocks;
	unsigned under_way;
};

struct scsi_sense {
	uint8_t key, code, qualifier;
};

struct scsi_request {
	struct block_request r;      // first: the image gives it back
	struct scsi_request *next_free;
	struct scsi_disk *disk;
	struct virtq *q;
	struct virtio_chain chain;
	uint64_t data_out, data_in;  // bytes of data, behind the headers
	uint8_t cdb[SCSI_CDB];
	// the answer
	enum scsi_status status;
	struct scsi_sense sense;
	uint8_t reply[SCSI_REPLY];
	size_t reply_size;           // so much of it goes to the driver, at most
	struct iovec iov[SCSI_SEGMENTS], data[SCSI_SEGMENTS];
};

struct virtio_scsi {
	struct virtio_device dev;
	struct {
		uint32_t num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
		uint16_t max_channel, max_target;
		uint32_t max_lun;
	} space;
	struct scsi_disk disk[SCSI_DISKS];
	unsigned disks;
	struct scsi_request *free;
	uint64_t pushed;             // queues with pushes that have not been signalled
	unsigned under_way;
	pthread_cond_t idle;         // under_way has become less
	bool held;                   // the control queue's first request waits for others to end
	struct iovec control[VIRTQ_SEGMENTS_MAX];
};

struct virtio_scsi_config {
	unsigned queues;     // 0: one
	unsigned queue_size; // 0: the usual
};

// NULL: out of memory.
struct virtio_device *virtio_scsi_create(const struct virtio_scsi_config *c, const struct mem *mem);
// An open image becomes a disk, whose it is from then on.
void virtio_scsi_add(struct virtio_device *d, struct block *image, const struct scsi_disk_config *c);
struct block *virtio_scsi_image(struct virtio_device *d, unsigned target, unsigned lun); // or NULL

// Do what the command says. True: r->r is to be submitted; else it has been answered.
bool scsi_execute(struct scsi_request *r);
bool scsi_refuse(struct scsi_request *r, struct scsi_sense why); // returns false
// The data that a command brings with it.
size_t scsi_data_out(const struct scsi_request *r, uint64_t at, void *to, size_t size);

bool scsi_inquiry(struct scsi_request *r);
bool scsi_mode_sense(struct scsi_request *r, bool long_form);
bool scsi_report_luns(struct scsi_request *r);
bool scsi_read_toc(struct scsi_request *r);
bool scsi_get_configuration(struct scsi_request *r);
bool scsi_event_status(struct scsi_request *r);

static inline uint64_t scsi_get(const uint8_t *from, unsigned n) // big-endian
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value = value << 8 | from[i];
	return value;
}

static inline void scsi_put(uint8_t *to, unsigned n, uint64_t value)
{
	for (unsigned i = n; i--; value >>= 8)
		to[i] = (uint8_t)value;
}

static const struct scsi_sense SCSI_BAD_OPCODE = {5, 0x20, 0}, SCSI_BAD_FIELD = {5, 0x24, 0},
	SCSI_BAD_PARAMETER = {5, 0x26, 0}, SCSI_OUT_OF_RANGE = {5, 0x21, 0}, SCSI_WRITE_PROTECTED = {7, 0x27, 0};

#endif
