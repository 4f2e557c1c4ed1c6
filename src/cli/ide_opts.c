// SPDX-License-Identifier: MIT
//
// Drives on the board's IDE and floppy controllers: those of -hda to -hdd, -fda, -fdb, -cdrom and -drive if=ide or
// if=floppy, and -device ide-hd, ide-cd. The IDE controller's places 0 to 3 are the two of channel 0 and the two of
// channel 1; who names none takes the first that is free, a CD-ROM of -cdrom place 2.
#include <string.h>

#include "cli/cli.h"

enum { CDROM_PLACE = 2 };

static enum cli_result put(struct cli *c, struct cli_drive *d, int place, bool cdrom, const char *serial)
{
	struct ide_config *to;

	for (int i = 0; place < 0 && i < IDE_DRIVES; i++)
		if (!c->config.ide[i].present)
			place = i;
	if (place < 0 || place >= IDE_DRIVES)
		return cli_error(c, "%s: the IDE controller has %d places; use if=virtio", d->image.file, IDE_DRIVES);
	if (d->blk.ignore_write_errors || d->blk.ignore_read_errors)
		return cli_error(c, "%s: werror=ignore and rerror=ignore are not built for IDE", d->image.file);
	to = &c->config.ide[place];
	if (to->present)
		return cli_error(c, "%s: its place on the IDE controller (%d) belongs to %s; choose another", d->image.file,
				 place, to->image.file);
	d->attached = true;
	*to = (struct ide_config){.present = true, .cdrom = cdrom, .image = d->image};
	to->image.readonly |= cdrom;
	snprintf(to->serial, sizeof(to->serial), "%s", serial);
	return CLI_OK;
}

enum cli_result cli_ide_drive(struct cli *c, struct cli_drive *d)
{
	int place = d->place;

	if (place < 0 && d->cdrom && !c->config.ide[CDROM_PLACE].present)
		place = CDROM_PLACE;
	return put(c, d, place, d->cdrom, d->blk.serial);
}

enum cli_result cli_floppy_drive(struct cli *c, struct cli_drive *d)
{
	struct floppy_config *to = c->config.floppy;
	unsigned place = d->place < 0 ? to[0].present : (unsigned)d->place;

	if (c->config.board == BOARD_MICROVM)
		return cli_error(c, "%s: this machine has no floppy controller", d->image.file);
	if (place >= FDC_DRIVES || to[place].present)
		return cli_error(c, "%s: the floppy controller has %d drives, and this one is %s", d->image.file, FDC_DRIVES,
				 place >= FDC_DRIVES ? "none of them" : "taken");
	if (d->blk.ignore_write_errors || d->blk.ignore_read_errors)
		return cli_error(c, "%s: werror=ignore and rerror=ignore are not built for floppy disks", d->image.file);
	d->attached = true;
	to[place] = (struct floppy_config){.present = true, .image = d->image};
	return CLI_OK;
}

// index=, or bus= and unit=, of -drive. CLI_DONE: p is none of these.
enum cli_result cli_ide_place(struct cli *c, struct cli_drive *d, const struct cli_prop *p)
{
	bool index = !strcmp(p->key, "index"), bus = !strcmp(p->key, "bus"), unit = !strcmp(p->key, "unit");
	uint64_t n;

	if (!index && !bus && !unit)
		return CLI_DONE;
	if (!cli_parse_number(p->value, &n) || n > INT16_MAX)
		return cli_error(c, "%s=%s is not a number", p->key, p->value);
	if (index)
		d->place = (int)n;
	else
		d->place = MAX(d->place, 0) + (int)(bus ? n * 2 : n);
	return CLI_OK;
}

static enum cli_result ide_device(struct cli *c, const char *props, bool cdrom)
{
	const char *name = cdrom ? "ide-cd" : "ide-hd";
	struct cli_ide *w = &c->ide[c->ides];
	struct cli_prop p;
	uint64_t n;

	if (c->ides == IDE_DRIVES)
		return cli_error(c, "%s: the IDE controller has %d places", name, IDE_DRIVES);
	*w = (struct cli_ide){.cdrom = cdrom, .bus = -1, .unit = -1};
	while (cli_next_prop(&props, &p)) {
		if (!strcmp(p.key, "drive"))
			snprintf(w->drive, sizeof(w->drive), "%.63s", p.value);
		else if (!strcmp(p.key, "serial"))
			snprintf(w->serial, sizeof(w->serial), "%.20s", p.value);
		else if (!strcmp(p.key, "bus") && !strncmp(p.value, "ide.", 4) && cli_parse_number(p.value + 4, &n) && n < 2)
			w->bus = (int)n;
		else if (!strcmp(p.key, "unit") && cli_parse_number(p.value, &n) && n < 2)
			w->unit = (int)n;
		else if (strcmp(p.key, "id") && strcmp(p.key, "bootindex") && strcmp(p.key, "model") && strcmp(p.key, "ver"))
			return cli_error(c, "%s: property '%s%s%s' is unknown or not built", name, p.key, *p.key ? "=" : "",
					 p.value);
	}
	if (!*w->drive)
		return cli_error(c, "%s: name its image (drive=ID of a -drive with if=none)", name);
	c->ides++;
	return CLI_OK;
}

enum cli_result cli_ide_hd(struct cli *c, const char *props)
{
	return ide_device(c, props, false);
}

enum cli_result cli_ide_cd(struct cli *c, const char *props)
{
	return ide_device(c, props, true);
}

enum cli_result cli_settle_ide(struct cli *c)
{
	c->option = "-device";
	if (c->ides && c->config.board != BOARD_PC)
		return cli_error(c, "this machine has no IDE controller; use virtio-blk-pci or -machine pc");
	for (unsigned i = 0; i < c->ides; i++) {
		const struct cli_ide *w = &c->ide[i];
		struct cli_drive *d = cli_find_drive(c, w->drive);
		int place = w->bus < 0 && w->unit < 0 ? -1 : MAX(w->bus, 0) * 2 + MAX(w->unit, 0);

		if (w->bus >= 0 && w->unit < 0 && c->config.ide[place].present)
			place++;
		if (!d)
			return cli_error(c, "drive=%s: there is no such -drive or -blockdev", w->drive);
		if (d->attached || d->interface != DRIVE_NONE)
			return cli_error(c, "drive=%s: it belongs to another device already (if=none leaves it free)", w->drive);
		if (put(c, d, place, w->cdrom, *w->serial ? w->serial : d->blk.serial) != CLI_OK)
			return CLI_ERROR;
	}
	return CLI_OK;
}
