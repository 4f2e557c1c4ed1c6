// SPDX-License-Identifier: MIT
//
// QMP's commands about images and discs: nodes, the trays of CD-ROM drives and what is in them.
#include <stdio.h>
#include <string.h>

#include "ctl/qmp.h"
#include "machine/medium.h"

static const char *text_of(const struct qmp_call *c, const char *key)
{
	return json_string_value(json_object_get(c->args, key));
}

// id=, or device= as older programs have it.
static const char *drive_of(const struct qmp_call *c)
{
	const char *id = text_of(c, "id");

	return id ? id : text_of(c, "device");
}

static json_t *done(struct qmp_call *c, int r)
{
	return r < 0 ? NULL : json_object();
}

static json_t *blockdev_add(struct qmp_call *c)
{
	return qmp_plug(c, PLUG_NODE);
}

static json_t *blockdev_del(struct qmp_call *c)
{
	return qmp_drop(c, PLUG_DROP_NODE, "node-name");
}

static json_t *open_tray(struct qmp_call *c)
{
	const char *drive = drive_of(c);
	struct machine *m = qmp_machine(c);

	if (!drive)
		return qmp_missing(c, "id");
	return done(c, medium_open_tray(m, drive, json_is_true(json_object_get(c->args, "force")), c->why, sizeof(c->why)));
}

static json_t *close_tray(struct qmp_call *c)
{
	const char *drive = drive_of(c);

	if (!drive)
		return qmp_missing(c, "id");
	return done(c, medium_close_tray(qmp_machine(c), drive, c->why, sizeof(c->why)));
}

static json_t *remove_medium(struct qmp_call *c)
{
	const char *drive = drive_of(c);

	if (!drive)
		return qmp_missing(c, "id");
	return done(c, medium_remove(qmp_machine(c), drive, c->why, sizeof(c->why)));
}

static json_t *insert_medium(struct qmp_call *c)
{
	const char *drive = drive_of(c), *node = text_of(c, "node-name");
	struct machine *m = qmp_machine(c);
	char text[200];

	if (!drive || !node)
		return qmp_missing(c, drive ? "node-name" : "id");
	if (strlen(drive) + strlen(node) + 20 > sizeof(text) || strpbrk(drive, ",=") || strchr(node, ',')) {
		snprintf(c->why, sizeof(c->why), "Device '%.100s' not found", drive);
		return NULL;
	}
	snprintf(text, sizeof(text), "%s,node-name=%s", drive, node);
	return m->plug ? done(c, m->plug(m->plug_opaque, m, PLUG_INSERT, text, c->why, sizeof(c->why))) : NULL;
}

static json_t *change_medium(struct qmp_call *c)
{
	const char *drive = drive_of(c), *file = text_of(c, "filename"), *format = text_of(c, "format");

	if (!drive || !file)
		return qmp_missing(c, drive ? "filename" : "id");
	return done(c, medium_change_file(qmp_machine(c), drive, file, format,
					  json_is_true(json_object_get(c->args, "force")), c->why, sizeof(c->why)));
}

static json_t *eject(struct qmp_call *c)
{
	const char *drive = drive_of(c);

	if (!drive)
		return qmp_missing(c, "id");
	return done(c, medium_change(qmp_machine(c), drive, NULL, json_is_true(json_object_get(c->args, "force")), c->why,
				     sizeof(c->why)));
}

const struct qmp_command qmp_media[] = {
	{ "blockdev-add", blockdev_add }, { "blockdev-change-medium", change_medium },
	{ "blockdev-close-tray", close_tray }, { "blockdev-del", blockdev_del },
	{ "blockdev-insert-medium", insert_medium }, { "blockdev-open-tray", open_tray },
	{ "blockdev-remove-medium", remove_medium }, { "eject", eject }, { NULL, NULL },
};
