// SPDX-License-Identifier: MIT
//
// The keys of a multiplexed standard input, as one table. A Ctrl-a at the end of a read is remembered for the next.
#include "io/mux.h"

enum { CTRL_A = 1 };

static void key_quit(struct mux *m);
static void key_help(struct mux *m);
static void key_monitor(struct mux *m);
static void key_block(struct mux *m);

static const struct mux_key {
	char key;
	const char *help;
	void (*act)(struct mux *m);
} keys[] = {
	{ 'h', "print this help", key_help },
	{ 'x', "exit ringer", key_quit },
	{ 'c', "switch to the monitor (not built)", key_monitor },
	{ 'b', "send break (not built)", key_block },
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

	m->say(m->opaque, "\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char line[] = "Ctrl-a ?    ";

		line[5] = letter;
		line[7] = keys[i].key;
		m->say(m->opaque, line);
		m->say(m->opaque, keys[i].help);
		m->say(m->opaque, "\r\n");
	}
	twice[5] = twice[12] = twice[25] = letter;
	m->say(m->opaque, twice);
}

static void key_monitor(struct mux *m)
{
	m->say(m->opaque, "\r\nringer: the human monitor is not built yet; Ctrl-a h for help\r\n");
}

static void key_block(struct mux *m)
{
	m->say(m->opaque, "\r\nringer: sending a break is not built yet\r\n");
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

		if (m->escaped) {
			m->escaped = false;
			if (press(m, b))
				bytes[kept++] = b;
		} else if (b == escape_of(m)) {
			m->escaped = true;
		} else {
			bytes[kept++] = b;
		}
	}
	return kept;
}
