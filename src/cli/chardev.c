// SPDX-License-Identifier: MIT
//
// -chardev: host ends that are named once and used by name (-serial chardev:ID, -device isa-debugcon,chardev=ID).
// A name may be used before it is defined, so uses are settled when all options have been seen.
#include <errno.h>
#include <string.h>

#include "cli/cli.h"

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
	for (unsigned i = 0; stream_kind_name(i); i++)
		printf("  %s\n", stream_kind_name(i));
	return CLI_DONE;
}

// The properties of all backends, and each one's own.
static enum cli_result take_prop(struct cli *c, struct cli_chardev *d, const struct cli_prop *p)
{
	static const char *const off[] = { "off", NULL };
	char why[400];
	int r;

	if (!strcmp(p->key, "id")) {
		if (!*p->value || strlen(p->value) >= sizeof(d->id))
			return cli_error(c, "id=%s is no usable name", p->value);
		strcpy(d->id, p->value);
		return CLI_OK;
	}
	if (!strcmp(p->key, "mux") || !strcmp(p->key, "logappend")) {
		d->mux |= *p->key == 'm' && !cli_is_one_of(p->value, off);
		return CLI_OK;
	}
	r = stream_prop(&d->stream, p->key, p->value, why, sizeof(why));
	if (r == -ENOENT)
		return cli_error(c, "unknown or unbuilt property '%s'", *p->key ? p->key : p->value);
	return r < 0 ? cli_error(c, "%s", why) : CLI_OK;
}

enum cli_result cli_chardev(struct cli *c, const char *arg)
{
	struct cli_chardev d = {.mux = false};
	struct cli_prop p;
	char why[400];
	int kind;

	if (!cli_next_prop(&arg, &p))
		return cli_error(c, "name a backend; '-chardev help' lists them");
	if (cli_is_help(p.value))
		return help();
	kind = stream_kind_find(p.value);
	if (kind < 0)
		return cli_error(c, "backend '%s' is not built; '-chardev help' lists those that are", p.value);
	d.stream.kind = kind;
	d.stream.wait = true;
	while (cli_next_prop(&arg, &p))
		if (take_prop(c, &d, &p) != CLI_OK)
			return CLI_ERROR;
	if (!*d.id)
		return cli_error(c, "give it an id (id=NAME)");
	if (find(c, d.id))
		return cli_error(c, "the id '%s' is taken", d.id);
	if (c->chardevs == CHARDEVS_MAX)
		return cli_error(c, "%d are the most", CHARDEVS_MAX);
	if (stream_check(&d.stream, why, sizeof(why)) < 0)
		return cli_error(c, "%s", why);
	if (d.mux && kind == STREAM_STDIO)
		d.stream.kind = STREAM_MON_STDIO;
	snprintf(d.stream.label, sizeof(d.stream.label), "%s", d.id);
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

// A human monitor on a multiplexed stream that a console has too is spoken to with its keys.
static enum cli_result settle_operators(struct cli *c, unsigned *stdios)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < c->operators; i++) {
		struct operator_config o = c->operator[i];
		struct cli_chardev *d = o.to.kind == STREAM_NAMED ? find(c, o.to.path) : NULL;
		bool shared = d && d->used && d->mux && !o.qmp;

		c->option = o.qmp ? "-qmp" : "-monitor";
		if (settle(c, &o.to) != CLI_OK)
			return CLI_ERROR;
		if (shared)
			continue;
		*stdios += stream_uses_stdio(&o.to);
		c->operator[kept++] = o;
	}
	c->operators = kept;
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
	for (unsigned i = 0; i < c->config.ports; i++) {
		c->option = "-device";
		if (settle(c, &c->config.port[i].to) != CLI_OK)
			return CLI_ERROR;
		stdios += stream_uses_stdio(&c->config.port[i].to);
	}
	if (settle_operators(c, &stdios) != CLI_OK)
		return CLI_ERROR;
	if (stdios > 1)
		return cli_error(c, "standard input and output already belong to another serial port or console");
	c->option = "isa-debugcon";
	if (settle(c, con) != CLI_OK)
		return CLI_ERROR;
	// Its output may stand between a serial port's, as with a multiplexed chardev; input it takes none.
	return CLI_OK;
}

bool cli_uses_stdio(const struct cli *c)
{
	for (unsigned i = 0; i < SERIAL_PORTS; i++)
		if (stream_uses_stdio(&c->config.serial[i]))
			return true;
	for (unsigned i = 0; i < c->config.ports; i++)
		if (stream_uses_stdio(&c->config.port[i].to))
			return true;
	for (unsigned i = 0; i < c->operators; i++)
		if (stream_uses_stdio(&c->operator[i].to))
			return true;
	return stream_uses_stdio(&c->config.pc.debugcon);
}
