// SPDX-License-Identifier: MIT
//
// QMP from inside: its commands.
#ifndef CTL_QMP_H
#define CTL_QMP_H

#include <jansson.h>

#include "ctl/operator.h"

struct qmp_call {
	struct operator *op;
	json_t *args; // an object, or NULL
	const char *class; // of the error, if it fails
	char why[300];
	void (*after)(struct machine *m); // to be done when the answer has been given
};

struct qmp_command {
	const char *name;
	json_t *(*run)(struct qmp_call *c); // what it returns, a new reference; NULL: it failed, c->why says how
};

const struct qmp_command *qmp_find(const char *name); // or NULL
const char *qmp_name(unsigned i); // of each command; NULL: no more
// qmp_query.c, qmp_act.c, and so on; each ends with a name that is NULL
extern const struct qmp_command qmp_queries[], qmp_acts[], qmp_media[], qmp_disks[], qmp_dumps[],
	qmp_descriptors[], qmp_objects[];
extern const char *const qmp_events[]; // their names; the last is NULL
struct machine *qmp_machine(const struct qmp_call *c);
json_t *qmp_missing(struct qmp_call *c, const char *what); // a parameter; NULL, for the command to return
json_t *qmp_plug(struct qmp_call *c, enum plug_kind what); // what the arguments describe
json_t *qmp_drop(struct qmp_call *c, enum plug_kind what, const char *key); // what the argument `key` names
int qmp_take_descriptor(struct qmp_call *c, const char *name); // that was passed: the caller's; -1: c->why says why
json_t *qmp_dump_status(const struct operators *o);
json_t *qmp_version(void);
json_t *qmp_text(const char *s); // a string; what is no UTF-8 in s, as after a cut, becomes question marks

#endif
