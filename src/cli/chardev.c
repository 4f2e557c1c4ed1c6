// SPDX-License-Identifier: MIT
//
// -chardev: host ends that are named once and used by name (-serial chardev:ID, -device isa-debugcon,chardev=ID).
// A name may be used before it is defined, so uses are settled when all options have been seen.
#include <string.h>

#include "cli/cli.h"

static const char *const backends[] = { "stdio", "file", "null", NULL };

static struct cli_chardev *find(struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->chardevs; i++)
		if (!strcmp(c->chardev[i].id, id))
			return &c->chardev[i];
	return NULL;
}

static enum cli_result help(void)
{
	printf("Available chardev backend types:\n");
	for (size_t i = 0; backends[i]; i++)
		printf("  %s\n", backends[i]);
	return CLI_DONE;
}

// The properties of all backends; those that change nothing here are passed over.
static enum cli_result take_prop(struct cli *c, struct cli_chardev *d, const struct cli_prop *p, char *path, size_t max)
{
	static const char *const off[] = { "off", NULL };
	static const char *const passed[] = { "signal", "append", "logappend", NULL };

	if (!strcmp(p->key, "id") && strlen(p->value) < sizeof(d->id)) {
		strcpy(d->id, p->value);
	} else if (!strcmp(p->key, "path") && strlen(p->value) < max) {
		strcpy(path, p->value);
	} else if (!strcmp(p->key, "mux")) {
		if (!cli_is_one_of(p->value, off))
			d->mux = true;
	} else if (!cli_is_one_of(p->key, passed)) {
		return cli_error(c, "unknown or unbuilt property '%s'", *p->key ? p->key : p->value);
	}
	return CLI_OK;
}

enum cli_result cli_chardev(struct cli *c, const char *arg)
{
	struct cli_prop p, backend;
	struct cli_chardev d = { .mux = false };
	char path[sizeof(d.stream.path)] = "", text[sizeof(path) + sizeof(backend.value)], why[300] = "";

	if (!cli_next_prop(&arg, &backend))
		return cli_error(c, "name a backend; '-chardev help' lists them");
	if (cli_is_help(backend.value))
		return help();
	if (!cli_is_one_of(backend.value, backends))
		return cli_error(c, "backend '%s' is not built; '-chardev help' lists those that are", backend.value);
	while (cli_next_prop(&arg, &p))
		if (take_prop(c, &d, &p, path, sizeof(path)) != CLI_OK)
			return CLI_ERROR;
	if (!*d.id)
		return cli_error(c, "give it an id (id=NAME)");
	if (find(c, d.id))
		return cli_error(c, "the id '%s' is taken", d.id);
	if (c->chardevs == CHARDEVS_MAX)
		return cli_error(c, "%d are the most", CHARDEVS_MAX);
	if (!strcmp(backend.value, "file"))
		snprintf(text, sizeof(text), "file:%s", path);
	else
		snprintf(text, sizeof(text), "%s%s", d.mux ? "mon:" : "", backend.value);
	if (stream_parse(text, &d.stream, why, sizeof(why)) < 0)
		return cli_error(c, "%s", why);
	c->chardev[c->chardevs++] = d;
	return CLI_OK;
}

// A use by name becomes a copy of what is named.
static enum cli_result settle(struct cli *c, struct stream_config *s)
{
	struct cli_chardev *d;

	if (s->kind != STREAM_NAMED)
		return CLI_OK;
	d = find(c, s->path);
	if (!d)
		return cli_error(c, "no chardev '%s': define it with -chardev BACKEND,id=%s", s->path, s->path);
	if (d->used && !d->mux)
		return cli_error(c, "chardev '%s' is used twice", d->id);
	d->used = true;
	*s = d->stream;
	return CLI_OK;
}

enum cli_result cli_settle_chardevs(struct cli *c)
{
	struct stream_config *con = &c->config.pc.debugcon;
	unsigned stdios = 0;

	for (unsigned i = 0; i < c->serials; i++) {
		c->option = "-serial";
		if (settle(c, &c->config.serial[i]) != CLI_OK)
			return CLI_ERROR;
		stdios += stream_uses_stdio(&c->config.serial[i]);
	}
	if (stdios > 1)
		return cli_error(c, "standard input and output already belong to another serial port");
	c->option = "isa-debugcon";
	if (settle(c, con) != CLI_OK)
		return CLI_ERROR;
	// Its output may stand between a serial port's, as with a multiplexed chardev; input it takes none.
	return CLI_OK;
}
