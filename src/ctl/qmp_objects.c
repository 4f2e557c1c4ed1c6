// SPDX-License-Identifier: MIT
//
// The tree of objects, as far as programs walk it: the machine, its processors, and the virtio devices that have names;
// of their properties the type, and the balloon's (qom-list, qom-get, qom-set).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/qmp.h"
#include "machine/balloon.h"

#define PROCESSORS "/machine/unattached"
#define DEVICES "/machine/peripheral"

enum object_kind { NO_OBJECT, OBJECT_ROOT, OBJECT_MACHINE, OBJECT_DEVICES, OBJECT_PROCESSORS, OBJECT_PROCESSOR,
	OBJECT_DEVICE, OBJECT_BALLOON };

struct object {
	enum object_kind kind;
	char type[64];
};

static void type_of(const struct virtio_device *d, const struct pci_app *p, char type[64])
{
	snprintf(type, 64, "%s-%s", d->class->name, p->mmio ? "device" : "pci");
}

// A device's path, or its name alone.
static struct object find_device(struct machine *m, const char *name)
{
	struct object o = {NO_OBJECT};

	for (unsigned i = 0; i < m->virtio.count; i++) {
		const struct virtio_device *d = m->virtio.pci[i].device;

		if (!d || !*m->virtio.config[i]->id || strcmp(m->virtio.config[i]->id, name))
			continue;
		o.kind = m->virtio.config[i]->kind == VIRTIO_BALLOON ? OBJECT_BALLOON : OBJECT_DEVICE;
		type_of(d, &m->shared->pci[i], o.type);
	}
	return o;
}

static struct object find(struct machine *m, const char *path)
{
	static const struct {
		const char *path;
		struct object o;
	} fixed[] = {
		{ "", {OBJECT_ROOT, "container"} }, { "/", {OBJECT_ROOT, "container"} },
		{ "/machine", {OBJECT_MACHINE, ""} }, { DEVICES, {OBJECT_DEVICES, "container"} },
		{ PROCESSORS, {OBJECT_PROCESSORS, "container"} },
	};
	static const char *const boards[] = { [BOARD_PC] = "pc-i440fx-7.2-machine", [BOARD_Q35] = "pc-q35-7.2-machine",
					      [BOARD_MICROVM] = "microvm-machine" };
	struct object o = {NO_OBJECT};
	unsigned n, used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!strcmp(path, fixed[i].path))
			o = fixed[i].o;
	if (o.kind == OBJECT_MACHINE)
		strcpy(o.type, m->config->empty ? "none-machine" : boards[m->config->board]);
	if (sscanf(path, PROCESSORS "/device[%u]%n", &n, &used) == 1 && used && !path[used] && n < m->config->vcpus)
		o = (struct object){OBJECT_PROCESSOR, "max-x86_64-cpu"};
	if (!o.kind)
		o = find_device(m, strncmp(path, DEVICES "/", strlen(DEVICES "/")) ? path : path + strlen(DEVICES "/"));
	return o;
}

static struct object argument(struct qmp_call *c)
{
	const char *path = json_string_value(json_object_get(c->args, "path"));
	struct object o = {NO_OBJECT};

	if (!path) {
		qmp_missing(c, "path");
		return o;
	}
	o = find(qmp_machine(c), path);
	if (!o.kind) {
		c->class = "DeviceNotFound";
		snprintf(c->why, sizeof(c->why), "Device '%.100s' not found", path);
	}
	return o;
}

// -- properties

static json_t *get_type(struct machine *m, const struct object *o)
{
	return json_string(o->type);
}

static json_t *get_realized(struct machine *m, const struct object *o)
{
	return json_true();
}

static json_t *get_interval(struct machine *m, const struct object *o)
{
	return json_integer(m->balloon.seconds);
}

static json_t *get_statistics(struct machine *m, const struct object *o)
{
	static const char *const names[BALLOON_STATISTICS] = {
		"stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory",
		"stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
	};
	struct balloon_statistics s = {.updated = 0};
	json_t *values = json_object();

	balloon_statistics(m, &s);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set_new(values, names[i], json_integer((json_int_t)s.value[i]));
	return json_pack("{s:o,s:I}", "stats", values, "last-update", (json_int_t)s.updated);
}

static bool set_interval(struct qmp_call *c, json_t *value)
{
	json_int_t n = json_integer_value(value);

	if (json_is_integer(value) && n >= 0 && n <= UINT32_MAX && balloon_poll(qmp_machine(c), (unsigned)n))
		return true;
	snprintf(c->why, sizeof(c->why), "guest-stats-polling-interval: give a number of seconds");
	return false;
}

static const struct property {
	const char *name, *type;
	enum object_kind from, to; // who has it
	json_t *(*get)(struct machine *m, const struct object *o);
	bool (*set)(struct qmp_call *c, json_t *value); // NULL: it cannot be set
} properties[] = {
	{ "type", "string", OBJECT_ROOT, OBJECT_BALLOON, get_type, NULL },
	{ "realized", "bool", OBJECT_PROCESSOR, OBJECT_BALLOON, get_realized, NULL },
	{ "guest-stats", "guest statistics", OBJECT_BALLOON, OBJECT_BALLOON, get_statistics, NULL },
	{ "guest-stats-polling-interval", "int", OBJECT_BALLOON, OBJECT_BALLOON, get_interval, set_interval },
};

static const struct property *property_of(struct qmp_call *c, const struct object *o)
{
	const char *name = json_string_value(json_object_get(c->args, "property"));

	if (!o->kind)
		return NULL;
	if (!name) {
		qmp_missing(c, "property");
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
		if (!strcmp(properties[i].name, name) && o->kind >= properties[i].from && o->kind <= properties[i].to)
			return &properties[i];
	snprintf(c->why, sizeof(c->why), "Property '%s.%.100s' not found", o->type, name);
	return NULL;
}

static json_t *get(struct qmp_call *c)
{
	struct object o = argument(c);
	const struct property *p = property_of(c, &o);

	return p ? p->get(qmp_machine(c), &o) : NULL;
}

static json_t *set(struct qmp_call *c)
{
	struct object o = argument(c);
	const struct property *p = property_of(c, &o);
	json_t *value = json_object_get(c->args, "value");

	if (!p)
		return NULL;
	if (!value)
		return qmp_missing(c, "value");
	if (p->set)
		return p->set(c, value) ? json_object() : NULL;
	snprintf(c->why, sizeof(c->why), "Property '%s.%s' is not writable", o.type, p->name);
	return NULL;
}

static void add(json_t *list, const char *name, const char *type)
{
	json_array_append_new(list, json_pack("{s:s,s:s}", "name", name, "type", type));
}

static void add_child(json_t *list, const char *name, const char *type)
{
	char child[80];

	snprintf(child, sizeof(child), "child<%s>", type);
	add(list, name, child);
}

static json_t *list(struct qmp_call *c)
{
	struct machine *m = qmp_machine(c);
	struct object o = argument(c);
	json_t *all = o.kind ? json_array() : NULL;
	char name[80];

	for (size_t i = 0; all && i < ARRAY_SIZE(properties); i++)
		if (o.kind >= properties[i].from && o.kind <= properties[i].to)
			add(all, properties[i].name, properties[i].type);
	if (o.kind == OBJECT_ROOT)
		add_child(all, "machine", find(m, "/machine").type);
	if (o.kind == OBJECT_MACHINE) {
		add_child(all, "peripheral", "container");
		add_child(all, "unattached", "container");
	}
	for (unsigned i = 0; o.kind == OBJECT_DEVICES && i < m->virtio.count; i++)
		if (m->virtio.pci[i].device && *m->virtio.config[i]->id) {
			type_of(m->virtio.pci[i].device, &m->shared->pci[i], o.type);
			add_child(all, m->virtio.config[i]->id, o.type);
		}
	for (unsigned i = 0; o.kind == OBJECT_PROCESSORS && i < m->config->vcpus; i++) {
		snprintf(name, sizeof(name), "device[%u]", i);
		add_child(all, name, "max-x86_64-cpu");
	}
	return all;
}

const struct qmp_command qmp_objects[] = {
	{ "qom-get", get }, { "qom-list", list }, { "qom-set", set }, { NULL, NULL },
};
