// SPDX-License-Identifier: MIT
//
// QMP: whole JSON objects out of a stream of bytes, and the frame around a command. An object ends where its braces are
// closed, whatever lines it has. The commands themselves are a table in qmp_commands.c.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/qmp.h"

enum { DEPTH_MAX = 64 };

static void say(struct operator *op, json_t *what)
{
	char *text = what ? json_dumps(what, JSON_PRESERVE_ORDER | (op->pretty ? JSON_INDENT(4) : 0)) : NULL;
	size_t n = text ? strlen(text) : 0;
	char *line = text ? realloc(text, n + 2) : NULL;

	json_decref(what);
	if (!line) {
		free(text);
		return;
	}
	memcpy(line + n, "\r\n", 2);
	operator_put(op, line, n + 2);
	free(line);
}

bool qmp_is_built(void)
{
	return true;
}

void qmp_greet(struct operator *op)
{
	say(op, json_pack("{s:{s:o,s:[]}}", "QMP", "version", qmp_version(), "capabilities"));
}

json_t *qmp_text(const char *s)
{
	json_t *text = json_string(s);
	char *plain = text ? NULL : strdup(s);

	if (!plain)
		return text;
	for (char *p = plain; *p; p++)
		if (*p & 0x80)
			*p = '?';
	text = json_string(plain);
	free(plain);
	return text;
}

static void answer_error(struct operator *op, json_t *id, const char *class, const char *why)
{
	json_t *r = json_pack("{s:{s:s,s:o}}", "error", "class", class, "desc", qmp_text(why));

	if (r && id)
		json_object_set(r, "id", id);
	say(op, r);
}

void qmp_complain(struct operator *op, const char *why)
{
	answer_error(op, NULL, "GenericError", why);
}

static json_t *event(const char *name)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return json_pack("{s:s,s:{s:I,s:I}}", "event", name, "timestamp", "seconds", (json_int_t)t.tv_sec,
			 "microseconds", (json_int_t)t.tv_nsec / 1000);
}

void qmp_tell_failure(struct operator *op, const struct block_failure *f)
{
	static const char *const actions[] = { "report", "ignore", "stop" };
	json_t *e = event("BLOCK_IO_ERROR");

	if (e)
		json_object_set_new(e, "data", json_pack("{s:s,s:s,s:s,s:s,s:b,s:s}", "device",
				    f->image->is_node ? "" : f->image->name, "node-name", f->image->is_node ? f->image->name : "",
				    "operation", f->read ? "read" : "write", "action", actions[f->action], "nospace",
				    f->error == -ENOSPC, "reason", strerror(-f->error)));
	say(op, e);
}

const char *const qmp_events[] = { "SHUTDOWN", "RESET", "STOP", "RESUME", "POWERDOWN", "DEVICE_DELETED",
	"DEVICE_TRAY_MOVED", "VSERPORT_CHANGE", "BALLOON_CHANGE", "BLOCK_IO_ERROR", "DUMP_COMPLETED", NULL };

void qmp_tell(struct operator *op, enum machine_note note, bool guest, const char *why)
{
	static const struct {
		const char *name;
		bool reasoned;
	} notes[] = {
		[NOTE_STOP] = {"STOP", false}, [NOTE_RESUME] = {"RESUME", false}, [NOTE_RESET] = {"RESET", true},
		[NOTE_SHUTDOWN] = {"SHUTDOWN", true}, [NOTE_POWERDOWN] = {"POWERDOWN", false},
		[NOTE_DELETED] = {"DEVICE_DELETED", false}, [NOTE_TRAY_OPENED] = {"DEVICE_TRAY_MOVED", false},
		[NOTE_TRAY_CLOSED] = {"DEVICE_TRAY_MOVED", false}, [NOTE_PORT_OPENED] = {"VSERPORT_CHANGE", false},
		[NOTE_PORT_CLOSED] = {"VSERPORT_CHANGE", false}, [NOTE_BALLOON] = {"BALLOON_CHANGE", false},
		[NOTE_DUMPED] = {"DUMP_COMPLETED", false},
	};
	json_t *e = event(notes[note].name);
	uint64_t bytes;
	char path[128];

	if (e && notes[note].reasoned)
		json_object_set_new(e, "data", json_pack("{s:b,s:s}", "guest", guest, "reason", why));
	if (e && note == NOTE_DELETED) {
		snprintf(path, sizeof(path), "/machine/peripheral/%.63s", why);
		json_object_set_new(e, "data", *why ? json_pack("{s:s,s:s}", "device", why, "path", path) :
				    json_pack("{s:s}", "path", "/machine/peripheral-anon/device"));
	}
	if (e && (note == NOTE_TRAY_OPENED || note == NOTE_TRAY_CLOSED))
		json_object_set_new(e, "data", json_pack("{s:s,s:s,s:b}", "device", "", "id", why, "tray-open",
							 note == NOTE_TRAY_OPENED));
	if (e && (note == NOTE_PORT_OPENED || note == NOTE_PORT_CLOSED))
		json_object_set_new(e, "data", json_pack("{s:s,s:b}", "id", why, "open", note == NOTE_PORT_OPENED));
	if (e && note == NOTE_BALLOON && balloon_memory(op->all->machine, &bytes))
		json_object_set_new(e, "data", json_pack("{s:I}", "actual", (json_int_t)bytes));
	if (e && note == NOTE_DUMPED)
		json_object_set_new(e, "data", json_pack("{s:o}", "result", qmp_dump_status(op->all)));
	say(op, e);
}

static void obey(struct operator *op, const char *name, json_t *args, json_t *id)
{
	const struct qmp_command *c = qmp_find(name);
	struct qmp_call call = {.op = op, .args = args, .class = "GenericError"};
	json_t *r;

	if (!op->ready && strcmp(name, "qmp_capabilities")) {
		answer_error(op, id, "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
		return;
	}
	if (!c || (op->ready && !strcmp(name, "qmp_capabilities"))) {
		snprintf(call.why, sizeof(call.why), "The command %.100s has not been found", name);
		answer_error(op, id, "CommandNotFound", call.why);
		return;
	}
	r = c->run(&call);
	if (!r) {
		answer_error(op, id, call.class, *call.why ? call.why : "out of memory");
		return;
	}
	r = json_pack("{s:o}", "return", r);
	if (r && id)
		json_object_set(r, "id", id);
	say(op, r);
	if (call.after)
		call.after(op->all->machine);
}

static void take_object(struct operator *op, const char *text, size_t n)
{
	json_error_t e;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	json_t *name = json_object_get(root, "execute"), *args = json_object_get(root, "arguments");
	json_t *id = json_object_get(root, "id");
	char why[300];

	if (!name)
		name = json_object_get(root, "exec-oob"); // out of band or not: one is done at a time
	if (!root) {
		snprintf(why, sizeof(why), "JSON parse error, %.200s", e.text);
		qmp_complain(op, why);
	} else if (!json_is_string(name)) {
		answer_error(op, id, "GenericError", "QMP input lacks member 'execute'");
	} else if (args && !json_is_object(args)) {
		answer_error(op, id, "GenericError", "QMP input member 'arguments' must be an object");
	} else {
		obey(op, json_string_value(name), args, id);
	}
	json_decref(root);
}

// The length of the object that in begins with. 0: it goes on; SIZE_MAX: too deep.
static size_t object_end(const char *in, size_t n)
{
	bool string = false, escaped = false;
	unsigned depth = 0;

	for (size_t i = 0; i < n; i++) {
		char c = in[i];

		if (string) {
			string = escaped || c != '"';
			escaped = !escaped && c == '\\';
		} else if (c == '"') {
			string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DEPTH_MAX)
				return SIZE_MAX;
		} else if (c == '}' || c == ']') {
			if (!--depth)
				return i + 1;
		}
	}
	return 0;
}

size_t qmp_take(struct operator *op, const char *in, size_t n)
{
	size_t space = 0, size;

	while (space < n && strchr(" \t\r\n", in[space]))
		space++;
	if (space)
		return space;
	size = *in == '{' ? object_end(in, n) : SIZE_MAX;
	if (size == SIZE_MAX) {
		op->overlong = true; // up to the end of the line
		qmp_complain(op, *in == '{' ? "JSON parse error, nested too deep" : "JSON parse error, expecting an object");
		return 1;
	}
	if (size)
		take_object(op, in, size);
	return size;
}
