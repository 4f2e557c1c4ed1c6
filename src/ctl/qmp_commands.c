// SPDX-License-Identifier: MIT
//
// QMP's commands: one table. Answers have the members that QEMU's have, as far as there is anything to say.
#include <stdio.h>
#include <string.h>

#include "ctl/qmp.h"
#include "ctl/screendump.h"

static json_t *done(struct qmp_call *c, int r, const char *why)
{
	if (r == 0)
		return json_object();
	snprintf(c->why, sizeof(c->why), "%s", why);
	return NULL;
}

static json_t *capabilities(struct qmp_call *c)
{
	c->op->ready = true;
	return json_object();
}

json_t *qmp_version(void)
{
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "micro", 0, "minor", 2, "major", 7, "package",
			 "ringer 0.1.0");
}

static json_t *query_version(struct qmp_call *c)
{
	return qmp_version();
}

static json_t *query_status(struct qmp_call *c)
{
	struct machine *m = qmp_machine(c);

	return json_pack("{s:b,s:b,s:s}", "running", machine_is_running(m), "singlestep", false, "status",
			 machine_run_state(m));
}

static json_t *query_kvm(struct qmp_call *c)
{
	return json_pack("{s:b,s:b}", "enabled", false, "present", false);
}

static json_t *query_name(struct qmp_call *c)
{
	const char *name = qmp_machine(c)->config->name;

	return name ? json_pack("{s:s}", "name", name) : json_object();
}

static json_t *query_target(struct qmp_call *c)
{
	return json_pack("{s:s}", "arch", "x86_64");
}

static json_t *query_cpus(struct qmp_call *c)
{
	struct machine *m = qmp_machine(c);
	json_t *list = json_array();

	for (unsigned i = 0; i < m->config->vcpus; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
		json_array_append_new(list, json_pack("{s:i,s:s,s:i,s:s}", "cpu-index", i, "qom-path", path, "thread-id",
						      (int)m->monitor[i].pid, "target", "x86_64"));
	}
	return list;
}

static void add_chardev(json_t *list, const char *label, const struct chardev *c, bool open)
{
	char text[400];

	chardev_describe(c, text, sizeof(text));
	if (*c->config.label)
		label = c->config.label;
	json_array_append_new(list, json_pack("{s:s,s:o,s:b}", "label", label, "filename", qmp_text(text),
					      "frontend-open", open));
}

static json_t *query_chardev(struct qmp_call *c)
{
	struct machine *m = qmp_machine(c);
	struct operators *all = c->op->all;
	json_t *list = json_array();
	char label[32];

	for (unsigned i = 0; i < SERIAL_PORTS; i++) {
		snprintf(label, sizeof(label), "serial%u", i);
		if (m->config->serial[i].kind != STREAM_NONE)
			add_chardev(list, label, &m->serial[i].chardev, true);
	}
	for (unsigned i = 0; i < m->config->ports; i++) {
		bool open;
		const struct chardev *port = virtio_bus_port(m, i, &open);

		if (port)
			add_chardev(list, m->config->port[i].id, port, open);
	}
	for (unsigned i = 0; i < all->count; i++) {
		snprintf(label, sizeof(label), "compat_monitor%u", i);
		add_chardev(list, label, &all->one[i]->chardev, true);
	}
	return list;
}

static json_t *query_memory(struct qmp_call *c)
{
	return json_pack("{s:I,s:I}", "base-memory", (json_int_t)qmp_machine(c)->config->ram_size, "plugged-memory",
			 (json_int_t)0);
}

static json_t *query_events(struct qmp_call *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; qmp_events[i]; i++)
		json_array_append_new(list, json_pack("{s:s}", "name", qmp_events[i]));
	return list;
}

static json_t *query_commands(struct qmp_call *c)
{
	json_t *list = json_array();

	const char *name;

	for (unsigned i = 0; (name = qmp_name(i)); i++)
		json_array_append_new(list, json_pack("{s:s}", "name", name));
	return list;
}

static json_t *stop(struct qmp_call *c)
{
	return done(c, machine_pause(qmp_machine(c)), "the machine has powered off, or a debugger has stopped it");
}

static json_t *cont(struct qmp_call *c)
{
	return done(c, machine_unpause(qmp_machine(c)), "Resetting the Virtual Machine is required, or a debugger has it");
}

static void reset_now(struct machine *m)
{
	machine_reset(m);
}

static json_t *system_reset(struct qmp_call *c)
{
	c->after = reset_now;
	return json_object();
}

static json_t *powerdown(struct qmp_call *c)
{
	machine_press_power(qmp_machine(c));
	return json_object();
}

static json_t *quit(struct qmp_call *c)
{
	c->after = machine_quit;
	return json_object();
}

static json_t *human(struct qmp_call *c)
{
	const char *line = json_string_value(json_object_get(c->args, "command-line"));
	struct hmp_text answer = {.used = 0};

	if (!line)
		return done(c, -1, "Parameter 'command-line' is missing");
	hmp_obey(qmp_machine(c), line, &answer);
	return qmp_text(answer.at);
}

static json_t *dump_screen(struct qmp_call *c)
{
	const char *file = json_string_value(json_object_get(c->args, "filename"));
	const char *format = json_string_value(json_object_get(c->args, "format"));

	if (!file)
		return done(c, -1, "Parameter 'filename' is missing");
	return screendump(qmp_machine(c), file, format, c->why, sizeof(c->why)) < 0 ? NULL : json_object();
}

static const struct qmp_command commands[] = {
	{ "cont", cont }, { "human-monitor-command", human }, { "qmp_capabilities", capabilities },
	{ "query-chardev", query_chardev }, { "query-commands", query_commands }, { "query-cpus-fast", query_cpus },
	{ "query-events", query_events }, { "query-kvm", query_kvm }, { "query-memory-size-summary", query_memory },
	{ "query-name", query_name }, { "query-status", query_status }, { "query-target", query_target },
	{ "query-version", query_version }, { "quit", quit }, { "screendump", dump_screen }, { "stop", stop },
	{ "system_powerdown", powerdown }, { "system_reset", system_reset }, { NULL, NULL },
};

static const struct qmp_command *at(unsigned i)
{
	const struct qmp_command *const tables[] = { commands, qmp_queries, qmp_acts, qmp_media, qmp_disks, qmp_dumps,
							qmp_descriptors, qmp_objects };

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct qmp_command *c = tables[t]; c->name; c++)
			if (!i--)
				return c;
	return NULL;
}

const char *qmp_name(unsigned i)
{
	const struct qmp_command *c = at(i);

	return c ? c->name : NULL;
}

const struct qmp_command *qmp_find(const char *name)
{
	const struct qmp_command *c;

	for (unsigned i = 0; (c = at(i)); i++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}
