// SPDX-License-Identifier: MIT
//
// QMP's commands that do something to the machine beyond its buttons: memory into files, an NMI, devices that come
// and go, the balloon.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/dump.h"
#include "ctl/qmp.h"

static struct machine *machine_of(const struct qmp_call *c)
{
	return c->op->all->machine;
}

static json_t *missing(struct qmp_call *c, const char *what)
{
	snprintf(c->why, sizeof(c->why), "Parameter '%s' is missing", what);
	return NULL;
}

static json_t *save(struct qmp_call *c, const char *address, bool physical)
{
	json_t *at = json_object_get(c->args, address), *size = json_object_get(c->args, "size");
	const char *file = json_string_value(json_object_get(c->args, "filename"));

	if (!json_is_integer(at) || !json_is_integer(size) || !file)
		return missing(c, !json_is_integer(at) ? address : !file ? "filename" : "size");
	if (!memory_save(machine_of(c), physical, (uint64_t)json_integer_value(at),
			 (uint64_t)json_integer_value(size), file, c->why, sizeof(c->why)))
		return NULL;
	return json_object();
}

static json_t *memsave(struct qmp_call *c)
{
	return save(c, "val", false);
}

static json_t *pmemsave(struct qmp_call *c)
{
	return save(c, "val", true);
}

static json_t *dump(struct qmp_call *c)
{
	const char *to = json_string_value(json_object_get(c->args, "protocol"));
	const char *format = json_string_value(json_object_get(c->args, "format"));

	if (!to)
		return missing(c, "protocol");
	if (strncmp(to, "file:", 5))
		return missing(c, "protocol=file:PATH (others are not built)");
	if (format && strcmp(format, "elf"))
		return missing(c, "format=elf (others are not built)");
	return memory_dump(machine_of(c), to + 5, c->why, sizeof(c->why)) ? json_object() : NULL;
}

static json_t *dump_formats(struct qmp_call *c)
{
	return json_pack("{s:[s]}", "formats", "elf");
}

static json_t *nmi(struct qmp_call *c)
{
	machine_send_nmi(machine_of(c));
	return json_object();
}

static json_t *plug(struct qmp_call *c, enum plug_kind what, json_t *args)
{
	struct machine *m = machine_of(c);
	char *text = args ? json_dumps(args, JSON_COMPACT) : NULL;
	bool ok;

	if (!text)
		return missing(c, "arguments");
	ok = m->plug && m->plug(m->plug_opaque, m, what, text, c->why, sizeof(c->why)) == 0;
	free(text);
	return ok ? json_object() : NULL;
}

static json_t *device_add(struct qmp_call *c)
{
	return plug(c, PLUG_DEVICE, c->args);
}

static json_t *blockdev_add(struct qmp_call *c)
{
	return plug(c, PLUG_NODE, c->args);
}

static json_t *netdev_add(struct qmp_call *c)
{
	return plug(c, PLUG_NETWORK, c->args);
}

static json_t *object_add(struct qmp_call *c)
{
	return plug(c, PLUG_OBJECT, c->args);
}

static json_t *device_del(struct qmp_call *c)
{
	const char *id = json_string_value(json_object_get(c->args, "id"));

	if (!id)
		return missing(c, "id");
	c->class = "DeviceNotFound";
	return virtio_bus_unplug(machine_of(c), id, c->why, sizeof(c->why)) == 0 ? json_object() : NULL;
}

static json_t *balloon(struct qmp_call *c)
{
	json_t *value = json_object_get(c->args, "value");

	if (!json_is_integer(value) || json_integer_value(value) <= 0)
		return missing(c, "value");
	if (virtio_bus_ask_memory(machine_of(c), (uint64_t)json_integer_value(value)))
		return json_object();
	c->class = "DeviceNotActive";
	snprintf(c->why, sizeof(c->why), "No balloon device has been activated");
	return NULL;
}

// -- keys: {"type": "qcode", "data": "ret"} or {"type": "number", "data": 28}

static bool key_name(json_t *key, char *name, size_t size)
{
	json_t *data = json_object_get(key, "data");

	if (json_is_integer(data))
		snprintf(name, size, "%#llx", (unsigned long long)json_integer_value(data));
	else
		snprintf(name, size, "%s", json_is_string(data) ? json_string_value(data) : "");
	return *name;
}

static bool press(struct qmp_call *c, json_t *key, bool down)
{
	char name[40];

	if (key_name(key, name, sizeof(name)) && machine_press_key(machine_of(c), name, down))
		return true;
	snprintf(c->why, sizeof(c->why), "Invalid parameter '%s'", *name ? name : "keys");
	return false;
}

// All down, all up: hold-time passes at once, as the keyboard keeps them in their order.
static json_t *send_key(struct qmp_call *c)
{
	json_t *keys = json_object_get(c->args, "keys");
	size_t n = json_array_size(keys);

	if (!n)
		return missing(c, "keys");
	for (size_t i = 0; i < n; i++)
		if (!press(c, json_array_get(keys, i), true))
			return NULL;
	while (n--)
		press(c, json_array_get(keys, n), false);
	return json_object();
}

static json_t *send_event(struct qmp_call *c)
{
	json_t *events = json_object_get(c->args, "events"), *one, *data;
	size_t i;

	json_array_foreach(events, i, one) {
		const char *type = json_string_value(json_object_get(one, "type"));

		data = json_object_get(one, "data");
		if (!type || strcmp(type, "key"))
			return missing(c, "type=key (there is no pointer)");
		if (!press(c, json_object_get(data, "key"), json_is_true(json_object_get(data, "down"))))
			return NULL;
	}
	return json_object();
}

// -- migration: there is none, and what is asked of it can only be switched off

static json_t *set_capabilities(struct qmp_call *c)
{
	json_t *list = json_object_get(c->args, "capabilities"), *one;
	size_t i;

	json_array_foreach(list, i, one) {
		const char *name = json_string_value(json_object_get(one, "capability"));

		if (!name || (json_is_true(json_object_get(one, "state")) && strcmp(name, "events"))) {
			snprintf(c->why, sizeof(c->why), "migration is not built: %.100s", name ? name : "capabilities");
			return NULL;
		}
	}
	return json_object();
}

static json_t *not_built(struct qmp_call *c)
{
	snprintf(c->why, sizeof(c->why), "this is not built in ringer");
	return NULL;
}

const struct qmp_command qmp_acts[] = {
	{ "balloon", balloon }, { "blockdev-add", blockdev_add },
	{ "device_add", device_add }, { "device_del", device_del },
	{ "dump-guest-memory", dump }, { "inject-nmi", nmi }, { "input-send-event", send_event }, { "memsave", memsave },
	{ "migrate", not_built },
	{ "migrate-set-capabilities", set_capabilities },
	{ "netdev_add", netdev_add }, { "object-add", object_add }, { "pmemsave", pmemsave },
	{ "query-dump-guest-memory-capability", dump_formats }, { "send-key", send_key },
	{ "system_wakeup", not_built }, { NULL, NULL },
};
