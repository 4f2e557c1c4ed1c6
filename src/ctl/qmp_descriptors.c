// SPDX-License-Identifier: MIT
//
// Descriptors that come over the operator's Unix socket with a command, and are known by a name until somebody takes
// them or they are closed (getfd, closefd).
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/qmp.h"

static struct passed *find(struct operators *o, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(o->passed); i++)
		if (!strcmp(o->passed[i].name, name))
			return &o->passed[i];
	return NULL;
}

static json_t *refused(struct qmp_call *c, const char *what, const char *name)
{
	snprintf(c->why, sizeof(c->why), what, name);
	return NULL;
}

int qmp_take_descriptor(struct qmp_call *c, const char *name)
{
	struct passed *p = *name ? find(c->op->all, name) : NULL;

	if (!p) {
		refused(c, "File descriptor named '%.60s' has not been found", name);
		return -1;
	}
	*p->name = 0;
	return p->fd;
}

static json_t *get(struct qmp_call *c)
{
	const char *name = json_string_value(json_object_get(c->args, "fdname"));
	int *fd = &c->op->chardev.passed;
	struct passed *p;

	if (!name)
		return qmp_missing(c, "fdname");
	if (*fd < 0)
		return refused(c, "No file descriptor supplied via SCM_RIGHTS%s", "");
	if (!*name || *name <= '9' || strlen(name) >= sizeof(p->name))
		return refused(c, "Parameter 'fdname' expects a name not starting with a digit%s", "");
	p = find(c->op->all, name);
	if (p)
		close(p->fd);
	else
		p = find(c->op->all, "");
	if (!p)
		return refused(c, "there are too many: %s is not taken", name);
	strcpy(p->name, name);
	p->fd = *fd;
	*fd = -1;
	return json_object();
}

static json_t *forget(struct qmp_call *c)
{
	const char *name = json_string_value(json_object_get(c->args, "fdname"));
	int fd = name ? qmp_take_descriptor(c, name) : -1;

	if (!name)
		return qmp_missing(c, "fdname");
	if (fd < 0)
		return NULL;
	close(fd);
	return json_object();
}

const struct qmp_command qmp_descriptors[] = { { "closefd", forget }, { "getfd", get }, { NULL, NULL } };
