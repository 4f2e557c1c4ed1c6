// SPDX-License-Identifier: MIT
//
// -fsdev, -virtfs and -device virtio-9p-pci: shared folders. A folder's own properties are p9/config.c's.
#include <errno.h>
#include <string.h>

#include "cli/cli.h"

static struct p9_config *find_folder(struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->config.folders; i++)
		if (*id && !strcmp(c->config.folder[i].id, id))
			return &c->config.folder[i];
	return NULL;
}

static struct p9_config *new_folder(struct cli *c, const char **arg)
{
	struct p9_config *f = &c->config.folder[c->config.folders];
	struct cli_prop p;

	if (!cli_next_prop(arg, &p) || (*p.key && strcmp(p.key, "fsdriver")) || strcmp(p.value, "local")) {
		cli_error(c, "'%s' is not built; the one kind of folder is local", p.value);
		return NULL;
	}
	if (c->config.folders == MACHINE_FOLDERS_MAX) {
		cli_error(c, "at most %d shared folders", MACHINE_FOLDERS_MAX);
		return NULL;
	}
	c->config.folders++;
	p9_config_init(f);
	return f;
}

static enum cli_result folder_prop(struct cli *c, struct p9_config *f, const struct cli_prop *p)
{
	const char *key = *p->key ? p->key : p->value, *value = *p->key ? p->value : "";
	char err[400] = "";
	int r;

	if (!strcmp(key, "id") && find_folder(c, value))
		return cli_error(c, "id=%s: this id is taken by another folder", value);
	r = p9_config_prop(f, key, value, err, sizeof(err));
	if (r == -ENOENT)
		return cli_error(c, "a folder has no property '%s', or it is not built", key);
	return r < 0 ? cli_error(c, "%s", err) : CLI_OK;
}

static enum cli_result folder_done(struct cli *c, const struct p9_config *f)
{
	char err[400] = "";

	return p9_config_check(f, err, sizeof(err)) < 0 ? cli_error(c, "%s", err) : CLI_OK;
}

static enum cli_result take_tag(struct cli *c, struct virtio_config *v, const char *value)
{
	if (!*value || strlen(value) >= sizeof(v->tag))
		return cli_error(c, "mount_tag=%s: from 1 to %zu characters", value, sizeof(v->tag) - 1);
	strcpy(v->tag, value);
	return CLI_OK;
}

enum cli_result cli_fsdev(struct cli *c, const char *arg)
{
	struct p9_config *f = new_folder(c, &arg);
	enum cli_result r = f ? CLI_OK : CLI_ERROR;
	struct cli_prop p;

	while (r == CLI_OK && cli_next_prop(&arg, &p))
		r = folder_prop(c, f, &p);
	if (r == CLI_OK && !*f->id)
		return cli_error(c, "a folder must have an id: id=NAME");
	return r == CLI_OK ? folder_done(c, f) : r;
}

// A folder and the device for it in one.
enum cli_result cli_virtfs(struct cli *c, const char *arg)
{
	struct p9_config *f = new_folder(c, &arg);
	struct virtio_config *v = f ? cli_virtio_add(c, VIRTIO_FOLDER) : NULL;
	enum cli_result r = v ? CLI_OK : CLI_ERROR;
	struct cli_prop p;

	while (r == CLI_OK && cli_next_prop(&arg, &p))
		r = strcmp(p.key, "mount_tag") ? folder_prop(c, f, &p) : take_tag(c, v, p.value);
	if (r != CLI_OK)
		return r;
	if (!*v->tag)
		return cli_error(c, "mount_tag= must be given");
	v->folder = (int)(f - c->config.folder);
	return folder_done(c, f);
}

enum cli_result cli_virtio_9p(struct cli *c, const char *arg)
{
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_FOLDER);
	enum cli_result r = v ? CLI_OK : CLI_ERROR;
	struct cli_prop p;

	while (r == CLI_OK && cli_next_prop(&arg, &p)) {
		if (!strcmp(p.key, "mount_tag"))
			r = take_tag(c, v, p.value);
		else if (!strcmp(p.key, "fsdev"))
			snprintf(v->fsdev, sizeof(v->fsdev), "%.63s", p.value);
		else if ((r = cli_virtio_prop(c, v, &p)) == CLI_DONE)
			r = cli_error(c, "virtio-9p-pci has no property '%s' that is built", *p.key ? p.key : p.value);
	}
	if (r == CLI_OK && (!*v->fsdev || !*v->tag))
		return cli_error(c, "fsdev= and mount_tag= must be given");
	return r;
}

// All options have been seen: devices find their folders.
enum cli_result cli_settle_folders(struct cli *c)
{
	c->option = "-device";
	for (unsigned i = 0; i < c->config.nvirtio; i++) {
		struct virtio_config *v = &c->config.virtio[i];
		struct p9_config *f = find_folder(c, v->fsdev);

		if (v->kind != VIRTIO_FOLDER || !*v->fsdev)
			continue;
		if (!f)
			return cli_error(c, "fsdev=%s: there is no such folder", v->fsdev);
		v->folder = (int)(f - c->config.folder);
	}
	return CLI_OK;
}
