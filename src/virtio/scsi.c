// SPDX-License-Identifier: MIT
//
// virtio-scsi (Virtio 1.x, "SCSI Host Device"): a control queue, an event queue on which nothing ever happens (disks
// neither come nor go), and request queues. A request's readable part is a header with the command and then the data
// that goes out; its writable part is the answer, then the data that comes in. Task management waits until nothing is
// under way for who is meant: the host's disk cannot be asked to forget a request. (A query for one task is rejected.)
#include "virtio/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL, EVENT, REQUESTS };
enum { LUN_SIZE = 8, HEADER = 19 /* before the command */, ANSWER = 12 /* before the sense */ };
enum { CDB_SIZE = 32, SENSE_SIZE = 96, SENSE_SIZE_MAX = 252, SEG_MAX = 126, SECTORS_MAX = 0xffff, DEPTH = 128 };
enum { SENSE_SIZE_AT = 20, CDB_SIZE_AT = 24 };
enum response { S_OK = 0, S_OVERRUN = 1, S_BAD_TARGET = 3, S_SUCCEEDED = 10, S_REJECTED = 11, S_INCORRECT_LUN = 12 };
enum control { C_TASK = 0, C_NOTIFICATIONS_QUERY = 1, C_NOTIFICATIONS_SUBSCRIBE = 2 };
enum task { T_ABORT = 0, T_ABORT_SET = 1, T_CLEAR_SET = 3, T_NEXUS_RESET = 4, T_LUN_RESET = 5, T_QUERY_SET = 7 };

struct address {
	unsigned target, lun;
};

static struct virtio_scsi *scsi_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_scsi, dev);
}

static bool parse_address(const uint8_t *lun, struct address *a)
{
	a->target = lun[1];
	a->lun = (unsigned)scsi_get(lun + 2, 2) & 0x3fff;
	return lun[0] == 1;
}

// The disk at this address, or any of the target's: then *exact is false.
static struct scsi_disk *find(struct virtio_scsi *v, const struct address *a, bool *exact)
{
	struct scsi_disk *any = NULL;

	*exact = false;
	for (unsigned i = 0; i < v->disks; i++) {
		struct scsi_disk *d = &v->disk[i];

		if (d->config.target != a->target)
			continue;
		any = d;
		if (d->config.lun == a->lun) {
			*exact = true;
			return d;
		}
	}
	return any;
}

// -- the life of a request

static struct scsi_request *request_new(struct virtio_scsi *v)
{
	struct scsi_request *r = v->free;

	if (r)
		v->free = r->next_free;
	else
		r = malloc(sizeof(*r));
	return r;
}

static void request_free(struct virtio_scsi *v, struct scsi_request *r)
{
	r->next_free = v->free;
	v->free = r;
}

static void put_answer(struct virtio_scsi *v, struct scsi_request *r, enum response response, uint64_t moved)
{
	uint64_t asked = MAX(r->data_in, r->data_out);
	const uint32_t residual = (uint32_t)MIN(asked - MIN(moved, asked), (uint64_t)UINT32_MAX);
	uint8_t answer[ANSWER + SENSE_SIZE_MAX] = {0}, *sense = answer + ANSWER;

	memcpy(answer + 4, &residual, sizeof(residual));
	answer[10] = (uint8_t)r->status;
	answer[11] = response;
	if (r->status == SCSI_CHECK_CONDITION) {
		answer[0] = (uint8_t)MIN(v->space.sense_size, (uint32_t)SCSI_SENSE);
		sense[0] = 0x70;
		sense[2] = r->sense.key;
		sense[7] = SCSI_SENSE - 8;
		sense[12] = r->sense.code;
		sense[13] = r->sense.qualifier;
	}
	virtio_chain_write(&r->chain, 0, answer, ANSWER + v->space.sense_size);
}

static void finish(struct virtio_scsi *v, struct scsi_request *r, enum response response, uint64_t moved)
{
	uint64_t written = ANSWER + v->space.sense_size + (r->data_in ? moved : 0);

	put_answer(v, r, response, moved);
	virtq_push(r->q, r->chain.head, (uint32_t)MIN(written, (uint64_t)UINT32_MAX));
	v->pushed |= BIT64(r->q->index);
	request_free(v, r);
}

static void signal_pushed(struct virtio_scsi *v)
{
	for (unsigned i = 0; v->pushed; i++, v->pushed >>= 1)
		if (v->pushed & 1)
			virtq_signal(&v->dev.queue[i]);
}

static struct scsi_sense sense_of(int error)
{
	return error == -ENOSPC ? (struct scsi_sense){7, 0x27, 7} : error == -EPERM ? SCSI_WRITE_PROTECTED :
		(struct scsi_sense){11, 0, 6}; // space allocation failed; an I/O process was ended
}

static void take_control(struct virtio_scsi *v);

static void finish_all(struct virtio_scsi *v, struct block_request *list)
{
	while (list) {
		struct scsi_request *r = (struct scsi_request *)list;
		bool moves = r->r.op <= BLOCK_WRITE;

		list = list->next;
		if (r->r.op == BLOCK_READ)
			virtio_wrote(&v->dev, r->r.iov, r->r.niov);
		v->under_way--;
		r->disk->under_way--;
		if (r->r.error)
			scsi_refuse(r, sense_of(r->r.error));
		finish(v, r, S_OK, r->r.error ? 0 : moves ? r->r.size : r->data_out);
	}
	signal_pushed(v);
	if (v->held)
		take_control(v);
	if (!v->under_way)
		pthread_cond_broadcast(&v->idle);
}

static void scsi_completed(void *opaque, struct block_request *list)
{
	struct virtio_scsi *v = opaque;

	pthread_mutex_lock(&v->dev.lock);
	finish_all(v, list);
	pthread_mutex_unlock(&v->dev.lock);
}

// -- requests

size_t scsi_data_out(const struct scsi_request *r, uint64_t at, void *to, size_t size)
{
	return virtio_chain_read(&r->chain, HEADER + r->disk->owner->space.cdb_size + at, to, size);
}

// The data's segments become the block request's. False: there is less data than the command moves.
static bool take_data(struct virtio_scsi *v, struct scsi_request *r)
{
	bool write = r->r.op == BLOCK_WRITE;

	if (r->r.op > BLOCK_WRITE)
		return true;
	if (r->r.size > (write ? r->data_out : r->data_in))
		return false;
	r->r.iov = r->data;
	r->r.niov = virtio_chain_slice(&r->chain, !write, write ? HEADER + v->space.cdb_size : ANSWER + v->space.sense_size,
				       r->r.size, r->data, SCSI_SEGMENTS);
	return true;
}

// Of a target that has others: only what asks about LUNs is answered.
static bool execute_elsewhere(struct scsi_request *r)
{
	if (r->cdb[0] == 0xa0)
		return scsi_execute(r);
	if (r->cdb[0] != 0x12)
		return scsi_refuse(r, (struct scsi_sense){5, 0x25, 0});
	r->reply[0] = 0x7f; // nothing is there
	r->reply[2] = 5;
	r->reply[3] = 0x12;
	r->reply[4] = 31;
	r->reply_size = MIN((size_t)36, (size_t)scsi_get(r->cdb + 3, 2));
	return false;
}

static void answer_now(struct virtio_scsi *v, struct scsi_request *r)
{
	size_t n = MIN(r->reply_size, (size_t)r->data_in);

	virtio_chain_write(&r->chain, ANSWER + v->space.sense_size, r->reply, n);
	finish(v, r, S_OK, r->status == SCSI_GOOD && !r->data_in ? r->data_out : n);
}

// One request, popped. True: r->r is to be submitted.
static bool prepare(struct virtio_scsi *v, struct scsi_request *r)
{
	struct address a;
	uint8_t header[HEADER];
	bool exact, submit;

	memset(r->cdb, 0, sizeof(r->cdb));
	virtio_chain_read(&r->chain, 0, header, sizeof(header));
	virtio_chain_read(&r->chain, HEADER, r->cdb, v->space.cdb_size);
	r->r = (struct block_request){.next = NULL};
	r->status = SCSI_GOOD;
	memset(r->reply, 0, sizeof(r->reply));
	r->reply_size = 0;
	r->disk = parse_address(header, &a) ? find(v, &a, &exact) : NULL;
	if (!r->disk) {
		finish(v, r, S_BAD_TARGET, 0);
		return false;
	}
	submit = exact ? scsi_execute(r) : execute_elsewhere(r);
	if (!submit) {
		answer_now(v, r);
		return false;
	}
	if (take_data(v, r))
		return true;
	finish(v, r, S_OVERRUN, 0);
	return false;
}

static struct scsi_request *pop(struct virtio_scsi *v, struct virtq *q)
{
	const uint64_t header = HEADER + v->space.cdb_size, answer = ANSWER + v->space.sense_size;
	struct scsi_request *r = request_new(v);
	bool popped;

	if (!r)
		return NULL;
	r->q = q;
	r->chain = (struct virtio_chain){.iov = r->iov, .room = SCSI_SEGMENTS};
	popped = virtq_pop(q, &r->chain);
	if (popped && r->chain.read_size >= header && r->chain.write_size >= answer) {
		r->data_out = r->chain.read_size - header;
		r->data_in = r->chain.write_size - answer;
		return r;
	}
	if (popped)
		virtio_fail(&v->dev, "a request without header or room for its answer");
	request_free(v, r);
	return NULL;
}

static void take_requests(struct virtio_scsi *v, struct virtq *q)
{
	struct block_request *list[SCSI_DISKS] = {0}, **last[SCSI_DISKS], *done;
	struct scsi_request *r;

	while ((r = pop(v, q))) {
		unsigned i;

		if (!prepare(v, r))
			continue;
		i = (unsigned)(r->disk - v->disk);
		v->under_way++;
		r->disk->under_way++;
		*(list[i] ? last[i] : &list[i]) = &r->r;
		last[i] = &r->r.next;
	}
	for (unsigned i = 0; i < v->disks; i++)
		if (list[i] && (done = block_submit(v->disk[i].image, list[i])))
			finish_all(v, done);
	signal_pushed(v);
}

// -- the control queue

// Is nothing under way for this address (lun: or for any of the target's)?
static bool is_quiet(const struct virtio_scsi *v, const struct address *a, bool lun)
{
	for (unsigned i = 0; i < v->disks; i++) {
		const struct scsi_disk *d = &v->disk[i];

		if (d->under_way && d->config.target == a->target && (!lun || d->config.lun == a->lun))
			return false;
	}
	return true;
}

// The response; -1: not yet.
static int manage_task(struct virtio_scsi *v, uint32_t task, const uint8_t *lun)
{
	struct address a;
	bool exact;
	struct scsi_disk *d = parse_address(lun, &a) ? find(v, &a, &exact) : NULL;

	if (!d)
		return S_BAD_TARGET;
	if (!exact && task != T_NEXUS_RESET)
		return S_INCORRECT_LUN;
	switch (task) {
	case T_ABORT:
	case T_ABORT_SET:
	case T_CLEAR_SET:
	case T_LUN_RESET:
	case T_NEXUS_RESET:
		return is_quiet(v, &a, task != T_NEXUS_RESET) ? S_OK : -1;
	case T_QUERY_SET:
		return d->under_way ? S_SUCCEEDED : S_OK;
	}
	return S_REJECTED;
}

// True: it has been answered.
static bool obey(struct virtio_scsi *v, struct virtio_chain *c)
{
	uint8_t m[8 + LUN_SIZE] = {0}, answer[5] = {0};
	struct virtq *q = &v->dev.queue[CONTROL];
	uint32_t type, task;
	size_t n = virtio_chain_read(c, 0, m, sizeof(m));
	int response;

	memcpy(&type, m, 4);
	memcpy(&task, m + 4, 4);
	if (n < sizeof(type) || type > C_NOTIFICATIONS_SUBSCRIBE) {
		virtio_fail(&v->dev, "a control request of an unknown kind");
		return true;
	}
	if (type == C_TASK) {
		response = manage_task(v, task, m + 8);
		if (response < 0)
			return false;
		answer[0] = (uint8_t)response;
		n = virtio_chain_write(c, 0, answer, 1);
	} else {
		n = virtio_chain_write(c, 0, answer, 5); // no notifications; S_OK
	}
	virtq_push(q, c->head, (uint32_t)n);
	return true;
}

static void take_control(struct virtio_scsi *v)
{
	struct virtq *q = &v->dev.queue[CONTROL];
	struct virtio_chain c = {.iov = v->control, .room = VIRTQ_SEGMENTS_MAX};

	v->held = false;
	while (virtq_pop(q, &c)) {
		if (!obey(v, &c)) {
			virtq_unpop(q, c.head);
			v->held = true;
			break;
		}
	}
	virtq_signal(q);
}

// -- the device

static void scsi_kick(struct virtio_device *d, unsigned q)
{
	if (q == CONTROL)
		take_control(scsi_of(d));
	else if (q >= REQUESTS)
		take_requests(scsi_of(d), &d->queue[q]);
}

static void scsi_reset(struct virtio_device *d)
{
	struct virtio_scsi *v = scsi_of(d);

	while (v->under_way)
		pthread_cond_wait(&v->idle, &d->lock);
	v->held = false;
	v->space.sense_size = SENSE_SIZE;
	v->space.cdb_size = CDB_SIZE;
}

// The sizes of two fields may be chosen, before the driver is ready.
static void scsi_config_write(struct virtio_device *d, unsigned off, unsigned size, uint32_t value)
{
	struct virtio_scsi *v = scsi_of(d);

	if (size != 4 || (d->status & VIRTIO_DRIVER_OK))
		return;
	if (off == SENSE_SIZE_AT && value <= SENSE_SIZE_MAX)
		v->space.sense_size = value;
	if (off == CDB_SIZE_AT && value && value <= SCSI_CDB)
		v->space.cdb_size = value;
}

static void scsi_destroy(struct virtio_device *d)
{
	struct virtio_scsi *v = scsi_of(d);

	for (unsigned i = 0; i < v->disks; i++)
		block_close(v->disk[i].image);
	while (v->free) {
		struct scsi_request *r = v->free;

		v->free = r->next_free;
		free(r);
	}
	pthread_cond_destroy(&v->idle);
}

static const struct virtio_class scsi_class = {
	.name = "virtio-scsi", .id = VIRTIO_ID_SCSI, .pci_class = 0x010000, .kick = scsi_kick, .reset = scsi_reset,
	.config_write = scsi_config_write, .destroy = scsi_destroy,
};

struct virtio_device *virtio_scsi_create(const struct virtio_scsi_config *c, const struct mem *mem)
{
	struct virtio_scsi *v = calloc(1, sizeof(*v));
	unsigned queues = c->queues ? c->queues : 1;

	if (!v)
		return NULL;
	virtio_init(&v->dev, &scsi_class, mem, REQUESTS + queues);
	for (unsigned i = 0; i < v->dev.nqueues && c->queue_size; i++)
		v->dev.queue[i].size = v->dev.queue[i].size_max = (uint16_t)c->queue_size;
	v->space.num_queues = queues;
	v->space.seg_max = MIN(SEG_MAX, v->dev.queue[REQUESTS].size_max - 2u);
	v->space.max_sectors = SECTORS_MAX;
	v->space.cmd_per_lun = DEPTH;
	v->space.event_info_size = 16;
	v->space.sense_size = SENSE_SIZE;
	v->space.cdb_size = CDB_SIZE;
	v->space.max_lun = SCSI_LUNS - 1;
	v->dev.config = &v->space;
	v->dev.config_size = sizeof(v->space);
	pthread_cond_init(&v->idle, NULL);
	return &v->dev;
}

void virtio_scsi_add(struct virtio_device *dev, struct block *image, const struct scsi_disk_config *c)
{
	struct virtio_scsi *v = scsi_of(dev);
	struct scsi_disk *d = &v->disk[v->disks++];

	d->owner = v;
	d->config = *c;
	d->image = image;
	d->block_size = c->type == SCSI_CDROM ? 2048 : c->block_size ? c->block_size : BLOCK_SECTOR;
	d->blocks = image->size / d->block_size;
	image->completed = scsi_completed;
	image->opaque = v;
	v->space.max_target = MAX(v->space.max_target, (uint16_t)c->target); // those above need not be looked for
}

struct block *virtio_scsi_image(struct virtio_device *dev, unsigned target, unsigned lun)
{
	struct virtio_scsi *v = scsi_of(dev);

	for (unsigned i = 0; i < v->disks; i++)
		if (v->disk[i].config.target == target && v->disk[i].config.lun == lun)
			return v->disk[i].image;
	return NULL;
}
