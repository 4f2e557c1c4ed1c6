// SPDX-License-Identifier: MIT
//
// Drives on IDE, SATA and floppy controllers: those of -hda to -hdd, -fda, -fdb, -cdrom and -drive if=ide or
// if=floppy, and -device ide-hd, ide-cd, ich9-ahci. The IDE controller's places 0 to 3 are the two of channel 0 and the
// two of channel 1; q35 has a SATA controller in its stead, with six places. Who names none takes the first that is
// free, a CD-ROM of -cdrom place 2.
#include <string.h>

#include "cli/cli.h"

enum { CDROM_PLACE = 2 };

struct places { // of a controller
	const char *name;
	struct ide_config *drive;
	int count;
};

static struct places places_of(struct ahci_config *a)
{
	if (!a->present)
		a->slot = -1;
	a->present = true;
	return (struct places){"SATA", a->drive, AHCI_PORTS};
}

// q35 has a SATA controller where pc has an IDE one.
static struct places board_places(struct cli *c)
{
	if (c->config.board == BOARD_Q35)
		return places_of(&c->config.ahci[0]);
	return (struct places){"IDE", c->config.ide, IDE_DRIVES};
}

// d: its image, or NULL for a CD-ROM drive without a disc. *to is where it has been put.
static enum cli_result put(struct cli *c, struct cli_drive *d, struct places p, int place, bool cdrom,
			   struct ide_config **to)
{
	const char *file = d && *d->image.file ? d->image.file : "an empty drive";

	for (int i = 0; place < 0 && i < p.count; i++)
		if (!p.drive[i].present)
			place = i;
	if (place < 0 || place >= p.count)
		return cli_error(c, "%s: the %s controller has %d places; use if=virtio", file, p.name, p.count);
	if (d && (d->image.on_error.write || d->image.on_error.read))
		return cli_error(c, "%s: werror= and rerror= other than report are not built for IDE and SATA", file);
	*to = &p.drive[place];
	if ((*to)->present)
		return cli_error(c, "%s: its place on the %s controller (%d) belongs to %s; choose another", file, p.name,
				 place, *(*to)->image.file ? (*to)->image.file : "an empty drive");
	**to = (struct ide_config){.present = true, .cdrom = cdrom};
	if (!d)
		return CLI_OK;
	d->attached = true;
	d->disc = cdrom;
	(*to)->image = cli_image_of(d, &d->image.on_error);
	(*to)->image.readonly |= cdrom;
	snprintf((*to)->serial, sizeof((*to)->serial), "%s", d->blk.serial);
	return CLI_OK;
}

enum cli_result cli_ide_drive(struct cli *c, struct cli_drive *d)
{
	struct places p = board_places(c);
	struct ide_config *to;
	int place = d->by_bus && c->config.board == BOARD_Q35 ? d->place / 2 : d->place;

	if (place < 0 && d->cdrom && !p.drive[CDROM_PLACE].present)
		place = CDROM_PLACE;
	return put(c, d, p, place, d->cdrom, &to);
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
	if (d->image.on_error.write || d->image.on_error.read)
		return cli_error(c, "%s: werror= and rerror= other than report are not built for floppy disks", d->image.file);
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
	d->by_bus = !index;
	return CLI_OK;
}

// bus=NAME.N
static bool take_bus(struct cli_ide *w, const char *text)
{
	const char *dot = strrchr(text, '.');
	uint64_t n;

	if (!dot || dot == text || (size_t)(dot - text) >= sizeof(w->bus))
		return false;
	if (!cli_parse_number(dot + 1, &n) || n >= AHCI_PORTS)
		return false;
	snprintf(w->bus, sizeof(w->bus), "%.*s", (int)(dot - text), text);
	w->nbus = (int)n;
	return true;
}

static enum cli_result ide_device(struct cli *c, const char *props, bool cdrom)
{
	const char *name = cdrom ? "ide-cd" : "ide-hd";
	struct cli_ide *w = &c->ide[c->ides];
	struct cli_prop p;
	uint64_t n;

	if (c->ides == IDE_DEVICES)
		return cli_error(c, "%s: more than %d are not built", name, IDE_DEVICES);
	*w = (struct cli_ide){.cdrom = cdrom, .nbus = -1, .unit = -1};
	while (cli_next_prop(&props, &p)) {
		if (!strcmp(p.key, "drive"))
			snprintf(w->drive, sizeof(w->drive), "%.63s", p.value);
		else if (!strcmp(p.key, "serial"))
			snprintf(w->serial, sizeof(w->serial), "%.20s", p.value);
		else if (!strcmp(p.key, "bus") && take_bus(w, p.value))
			continue;
		else if (!strcmp(p.key, "unit") && cli_parse_number(p.value, &n) && n < 2)
			w->unit = (int)n;
		else if (!strcmp(p.key, "id"))
			snprintf(w->id, sizeof(w->id), "%.63s", p.value);
		else if (strcmp(p.key, "bootindex") && strcmp(p.key, "model") && strcmp(p.key, "ver"))
			return cli_error(c, "%s: property '%s%s%s' is unknown or not built", name, p.key, *p.key ? "=" : "",
					 p.value);
	}
	if (!*w->drive && !cdrom)
		return cli_error(c, "%s: name its image (drive=ID of a -drive with if=none)", name);
	c->ides++;
	return CLI_OK;
}

// A controller beside the board's.
enum cli_result cli_ahci(struct cli *c, const char *props)
{
	struct ahci_config *a = NULL;
	struct cli_prop p;

	for (unsigned i = 1; i < AHCI_CONTROLLERS && !a; i++)
		if (!c->config.ahci[i].present)
			a = &c->config.ahci[i];
	if (!a)
		return cli_error(c, "ich9-ahci: more than %d controllers are not built", AHCI_CONTROLLERS - 1);
	*a = (struct ahci_config){.present = true, .slot = -1};
	while (cli_next_prop(&props, &p)) {
		if (!strcmp(p.key, "id"))
			snprintf(a->id, sizeof(a->id), "%.63s", p.value);
		else if (!strcmp(p.key, "addr") && cli_parse_slot(p.value, &a->slot))
			continue;
		else if (strcmp(p.key, "bus") && strcmp(p.key, "multifunction"))
			return cli_error(c, "ich9-ahci: property '%s%s%s' is unknown or not built", p.key, *p.key ? "=" : "",
					 p.value);
	}
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

// The controller that a device's bus= means. count 0: there is none.
static struct places find_places(struct cli *c, const struct cli_ide *w)
{
	if (!*w->bus || !strcmp(w->bus, "ide"))
		return board_places(c);
	for (unsigned i = 1; i < AHCI_CONTROLLERS; i++)
		if (c->config.ahci[i].present && !strcmp(c->config.ahci[i].id, w->bus))
			return places_of(&c->config.ahci[i]);
	return (struct places){.count = 0};
}

// Two to a bus on an IDE controller, one on SATA.
static int place_of(const struct cli_ide *w, struct places p)
{
	int place = MAX(w->nbus, 0) * 2 + MAX(w->unit, 0);

	if (w->nbus < 0 && w->unit < 0)
		return -1;
	if (p.count == AHCI_PORTS)
		return w->unit > 0 ? p.count : w->nbus;
	return w->nbus >= 0 && w->unit < 0 && place < p.count && p.drive[place].present ? place + 1 : place;
}

enum cli_result cli_settle_ide(struct cli *c)
{
	c->option = "-device";
	for (unsigned i = 1; i < AHCI_CONTROLLERS; i++)
		if (c->config.ahci[i].present && c->config.board == BOARD_MICROVM)
			return cli_error(c, "ich9-ahci: this machine has no PCI; use virtio-blk-device");
	if (c->ides && c->config.board == BOARD_MICROVM)
		return cli_error(c, "this machine has no IDE controller; use virtio-blk-device or -machine pc");
	for (unsigned i = 0; i < c->ides; i++) {
		const struct cli_ide *w = &c->ide[i];
		struct cli_drive *d = cli_find_drive(c, w->drive);
		struct places p = find_places(c, w);
		struct ide_config *to;

		if (!p.count)
			return cli_error(c, "bus=%s.%d: there is no controller '%s'", w->bus, w->nbus, w->bus);
		if (!d && *w->drive)
			return cli_error(c, "drive=%s: there is no such -drive or -blockdev", w->drive);
		if (d && (d->attached || d->interface != DRIVE_NONE))
			return cli_error(c, "drive=%s: it belongs to another device already (if=none leaves it free)", w->drive);
		if (put(c, d, p, place_of(w, p), w->cdrom, &to) != CLI_OK)
			return CLI_ERROR;
		if (*w->serial)
			memcpy(to->serial, w->serial, sizeof(to->serial));
		memcpy(to->id, w->id, sizeof(to->id));
	}
	return CLI_OK;
}
