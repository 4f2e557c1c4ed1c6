// SPDX-License-Identifier: MIT
//
// An operator's connection: input into a buffer, out of which the language takes whole commands; answers and events
// into another, which is sent as far as it goes.
#include "ctl/operator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void send_out(struct operator *op)
{
	while (op->out_used) {
		ssize_t n = chardev_write(&op->chardev, op->out, op->out_used);

		if (n <= 0)
			return;
		op->out_used -= (size_t)n;
		memmove(op->out, op->out + n, op->out_used);
	}
}

void operator_put(struct operator *op, const char *text, size_t n)
{
	if (n > sizeof(op->out) - op->out_used)
		return; // of an answer or event all or nothing
	memcpy(op->out + op->out_used, text, n);
	op->out_used += n;
	send_out(op);
}

static size_t pass_line(struct operator *op)
{
	const char *end = memchr(op->in, '\n', op->in_used);

	op->overlong = !end;
	return end ? (size_t)(end - op->in) + 1 : op->in_used;
}

// Commands one by one, for as long as their answers are taken.
static void take_commands(struct operator *op)
{
	size_t n;

	while (op->greeted && !op->out_used && op->in_used) {
		n = op->overlong ? pass_line(op) : (op->qmp ? qmp_take : hmp_take)(op, op->in, op->in_used);
		if (!n)
			break;
		op->in_used -= n;
		memmove(op->in, op->in + n, op->in_used);
	}
	if (op->in_used < sizeof(op->in) || op->out_used)
		return;
	op->in_used = 0;
	op->overlong = true;
	if (op->qmp)
		qmp_complain(op, "a command of more than 64 KiB");
}

static size_t room(void *opaque, uint8_t **at)
{
	struct operator *op = opaque;

	*at = (uint8_t *)op->in + op->in_used;
	return op->out_used ? 0 : sizeof(op->in) - op->in_used;
}

static void filled(void *opaque, size_t n)
{
	struct operator *op = opaque;

	op->in_used += n;
	take_commands(op);
}

static void writable(void *opaque)
{
	struct operator *op = opaque;

	send_out(op);
	take_commands(op);
	if (!op->out_used)
		chardev_accept_input(&op->chardev);
}

static void greet(struct operator *op)
{
	op->ready = op->overlong = false;
	op->greeted = true;
	(op->qmp ? qmp_greet : hmp_greet)(op);
	take_commands(op);
}

static void link_changed(void *opaque, bool up)
{
	struct operator *op = opaque;

	op->in_used = op->out_used = 0;
	op->greeted = false;
	if (up)
		greet(op);
}

static void heard(void *opaque, enum machine_note note, bool guest, const char *why)
{
	struct operators *o = opaque;

	for (unsigned i = 0; i < o->count; i++)
		if (o->one[i]->qmp && o->one[i]->ready)
			qmp_tell(o->one[i], note, guest, why);
}

static void heard_failure(void *opaque, const struct block_failure *f)
{
	struct operators *o = opaque;

	for (unsigned i = 0; i < o->count; i++)
		if (o->one[i]->qmp && o->one[i]->ready)
			qmp_tell_failure(o->one[i], f);
}

static int open_one(struct operators *o, const struct operator_config *c, char *err, size_t errlen)
{
	struct operator *op = calloc(1, sizeof(*op));
	bool alone = c->to.kind != STREAM_SOCKET && c->to.kind != STREAM_PTY; // nobody connects: somebody is there

	if (!op) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	o->one[o->count++] = op;
	op->all = o;
	op->qmp = c->qmp;
	op->pretty = c->pretty;
	op->chardev.mux = o->machine->mux;
	op->chardev.user = (struct chardev_user){.room = room, .filled = filled, .writable = writable,
						 .link = link_changed, .opaque = op, .takes_descriptors = true};
	if (chardev_open(&op->chardev, &o->machine->loop, &c->to, err, errlen) < 0)
		return -EINVAL;
	if (alone)
		greet(op);
	return 0;
}

int operators_open(struct operators *o, struct machine *m, const struct operator_config *c, unsigned n, char *err,
		   size_t errlen)
{
	char why[400] = "";

	*o = (struct operators){.machine = m};
	if (console_open(&o->console, m) < 0) {
		snprintf(err, errlen, "-monitor: the host has no more descriptors");
		return -EMFILE;
	}
	m->listener_of_events = (struct machine_listener){heard, heard_failure, o};
	for (unsigned i = 0; i < n; i++)
		if (open_one(o, &c[i], why, sizeof(why)) < 0) {
			snprintf(err, errlen, "%s: %s", c[i].qmp ? "-qmp" : "-monitor", why);
			return -EINVAL;
		}
	return 0;
}

void operators_close(struct operators *o)
{
	if (o->machine)
		o->machine->listener_of_events = (struct machine_listener){NULL, NULL, NULL};
	console_close(&o->console);
	for (size_t i = 0; i < ARRAY_SIZE(o->passed); i++)
		if (*o->passed[i].name)
			close(o->passed[i].fd);
	for (unsigned i = 0; i < o->count; i++) {
		send_out(o->one[i]);
		chardev_close(&o->one[i]->chardev);
		free(o->one[i]);
	}
	o->count = 0;
}
