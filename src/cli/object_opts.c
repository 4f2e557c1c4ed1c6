// SPDX-License-Identifier: MIT
//
// -object: what is made by name for a device to use. Memory for a node is in smp_opts.c; sources of random numbers and
// threads are only names here, as each virtio device has a thread of its own and all randomness is the host kernel's.
#include <string.h>

#include "cli/cli.h"

static struct cli_object *find(struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->objects; i++)
		if (!strcmp(c->object[i].id, id))
			return &c->object[i];
	return NULL;
}

static enum cli_result take_prop(struct cli *c, struct cli_object *o, const struct cli_prop *p)
{
	static const char *const files[] = { "/dev/urandom", "/dev/random", NULL };

	if (!strcmp(p->key, "id")) {
		if (!*p->value || strlen(p->value) >= sizeof(o->id))
			return cli_error(c, "id=%s is no usable name", p->value);
		strcpy(o->id, p->value);
		return CLI_OK;
	}
	if (o->kind == OBJECT_RNG && !strcmp(p->key, "filename"))
		return cli_is_one_of(p->value, files) ? CLI_OK :
			cli_error(c, "filename=%s is not built; use /dev/urandom", p->value);
	return cli_error(c, "unknown or unbuilt property '%s'", *p->key ? p->key : p->value);
}

static enum cli_result add(struct cli *c, enum cli_object_kind kind, const char *props)
{
	struct cli_object o = {.kind = kind};
	struct cli_prop p;

	while (cli_next_prop(&props, &p))
		if (take_prop(c, &o, &p) != CLI_OK)
			return CLI_ERROR;
	if (!*o.id)
		return cli_error(c, "give it an id (id=NAME)");
	if (find(c, o.id))
		return cli_error(c, "the id '%s' is taken", o.id);
	if (c->objects == OBJECTS_MAX)
		return cli_error(c, "%d are the most", OBJECTS_MAX);
	c->object[c->objects++] = o;
	return CLI_OK;
}

enum cli_result cli_object(struct cli *c, const char *arg)
{
	static const struct {
		const char *name;
		enum cli_object_kind kind;
	} kinds[] = { { "rng-random", OBJECT_RNG }, { "rng-builtin", OBJECT_RNG }, { "iothread", OBJECT_THREAD } };
	static const char *const memories[] = { "memory-backend-ram", "memory-backend-memfd", "memory-backend-file", NULL };
	char text[1024];
	struct cli_prop p;

	if (*arg == '{') {
		if (cli_from_json(c, arg, "qom-type", text, sizeof(text)) != CLI_OK)
			return CLI_ERROR;
		arg = text;
	}
	if (!cli_next_prop(&arg, &p))
		return cli_error(c, "name an object");
	if (cli_is_one_of(p.value, memories))
		return cli_memory_object(c, arg);
	if (!strcmp(p.value, "secret")) // for what is encrypted, which is refused where it is asked for
		return CLI_OK;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(p.value, kinds[i].name))
			return add(c, kinds[i].kind, arg);
	return cli_error(c, "object '%s' is not built yet; memory-backend-ram, rng-random, rng-builtin and iothread are",
			 p.value);
}

enum cli_result cli_use_object(struct cli *c, enum cli_object_kind kind, const char *id)
{
	struct cli_object *o = &c->wanted[c->wants];

	if (c->wants == OBJECTS_MAX)
		return cli_error(c, "%d uses of objects are the most", OBJECTS_MAX);
	o->kind = kind;
	o->device = c->last_device;
	snprintf(o->id, sizeof(o->id), "%.63s", id);
	c->wants++;
	return CLI_OK;
}

enum cli_result cli_settle_objects(struct cli *c)
{
	static const char *const names[] = { [OBJECT_RNG] = "rng", [OBJECT_THREAD] = "iothread" };

	c->option = "-device";
	for (unsigned i = 0; i < c->wants; i++) {
		const struct cli_object *want = &c->wanted[i], *o = find(c, want->id);

		if (!o || o->kind != want->kind)
			return cli_error(c, "%s=%s: there is no such -object", names[want->kind], want->id);
	}
	return CLI_OK;
}

enum cli_result cli_drop_object(struct cli *c, const char *id)
{
	struct cli_object *o = find(c, id);

	if (!o)
		return cli_error(c, "object '%s' not found", id);
	for (unsigned i = 0; i < c->wants; i++)
		if (c->wanted[i].kind == o->kind && !strcmp(c->wanted[i].id, id))
			return cli_error(c, "object '%s' is in use, can not be deleted", id);
	*o = c->object[--c->objects];
	return CLI_OK;
}
