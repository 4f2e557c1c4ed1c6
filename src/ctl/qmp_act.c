// SPDX-License-Identifier: MIT
//
// QMP's commands that do something to the machine beyond its buttons: memory into files, an NMI, devices and networks
// that come and go, the balloon, keys.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/dump.h"
#include "ctl/qmp.h"

struct machine *qmp_machine(const struct qmp_call *c)
{
	return c->op->all->machine;
}

json_t *qmp_missing(struct qmp_call *c, const char *what)
{
	snprintf(c->why, sizeof(c->why), "Parameter '%s' is missing", what);
	return NULL;
}

static json_t *save(struct qmp_call *c, const char *address, bool physical)
{
	json_t *at = json_object_get(c->args, address), *size = json_object_get(c->args, "size");
	const char *file = json_string_value(json_object_get(c->args, "filename"));

	if (!json_is_integer(at) || !json_is_integer(size) || !file)
		return qmp_missing(c, !json_is_integer(at) ? address : !file ? "filename" : "size");
	if (!memory_save(qmp_machine(c), physical, (uint64_t)json_integer_value(at),
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

static json_t *nmi(struct qmp_call *c)
{
	machine_send_nmi(qmp_machine(c));
	return json_object();
}

json_t *qmp_plug(struct qmp_call *c, enum plug_kind what)
{
	struct machine *m = qmp_machine(c);
	char *text = c->args ? json_dumps(c->args, JSON_COMPACT) : NULL;
	bool ok;

	if (!text)
		return qmp_missing(c, "arguments");
	ok = m->plug && m->plug(m->plug_opaque, m, what, text, c->why, sizeof(c->why)) == 0;
	free(text);
	return ok ? json_object() : NULL;
}

static json_t *device_add(struct qmp_call *c)
{
	return qmp_plug(c, PLUG_DEVICE);
}

// fd=NAME is a descriptor that was passed; fd=NUMBER one that is open.
static json_t *netdev_add(struct qmp_call *c)
{
	const char *name = json_string_value(json_object_get(c->args, "fd"));
	json_t *done;
	int fd = -1;

	if (name && !isdigit((unsigned char)*name)) {
		fd = qmp_take_descriptor(c, name);
		if (fd < 0)
			return NULL;
		json_object_set_new(c->args, "fd", json_sprintf("%d", fd));
	}
	done = qmp_plug(c, PLUG_NETWORK);
	if (!done && fd >= 0)
		close(fd);
	return done;
}

static json_t *object_add(struct qmp_call *c)
{
	return qmp_plug(c, PLUG_OBJECT);
}

static json_t *device_del(struct qmp_call *c)
{
	const char *id = json_string_value(json_object_get(c->args, "id"));

	if (!id)
		return qmp_missing(c, "id");
	c->class = "DeviceNotFound";
	return virtio_bus_unplug(qmp_machine(c), id, c->why, sizeof(c->why)) == 0 ? json_object() : NULL;
}

json_t *qmp_drop(struct qmp_call *c, enum plug_kind what, const char *key)
{
	const char *id = json_string_value(json_object_get(c->args, key));
	struct machine *m = qmp_machine(c);

	if (!id)
		return qmp_missing(c, key);
	return m->plug && m->plug(m->plug_opaque, m, what, id, c->why, sizeof(c->why)) == 0 ? json_object() : NULL;
}

static json_t *netdev_del(struct qmp_call *c)
{
	return qmp_drop(c, PLUG_DROP_NETWORK, "id");
}

static json_t *object_del(struct qmp_call *c)
{
	return qmp_drop(c, PLUG_DROP_OBJECT, "id");
}

static json_t *set_link(struct qmp_call *c)
{
	const char *name = json_string_value(json_object_get(c->args, "name"));
	json_t *up = json_object_get(c->args, "up");

	if (!name || !json_is_boolean(up))
		return qmp_missing(c, name ? "up" : "name");
	if (machine_set_link(qmp_machine(c), name, json_is_true(up)))
		return json_object();
	c->class = "DeviceNotFound";
	snprintf(c->why, sizeof(c->why), "Device '%.100s' not found", name);
	return NULL;
}

static json_t *balloon(struct qmp_call *c)
{
	json_t *value = json_object_get(c->args, "value");

	if (!json_is_integer(value) || json_integer_value(value) <= 0)
		return qmp_missing(c, "value");
	if (balloon_ask(qmp_machine(c), (uint64_t)json_integer_value(value)))
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

	if (key_name(key, name, sizeof(name)) && machine_press_key(qmp_machine(c), name, down))
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
		return qmp_missing(c, "keys");
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
			return qmp_missing(c, "type=key (there is no pointer)");
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

static json_t *no_sleep(struct qmp_call *c)
{
	snprintf(c->why, sizeof(c->why), "Unable to wake up: guest is not in suspended state");
	return NULL;
}

static json_t *not_built(struct qmp_call *c)
{
	snprintf(c->why, sizeof(c->why), "snapshots and migration are not built");
	return NULL;
}

const struct qmp_command qmp_acts[] = {
	{ "balloon", balloon },
	{ "device_add", device_add }, { "device_del", device_del },
	{ "inject-nmi", nmi }, { "input-send-event", send_event }, { "memsave", memsave },
	{ "migrate", not_built },
	{ "migrate-set-capabilities", set_capabilities },
	{ "netdev_add", netdev_add }, { "netdev_del", netdev_del }, { "object-add", object_add },
	{ "object-del", object_del }, { "pmemsave", pmemsave }, { "set_link", set_link },
	{ "send-key", send_key },
	{ "snapshot-delete", not_built }, { "snapshot-load", not_built }, { "snapshot-save", not_built },
	{ "system_wakeup", no_sleep }, { NULL, NULL },
};
