// SPDX-License-Identifier: MIT
//
// The keys of a multiplexed standard input, as one table. A Ctrl-a at the end of a read is remembered for the next.
#include "io/mux.h"

enum { CTRL_A = 1 };

static void key_quit(struct mux *m);
static void key_help(struct mux *m);
static void key_monitor(struct mux *m);
static void key_break(struct mux *m);

static const struct mux_key {
	char key;
	const char *help;
	void (*act)(struct mux *m);
} keys[] = {
	{ 'h', "print this help", key_help },
	{ 'x', "exit ringer", key_quit },
	{ 'c', "switch between the guest and the monitor", key_monitor },
	{ 'b', "send break", key_break },
};

static void key_quit(struct mux *m)
{
	m->quit(m->opaque);
}

static uint8_t escape_of(const struct mux *m)
{
	return m->escape ? m->escape : CTRL_A;
}

static void key_help(struct mux *m)
{
	char twice[] = "Ctrl-a Ctrl-a  send Ctrl-a\r\n", letter = (char)('`' + escape_of(m));

	m->say(m->stream_opaque, "\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char line[] = "Ctrl-a ?    ";

		line[5] = letter;
		line[7] = keys[i].key;
		m->say(m->stream_opaque, line);
		m->say(m->stream_opaque, keys[i].help);
		m->say(m->stream_opaque, "\r\n");
	}
	twice[5] = twice[12] = twice[25] = letter;
	m->say(m->stream_opaque, twice);
}

static void key_monitor(struct mux *m)
{
	if (!m->monitor)
		return;
	m->in_monitor = !m->in_monitor;
	m->monitor(m->monitor_opaque, m, m->in_monitor);
}

static void key_break(struct mux *m)
{
	if (m->send_break && !m->in_monitor)
		m->send_break(m->stream_opaque);
}

// Returns whether the byte after Ctrl-a is the guest's.
static bool press(struct mux *m, uint8_t byte)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (byte == (uint8_t)keys[i].key) {
			keys[i].act(m);
			return false;
		}
	return byte == escape_of(m);
}

size_t mux_filter(struct mux *m, uint8_t *bytes, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t b = bytes[i];
		bool meant = true; // for the guest, or the monitor

		if (m->escaped) {
			m->escaped = false;
			meant = press(m, b);
		} else if (b == escape_of(m)) {
			m->escaped = true;
			meant = false;
		}
		if (meant && m->in_monitor)
			m->typed(m->monitor_opaque, (char)b);
		else if (meant)
			bytes[kept++] = b;
	}
	return kept;
}
