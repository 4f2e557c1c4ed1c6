// SPDX-License-Identifier: MIT
//
// -device virtio-scsi-pci, and the disks on it: scsi-hd, scsi-cd. A disk finds its bus (the first, if it names none)
// and its address when all options have been seen; drives with if=scsi come after them, on a bus that is made for them
// if there is none.
#include <string.h>

#include "cli/cli.h"

enum { TARGET_ANY = SCSI_TARGETS };

static const char *const kinds[] = { [SCSI_HARD_DISK] = "scsi-hd", [SCSI_CDROM] = "scsi-cd" };

enum cli_result cli_virtio_scsi(struct cli *c, const char *arg)
{
	static const char *const off[] = { "off", "false", "no", NULL };
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_SCSI);
	struct cli_prop p;

	while (v && cli_next_prop(&arg, &p)) {
		enum cli_result r = cli_virtio_prop(c, v, &p);
		uint64_t n = 0;
		bool number = cli_parse_number(p.value, &n);

		if (r == CLI_DONE && !strcmp(p.key, "num_queues")) {
			if (!number || n < 1 || n > CLI_QUEUES_MAX)
				return cli_error(c, "num_queues=%s: give 1 to %d", p.value, CLI_QUEUES_MAX);
			v->scsi.queues = (unsigned)n;
			r = CLI_OK;
		} else if (r == CLI_DONE && !strcmp(p.key, "virtqueue_size")) {
			if (!number || n < 4 || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
				return cli_error(c, "virtqueue_size=%s: give a power of two, 4 to %d", p.value, VIRTQ_SIZE_MAX);
			v->scsi.queue_size = (unsigned)n;
			r = CLI_OK;
		} else if (r == CLI_DONE && (!strcmp(p.key, "hotplug") || !strcmp(p.key, "param_change"))) {
			r = cli_is_one_of(p.value, off) ? CLI_OK : cli_error(c, "%s=%s is not built", p.key, p.value);
		}
		if (r == CLI_DONE && !strcmp(p.key, "iothread"))
			r = cli_use_object(c, OBJECT_THREAD, p.value);
		if (r == CLI_DONE)
			r = cli_error(c, "virtio-scsi-pci has no property '%s' that is built", *p.key ? p.key : p.value);
		if (r != CLI_OK)
			return r;
	}
	return v ? CLI_OK : CLI_ERROR;
}

static enum cli_result take_number(struct cli *c, const struct cli_prop *p, uint64_t max, unsigned *to)
{
	uint64_t n;

	if (!cli_parse_number(p->value, &n) || n > max)
		return cli_error(c, "%s=%s: give 0 to %llu", p->key, p->value, (unsigned long long)max);
	*to = (unsigned)n;
	return CLI_OK;
}

static enum cli_result disk_prop(struct cli *c, struct scsi_disk_config *d, const struct cli_prop *p)
{
	static const char *const off[] = { "off", "false", "no", NULL };
	static const char *const on[] = { "on", "true", "yes", "auto", NULL };
	struct cli_scsi *names = &c->scsi[d - c->config.scsi];
	const struct cli_text texts[] = {
		{ "drive", names->drive, sizeof(names->drive) }, { "bus", names->bus, sizeof(names->bus) },
		{ "id", names->id, sizeof(names->id) }, { "serial", d->serial, sizeof(d->serial) },
		{ "vendor", d->vendor, sizeof(d->vendor) }, { "product", d->product, sizeof(d->product) },
		{ "device_id", d->id, sizeof(d->id) },
	};
	const struct {
		const char *key;
		const char *const *values; // NULL: any
	} fixed[] = {
		{ "bootindex", NULL }, { "share-rw", off }, { "write-cache", on }, { "removable", off }, { "dpofua", off },
		{ "rotation_rate", NULL }, { "ver", NULL },
	};
	unsigned *block = !strcmp(p->key, "logical_block_size") ? &d->block_size :
		!strcmp(p->key, "physical_block_size") ? &d->physical_size : NULL;
	unsigned channel = 0;
	enum cli_result r;

	r = cli_take_text(c, texts, ARRAY_SIZE(texts), p);
	if (r != CLI_DONE)
		return r;
	r = cli_error_policy(c, p, &d->image.on_error);
	if (r != CLI_DONE)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!strcmp(p->key, fixed[i].key))
			return !fixed[i].values || cli_is_one_of(p->value, fixed[i].values) ? CLI_OK :
				cli_error(c, "%s=%s is not built; use %s", p->key, p->value, fixed[i].values[0]);
	if (block) {
		if (take_number(c, p, 4096, block) != CLI_OK)
			return CLI_ERROR;
		return *block >= BLOCK_SECTOR && !(*block & (*block - 1)) ? CLI_OK :
			cli_error(c, "%s=%s: give 512, 1024, 2048 or 4096", p->key, p->value);
	}
	if (!strcmp(p->key, "channel"))
		return take_number(c, p, 0, &channel);
	if (!strcmp(p->key, "scsi-id"))
		return take_number(c, p, SCSI_TARGETS - 1, &d->target);
	if (!strcmp(p->key, "lun"))
		return take_number(c, p, SCSI_LUNS - 1, &d->lun);
	return cli_error(c, "%s has no property '%s' that is built", kinds[d->type], *p->key ? p->key : p->value);
}

static struct scsi_disk_config *add_disk(struct cli *c, enum scsi_type type)
{
	struct scsi_disk_config *d = &c->config.scsi[c->config.scsis];

	if (c->config.scsis == SCSI_DISKS) {
		cli_error(c, "at most %d SCSI disks", SCSI_DISKS);
		return NULL;
	}
	c->config.scsis++;
	*d = (struct scsi_disk_config){.type = type, .target = TARGET_ANY};
	return d;
}

static enum cli_result take_disk(struct cli *c, enum scsi_type type, const char *arg)
{
	struct scsi_disk_config *d = add_disk(c, type);
	struct cli_prop p;

	while (d && cli_next_prop(&arg, &p))
		if (disk_prop(c, d, &p) != CLI_OK)
			return CLI_ERROR;
	if (d && !*c->scsi[d - c->config.scsi].drive)
		return cli_error(c, "%s: say which image (drive=ID)", kinds[type]);
	return d ? CLI_OK : CLI_ERROR;
}

enum cli_result cli_scsi_hd(struct cli *c, const char *arg)
{
	return take_disk(c, SCSI_HARD_DISK, arg);
}

enum cli_result cli_scsi_cd(struct cli *c, const char *arg)
{
	return take_disk(c, SCSI_CDROM, arg);
}

static void give(struct scsi_disk_config *s, struct cli_drive *d)
{
	d->attached = true;
	s->image = cli_image_of(d, &s->image.on_error);
	s->image.readonly |= s->type == SCSI_CDROM;
	s->write_cache = d->blk.write_cache;
	if (!*s->serial)
		memcpy(s->serial, d->blk.serial, MIN(sizeof(s->serial), sizeof(d->blk.serial)));
	if (!*s->id)
		memcpy(s->id, d->id, sizeof(s->id));
}

enum cli_result cli_scsi_drive(struct cli *c, struct cli_drive *d)
{
	struct scsi_disk_config *s = add_disk(c, d->cdrom ? SCSI_CDROM : SCSI_HARD_DISK);

	if (s)
		give(s, d);
	return s ? CLI_OK : CLI_ERROR;
}

static bool is_taken(const struct cli *c, const struct scsi_disk_config *d, unsigned target)
{
	for (unsigned i = 0; i < c->config.scsis; i++) {
		const struct scsi_disk_config *other = &c->config.scsi[i];

		if (other != d && other->device == d->device && other->target == target && other->lun == d->lun)
			return true;
	}
	return false;
}

static enum cli_result settle_disk(struct cli *c, unsigned i)
{
	struct scsi_disk_config *d = &c->config.scsi[i];
	struct cli_scsi *names = &c->scsi[i];
	struct cli_drive *drive = *names->drive ? cli_find_drive(c, names->drive) : NULL;
	struct virtio_config *bus = cli_find_bus(c, VIRTIO_SCSI, names->bus);

	if (*names->drive && (!drive || drive->attached || drive->interface != DRIVE_NONE))
		return cli_error(c, "drive=%s: %s", names->drive, drive ? "it belongs to another device already" :
				 "there is no such -drive or -blockdev");
	if (drive)
		give(d, drive);
	if (!bus && !*names->drive && !*names->bus)
		bus = cli_virtio_add(c, VIRTIO_SCSI);
	if (!bus)
		return cli_error(c, "%s%sthere is no virtio-scsi-pci for this disk", names->bus, *names->bus ? ": " : "");
	d->device = (unsigned)(bus - c->config.virtio);
	if (d->target != TARGET_ANY && is_taken(c, d, d->target))
		return cli_error(c, "scsi-id=%u,lun=%u: another disk has this address", d->target, d->lun);
	for (unsigned target = 0; d->target == TARGET_ANY && target < SCSI_TARGETS; target++)
		if (!is_taken(c, d, target))
			d->target = target;
	return CLI_OK;
}

enum cli_result cli_settle_scsi(struct cli *c)
{
	c->option = "-device";
	for (unsigned i = 0; i < c->config.scsis; i++)
		if (settle_disk(c, i) != CLI_OK)
			return CLI_ERROR;
	return CLI_OK;
}
