// SPDX-License-Identifier: MIT
//
// The human monitor on the terminal that the guest's console has (Ctrl-a c, io/mux.h): a line that is typed, seen as it
// is typed, and obeyed. Bytes come while a console's lock may be held, so they are kept and looked at in the loop.
#include <string.h>

#include "ctl/operator.h"

enum { CTRL_C = 3, CTRL_U = 21, RUBOUT = 127 };

static void say(const struct console_monitor *c, const char *text)
{
	if (c->mux && c->mux->say)
		c->mux->say(c->mux->stream_opaque, text);
}

static void erase(struct console_monitor *c)
{
	if (!c->used)
		return;
	c->line[--c->used] = 0;
	say(c, "\b \b");
}

static void obey(struct console_monitor *c)
{
	struct hmp_text answer = {.used = 0};

	say(c, "\r\n");
	c->line[c->used] = 0;
	c->used = 0;
	hmp_obey(c->machine, c->line, &answer);
	say(c, answer.at);
	say(c, HMP_PROMPT);
}

static void take(struct console_monitor *c, char byte)
{
	char seen[] = {byte, 0};

	if (byte == '\r' || byte == '\n') {
		obey(c);
	} else if (byte == '\b' || byte == RUBOUT) {
		erase(c);
	} else if (byte == CTRL_U || byte == CTRL_C) {
		while (c->used)
			erase(c);
	} else if ((uint8_t)byte >= ' ' && c->used + 1 < sizeof(c->line)) {
		c->line[c->used++] = byte;
		say(c, seen);
	}
}

static void look(void *opaque)
{
	struct console_monitor *c = opaque;
	size_t n = c->typed;
	char typed[sizeof(c->in)];

	memcpy(typed, c->in, n);
	c->typed = 0;
	if (c->begins) {
		c->begins = false;
		say(c, c->greeted ? "\r\n" : "\r\n" HMP_GREETING);
		say(c, HMP_PROMPT);
		c->greeted = true;
		c->used = 0;
	}
	for (size_t i = 0; i < n; i++)
		take(c, typed[i]);
}

static void focus(void *opaque, struct mux *mux, bool on)
{
	struct console_monitor *c = opaque;

	c->mux = mux;
	c->begins = on;
	if (on)
		loop_event_raise(&c->ready);
	else
		say(c, "\r\n");
}

// What is typed faster than it is obeyed is lost, as at any terminal.
static void typed(void *opaque, char byte)
{
	struct console_monitor *c = opaque;

	if (c->typed < sizeof(c->in))
		c->in[c->typed++] = byte;
	loop_event_raise(&c->ready);
}

int console_open(struct console_monitor *c, struct machine *m)
{
	c->machine = m;
	m->mux.monitor = focus;
	m->mux.typed = typed;
	m->mux.monitor_opaque = c;
	return loop_event_add(&m->loop, &c->ready, look, c);
}

void console_close(struct console_monitor *c)
{
	if (c->machine)
		loop_event_remove(&c->machine->loop, &c->ready);
}
