// SPDX-License-Identifier: MIT
//
// QMP's dump of the guest's memory. It is written before the answer, detach or not: who waits for the event hears it
// right after.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/dump.h"
#include "ctl/qmp.h"

static FILE *open_to(struct qmp_call *c, const char *to)
{
	FILE *f = NULL;
	int fd;

	if (!strncmp(to, "file:", 5)) {
		f = fopen(to + 5, "we");
		if (!f)
			snprintf(c->why, sizeof(c->why), "cannot write '%.150s': %m", to + 5);
		return f;
	}
	if (strncmp(to, "fd:", 3)) {
		qmp_missing(c, "protocol=file:PATH or fd:NAME (others are not built)");
		return NULL;
	}
	fd = qmp_take_descriptor(c, to + 3);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f && fd >= 0) {
		snprintf(c->why, sizeof(c->why), "%.60s cannot be written: %m", to);
		close(fd);
	}
	return f;
}

static void tell(struct machine *m)
{
	machine_tell(m, NOTE_DUMPED, false, "");
}

static json_t *dump(struct qmp_call *c)
{
	const char *to = json_string_value(json_object_get(c->args, "protocol"));
	const char *format = json_string_value(json_object_get(c->args, "format"));
	struct machine *m = qmp_machine(c);
	FILE *f;

	if (!to)
		return qmp_missing(c, "protocol");
	if (format && strcmp(format, "elf"))
		return qmp_missing(c, "format=elf (others are not built)");
	if (json_is_true(json_object_get(c->args, "paging")) || json_object_get(c->args, "begin"))
		return qmp_missing(c, "paging=false, without begin= (others are not built)");
	f = open_to(c, to);
	if (!f || !memory_dump(m, f, c->why, sizeof(c->why)))
		return NULL;
	c->op->all->dumped = m->config->ram_size;
	if (json_is_true(json_object_get(c->args, "detach")))
		c->after = tell;
	return json_object();
}

json_t *qmp_dump_status(const struct operators *o)
{
	return json_pack("{s:s,s:I,s:I}", "status", o->dumped ? "completed" : "none", "completed", (json_int_t)o->dumped,
			 "total", (json_int_t)o->dumped);
}

static json_t *query(struct qmp_call *c)
{
	return qmp_dump_status(c->op->all);
}

static json_t *formats(struct qmp_call *c)
{
	return json_pack("{s:[s]}", "formats", "elf");
}

const struct qmp_command qmp_dumps[] = {
	{ "dump-guest-memory", dump }, { "query-dump", query }, { "query-dump-guest-memory-capability", formats },
	{ NULL, NULL },
};
