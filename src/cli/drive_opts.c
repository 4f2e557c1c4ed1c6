// SPDX-License-Identifier: MIT
//
// Disk images on the command line: -drive, -blockdev, -hda, -snapshot, a file name alone. They are named or attached
// here and taken by devices; as both may come in any order, that is settled when all options have been seen.
#include <string.h>

#include "cli/cli.h"

static const char *const on[] = { "on", "true", "yes", NULL };
static const char *const off[] = { "off", "false", "no", NULL };

struct cli_drive *cli_find_drive(struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->drives; i++)
		if (!c->drive[i].gone && !strcmp(c->drive[i].id, id))
			return &c->drive[i];
	return NULL;
}

static struct cli_drive *add(struct cli *c)
{
	struct cli_drive *d;
	unsigned i = 0;

	while (i < c->drives && !c->drive[i].gone)
		i++;
	if (i == CLI_DRIVES) {
		cli_error(c, "more than %d disk images are not built", CLI_DRIVES);
		return NULL;
	}
	c->drives = MAX(c->drives, i + 1);
	c->last_drive = i;
	d = &c->drive[i];
	*d = (struct cli_drive){.blk.write_cache = true, .place = -1};
	return d;
}

static enum cli_result take_bool(struct cli *c, const struct cli_prop *p, bool *to)
{
	if (!cli_is_one_of(p->value, on) && !cli_is_one_of(p->value, off))
		return cli_error(c, "%s=%s is neither on nor off", p->key, p->value);
	*to = cli_is_one_of(p->value, on);
	return CLI_OK;
}

static enum cli_result take_file(struct cli *c, struct cli_drive *d, const char *name)
{
	static const char *const protocols[] = { "fat:", "nbd:", "nbd+", "http:", "https:", "ssh:", "json:", "iscsi:",
		"rbd:", "ftp:" };

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (!strncmp(name, protocols[i], strlen(protocols[i])))
			return cli_error(c, "%s: images behind '%s' are not built yet; give a file", name, protocols[i]);
	if (!strncmp(name, "file:", 5))
		name += 5;
	if (!*name || strlen(name) >= sizeof(d->image.file) - 1)
		return cli_error(c, "the file's name is %s", *name ? "too long" : "missing");
	strcpy(d->image.file, name);
	return CLI_OK;
}

static enum cli_result take_format(struct cli *c, struct cli_drive *d, const char *name)
{
	static const char *const formats[] = { "raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc", NULL };

	if (!cli_is_one_of(name, formats))
		return cli_error(c, "format '%s' is not built; convert the image (qemu-img convert -O raw)", name);
	if (!d->format_below || strcmp(name, "raw")) // which is what is in it, as it is
		strcpy(d->image.format, name);
	return CLI_OK;
}

static enum cli_result take_cache(struct cli *c, struct cli_drive *d, const char *mode)
{
	static const struct {
		const char *name;
		bool direct, no_flush, writethrough;
	} modes[] = {
		{ "writeback", false, false, false }, { "none", true, false, false }, { "off", true, false, false },
		{ "unsafe", false, true, false }, { "writethrough", false, false, true }, { "directsync", true, false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(mode, modes[i].name))
			continue;
		d->image.direct = modes[i].direct;
		d->image.no_flush = modes[i].no_flush;
		d->image.writethrough = modes[i].writethrough;
		d->blk.write_cache = !modes[i].writethrough;
		return CLI_OK;
	}
	return cli_error(c, "cache=%s: give writeback, none, unsafe, writethrough or directsync", mode);
}

static enum cli_result take_discard(struct cli *c, struct cli_drive *d, const char *mode)
{
	static const char *const unmap[] = { "unmap", "on", NULL }, *const ignore[] = { "ignore", "off", NULL };

	if (!cli_is_one_of(mode, unmap) && !cli_is_one_of(mode, ignore))
		return cli_error(c, "discard=%s: give unmap or ignore", mode);
	d->image.keep_discarded = cli_is_one_of(mode, ignore);
	return CLI_OK;
}

static enum cli_result take_aio(struct cli *c, struct cli_drive *d, const char *name)
{
	if (strcmp(name, "threads") && strcmp(name, "native") && strcmp(name, "io_uring"))
		return cli_error(c, "aio=%s: give threads or io_uring", name);
	d->image.aio = !strcmp(name, "threads") ? BLOCK_AIO_THREADS : !strcmp(name, "io_uring") ? BLOCK_AIO_URING :
		BLOCK_AIO_AUTO;
	return CLI_OK;
}

static enum cli_result take_interface(struct cli *c, struct cli_drive *d, const char *name)
{
	static const char *const names[] = { [DRIVE_NONE] = "none", [DRIVE_VIRTIO] = "virtio", [DRIVE_IDE] = "ide",
		[DRIVE_SCSI] = "scsi", [DRIVE_FLOPPY] = "floppy", [DRIVE_FLASH] = "pflash" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i])) {
			d->interface = i;
			return CLI_OK;
		}
	return cli_error(c, "if=%s is not built yet; use if=virtio, if=ide, if=scsi, if=floppy, if=pflash or if=none",
			 name);
}

static enum cli_result take_id(struct cli *c, struct cli_drive *d, const char *id)
{
	struct cli_drive *other = cli_find_drive(c, id);

	if (!*id || strlen(id) >= sizeof(d->id))
		return cli_error(c, "id=%s is no usable name", id);
	if (other && other != d)
		return cli_error(c, "id=%s: another disk image has this name; choose another", id);
	strcpy(d->id, id);
	return CLI_OK;
}

// Properties that change nothing with the values that are built.
static bool passed_over(const struct cli_prop *p)
{
	static const char *const disk[] = { "disk", NULL };
	static const struct {
		const char *key;
		const char *const *values; // NULL: any
	} passed[] = {
		{ "media", disk }, { "detect-zeroes", off }, { "copy-on-read", off }, { "auto-read-only", NULL },
		{ "force-share", off },
	};

	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		if (!strcmp(p->key, passed[i].key))
			return !passed[i].values || cli_is_one_of(p->value, passed[i].values);
	return false;
}

static enum cli_result take_locking(struct cli *c, const struct cli_prop *p, bool *no_lock)
{
	static const char *const values[] = { "on", "off", "auto", NULL };

	if (!cli_is_one_of(p->value, values))
		return cli_error(c, "%s=%s: give on, off or auto", p->key, p->value);
	*no_lock = !strcmp(p->value, "off");
	return CLI_OK;
}

// file.driver=: a protocol, or a format, below which is the file (file.file.filename=).
static enum cli_result take_driver_below(struct cli *c, struct cli_drive *d, const char *name)
{
	static const char *const protocols[] = { "file", "host_device", NULL };

	if (cli_is_one_of(name, protocols))
		return CLI_OK;
	if (take_format(c, d, name) != CLI_OK)
		return CLI_ERROR;
	d->format_below = true;
	return CLI_OK;
}

// What -drive and -blockdev have in common. CLI_DONE: p is none of it.
static enum cli_result image_prop(struct cli *c, struct cli_drive *d, const struct cli_prop *p)
{
	const char *key = p->key;

	while (!strncmp(key, "file.", 5))
		key += 5;
	if (!strcmp(key, "filename"))
		return take_file(c, d, p->value);
	if (!strcmp(key, "locking"))
		return take_locking(c, p, &d->image.no_lock);
	if (!strcmp(key, "backing.file.locking"))
		return take_locking(c, p, &d->image.backing_no_lock);
	if (!strcmp(key, "driver") && key != p->key)
		return take_driver_below(c, d, p->value);
	if (!strcmp(key, "aio"))
		return take_aio(c, d, p->value);
	if (!strcmp(p->key, "readonly") || !strcmp(p->key, "read-only"))
		return take_bool(c, p, &d->image.readonly);
	if (!strcmp(p->key, "discard"))
		return take_discard(c, d, p->value);
	if (!strcmp(key, "cache.direct"))
		return take_bool(c, p, &d->image.direct);
	if (!strcmp(key, "cache.no-flush"))
		return take_bool(c, p, &d->image.no_flush);
	return passed_over(p) ? CLI_OK : CLI_DONE;
}

enum cli_result cli_error_policy(struct cli *c, const struct cli_prop *p, struct block_policies *to)
{
	static const struct {
		const char *name;
		enum block_policy policy;
	} policies[] = { { "report", BLOCK_REPORT }, { "auto", BLOCK_REPORT }, { "ignore", BLOCK_IGNORE },
			 { "stop", BLOCK_STOP }, { "enospc", BLOCK_ENOSPC } };
	bool write = !strcmp(p->key, "werror");

	if (!write && strcmp(p->key, "rerror"))
		return CLI_DONE;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		if (strcmp(p->value, policies[i].name) || (!write && policies[i].policy == BLOCK_ENOSPC))
			continue;
		*(write ? &to->write : &to->read) = policies[i].policy;
		return CLI_OK;
	}
	return cli_error(c, "%s=%s: give report, ignore%s or stop", p->key, p->value, write ? ", enospc" : "");
}

struct block_config cli_image_of(const struct cli_drive *d, const struct block_policies *said)
{
	struct block_config image = d->image;

	if (said->write != BLOCK_REPORT)
		image.on_error.write = said->write;
	if (said->read != BLOCK_REPORT)
		image.on_error.read = said->read;
	snprintf(image.name, sizeof(image.name), "%s", d->id);
	return image;
}

static enum cli_result drive_prop(struct cli *c, struct cli_drive *d, const struct cli_prop *p)
{
	enum cli_result r;

	if (!strcmp(p->key, "file"))
		return take_file(c, d, p->value);
	if (!strcmp(p->key, "if"))
		return take_interface(c, d, p->value);
	if (!strcmp(p->key, "format") || !strcmp(p->key, "driver"))
		return take_format(c, d, p->value);
	if (!strcmp(p->key, "id"))
		return take_id(c, d, p->value);
	if (!strcmp(p->key, "media") && !strcmp(p->value, "cdrom")) {
		d->cdrom = true;
		return CLI_OK;
	}
	r = cli_ide_place(c, d, p);
	if (r != CLI_DONE)
		return r;
	if (!strcmp(p->key, "cache"))
		return take_cache(c, d, p->value);
	if (!strcmp(p->key, "snapshot")) {
		d->snapshot_said = true;
		return take_bool(c, p, &d->image.snapshot);
	}
	if (!strcmp(p->key, "serial")) {
		snprintf(d->blk.serial, sizeof(d->blk.serial), "%.20s", p->value);
		return CLI_OK;
	}
	r = cli_error_policy(c, p, &d->image.on_error);
	if (r == CLI_DONE)
		r = image_prop(c, d, p);
	return r != CLI_DONE ? r : cli_error(c, "property '%s%s%s' is unknown or not built", p->key, *p->key ? "=" : "",
		p->value);
}

enum cli_result cli_drive(struct cli *c, const char *arg)
{
	struct cli_drive *d = add(c);
	struct cli_prop p;

	if (!d)
		return CLI_ERROR;
	d->interface = DRIVE_IDE; // the board's default
	while (cli_next_prop(&arg, &p))
		if (drive_prop(c, d, &p) != CLI_OK)
			return CLI_ERROR;
	return *d->image.file || d->cdrom ? CLI_OK :
		cli_error(c, "only a CD-ROM drive may be empty; name its image (file=)");
}

enum cli_result cli_disk(struct cli *c, const char *file)
{
	struct cli_drive *d = add(c);

	if (!d)
		return CLI_ERROR;
	d->interface = DRIVE_IDE;
	return take_file(c, d, file);
}

enum cli_result cli_cdrom(struct cli *c, const char *file)
{
	enum cli_result r = cli_disk(c, file);

	if (r == CLI_OK)
		c->drive[c->last_drive].cdrom = true;
	return r;
}

enum cli_result cli_flash(struct cli *c, const char *file)
{
	enum cli_result r = cli_disk(c, file);

	if (r == CLI_OK)
		c->drive[c->last_drive].interface = DRIVE_FLASH;
	return r;
}

// driver=file (or host_device) names a file, driver=raw stands on such a node or names the file itself.
static enum cli_result blockdev_prop(struct cli *c, struct cli_drive *d, const struct cli_prop *p)
{
	enum cli_result r;

	if (!strcmp(p->key, "driver")) {
		d->protocol = !strcmp(p->value, "file") || !strcmp(p->value, "host_device");
		return d->protocol ? CLI_OK : take_format(c, d, p->value);
	}
	if (!strcmp(p->key, "node-name"))
		return take_id(c, d, p->value);
	if (!strcmp(p->key, "file")) {
		snprintf(d->below, sizeof(d->below), "%.63s", p->value);
		return CLI_OK;
	}
	if (!strcmp(p->key, "backing")) {
		snprintf(d->backing, sizeof(d->backing), "%.63s", p->value);
		d->image.no_backing = !*p->value;
		return CLI_OK;
	}
	r = image_prop(c, d, p);
	return r != CLI_DONE ? r : cli_error(c, "property '%s' is unknown or not built", *p->key ? p->key : p->value);
}

enum cli_result cli_blockdev(struct cli *c, const char *arg)
{
	struct cli_drive *d = add(c);
	char text[2048];
	struct cli_prop p;

	if (!d)
		return CLI_ERROR;
	d->image.keep_discarded = true; // unlike -drive, as QEMU has it
	d->image.is_node = true;
	if (*arg == '{') {
		if (cli_from_json(c, arg, "driver", text, sizeof(text)) != CLI_OK)
			return CLI_ERROR;
		arg = text;
	}
	while (cli_next_prop(&arg, &p))
		if (blockdev_prop(c, d, &p) != CLI_OK)
			return CLI_ERROR;
	if (!*d->id)
		return cli_error(c, "a node needs a name (node-name=)");
	if (d->protocol)
		strcpy(d->image.format, "raw");
	return *d->image.file || *d->below ? CLI_OK : cli_error(c, "%s: name its file (file.filename=)", d->id);
}

// Several may have the same node behind them: nothing is written to it.
static enum cli_result settle_backing(struct cli *c, struct cli_drive *d)
{
	struct cli_drive *behind = cli_find_drive(c, d->backing);

	if (!*d->backing)
		return CLI_OK;
	if (!*d->image.format || !strcmp(d->image.format, "raw"))
		return cli_error(c, "%s: a raw image has no backing", d->id);
	if (!behind || behind == d || behind->protocol || (behind->attached && !behind->behind))
		return cli_error(c, "%s: node '%s' %s", d->id, d->backing, behind ? "is in use already" : "is not there");
	for (struct cli_drive *b = behind; b; b = *b->backing ? cli_find_drive(c, b->backing) : NULL)
		if (b == d)
			return cli_error(c, "%s: its backing leads back to it", d->id);
	if (!behind->attached && cli_settle_node(c, behind) != CLI_OK)
		return CLI_ERROR;
	behind->attached = behind->behind = true;
	d->image.backing = &behind->image;
	return CLI_OK;
}

// A node that stands on another takes its file, and what was said of the file.
enum cli_result cli_settle_node(struct cli *c, struct cli_drive *d)
{
	struct cli_drive *below = cli_find_drive(c, d->below);

	if (d->settled)
		return CLI_OK;
	d->settled = true;
	if (settle_backing(c, d) != CLI_OK)
		return CLI_ERROR;
	if (!*d->below)
		return CLI_OK;
	if (!below || !below->protocol)
		return cli_error(c, "%s: there is no file node '%s'", d->id, d->below);
	if (below->attached)
		return cli_error(c, "%s: node '%s' is in use already", d->id, d->below);
	below->attached = true;
	strcpy(d->image.file, below->image.file);
	d->image.direct |= below->image.direct;
	d->image.no_flush |= below->image.no_flush;
	d->image.no_lock |= below->image.no_lock;
	d->image.readonly |= below->image.readonly;
	if (below->image.aio != BLOCK_AIO_AUTO)
		d->image.aio = below->image.aio;
	return CLI_OK;
}

static void give(struct virtio_config *v, struct cli_drive *d)
{
	d->attached = true;
	v->image = cli_image_of(d, &v->image.on_error);
	v->blk.write_cache = d->blk.write_cache;
	if (!*v->blk.serial)
		memcpy(v->blk.serial, d->blk.serial, sizeof(v->blk.serial));
}

enum cli_result cli_give_drive(struct cli *c, unsigned i)
{
	struct cli_drive *d = cli_find_drive(c, c->wants_drive[i]);

	if (!d)
		return cli_error(c, "drive=%s: there is no such -drive or -blockdev", c->wants_drive[i]);
	if (d->attached || (d->interface != DRIVE_NONE && !(d->interface == DRIVE_IDE && c->config.board == BOARD_MICROVM)))
		return cli_error(c, "drive=%s: it belongs to another device already (if=none leaves it free)",
				 c->wants_drive[i]);
	give(&c->config.virtio[i], d);
	d->wanted = true;
	return CLI_OK;
}

static enum cli_result attach(struct cli *c, struct cli_drive *d)
{
	struct virtio_config *v;

	if (d->interface == DRIVE_IDE && c->config.board != BOARD_MICROVM)
		return cli_ide_drive(c, d);
	if (d->interface == DRIVE_FLOPPY)
		return cli_floppy_drive(c, d);
	if (d->interface == DRIVE_IDE)
		cli_warn("%s: this machine has no IDE; the guest finds it on %s", d->image.file,
			 d->cdrom ? "virtio-scsi (/dev/sr0 and so on)" : "virtio (/dev/vda and so on)");
	if (d->interface == DRIVE_SCSI || (d->cdrom && d->interface == DRIVE_IDE))
		return cli_scsi_drive(c, d);
	d->image.readonly |= d->cdrom; // a disk that cannot be written, as in QEMU
	v = cli_virtio_add(c, VIRTIO_BLK);
	if (!v)
		return CLI_ERROR;
	snprintf(v->id, sizeof(v->id), "%.63s", d->id);
	give(v, d);
	return CLI_OK;
}

// The first piece of flash memory is firmware's code, the second its variables.
static enum cli_result give_flash(struct cli *c, struct cli_drive *d, unsigned n)
{
	const char *format = d->image.format;

	c->option = "-drive";
	if (cli_settle_node(c, d) != CLI_OK)
		return CLI_ERROR;
	d->attached = true;
	if (n == 1) {
		c->config.pflash = d->image;
		if (c->snapshot && !d->snapshot_said)
			c->config.pflash.snapshot = true;
		return CLI_OK;
	}
	if (*format && strcmp(format, "raw"))
		return cli_error(c, "%s: firmware's code is taken as format=raw only", d->image.file);
	if (c->config.boot.bios)
		return cli_error(c, "%s: -bios and if=pflash both give firmware; leave one of the two away", d->image.file);
	c->config.boot.bios = d->image.file;
	return CLI_OK;
}

enum cli_result cli_settle_flash(struct cli *c)
{
	struct cli_drive *flash[ARRAY_SIZE(c->flash)] = {NULL};

	c->option = "-machine";
	for (unsigned n = 0; n < ARRAY_SIZE(flash); n++)
		if (*c->flash[n] && !(flash[n] = cli_find_drive(c, c->flash[n])))
			return cli_error(c, "pflash%u=%s: there is no such -blockdev", n, c->flash[n]);
	for (unsigned i = 0; i < c->drives; i++) {
		struct cli_drive *d = &c->drive[i];
		unsigned n = d->place >= 0 ? (unsigned)d->place : flash[0] ? 1 : 0;

		c->option = "-drive";
		if (d->interface != DRIVE_FLASH)
			continue;
		if (n >= ARRAY_SIZE(flash) || flash[n])
			return cli_error(c, "%s: there are two pieces of flash memory, unit 0 for code and 1 for variables",
					 d->image.file);
		flash[n] = d;
	}
	if (flash[1] && !flash[0])
		return cli_error(c, "%s: flash memory for variables, but none for code (unit=0)", flash[1]->image.file);
	for (unsigned n = 0; n < ARRAY_SIZE(flash); n++)
		if (flash[n] && give_flash(c, flash[n], n) != CLI_OK)
			return CLI_ERROR;
	if (flash[0] && !flash[1] && !flash[0]->image.readonly)
		cli_warn("%s: what firmware writes to its own flash memory is not kept; give it a second for its variables",
			 flash[0]->image.file);
	return CLI_OK;
}

enum cli_result cli_settle_drives(struct cli *c)
{
	unsigned devices = c->config.nvirtio;

	for (unsigned i = 0; i < c->drives; i++) {
		struct cli_drive *d = &c->drive[i];

		c->option = "-blockdev";
		if (!d->attached && cli_settle_node(c, d) != CLI_OK)
			return CLI_ERROR;
		if (c->snapshot && !d->snapshot_said)
			d->image.snapshot = true;
	}
	c->option = "-device";
	for (unsigned i = 0; i < devices; i++)
		if (*c->wants_drive[i] && cli_give_drive(c, i) != CLI_OK)
			return CLI_ERROR;
	c->option = "-drive";
	for (unsigned i = 0; i < c->drives; i++) // those with a place of their own come first
		if (c->drive[i].interface == DRIVE_IDE && c->drive[i].place >= 0 && attach(c, &c->drive[i]) != CLI_OK)
			return CLI_ERROR;
	for (unsigned i = 0; i < c->drives; i++)
		if (c->drive[i].interface != DRIVE_NONE && !c->drive[i].attached && attach(c, &c->drive[i]) != CLI_OK)
			return CLI_ERROR;
	return cli_settle_ide(c) == CLI_OK ? cli_settle_scsi(c) : CLI_ERROR;
}
