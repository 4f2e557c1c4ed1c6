// SPDX-License-Identifier: MIT
//
// The -d text, line by line. Traces are asked for to be complete, so the monitor waits for this and this waits for the
// file.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/futex.h"
#include "host/loop.h"
#include "io/ring_io.h"
#include "io/trace.h"
#include "io/unit_dump.h"

enum { SMALL_WRITE = 4096 /* a pipe that polls writable takes this much without blocking */ };

static ssize_t write_out(void *opaque, const char *bytes, size_t n)
{
	struct trace *t = opaque;
	size_t done = 0;

	while (done < n && loop_await_output(t->fd, t->until_fd)) {
		ssize_t part = write(t->fd, bytes + done, MIN(n - done, (size_t)SMALL_WRITE));

		if (part < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (part < 0)
			break;
		done += (size_t)part;
	}
	return (ssize_t)n; // what could not be written is lost
}

int trace_open(struct trace *t, const char *file)
{
	const cookie_io_functions_t functions = {.write = write_out};

	memset(t, 0, sizeof(*t));
	t->until_fd = -1;
	t->fd = file ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : STDERR_FILENO;
	if (t->fd < 0)
		return -errno;
	t->out = fopencookie(t, "w", functions);
	return t->out ? 0 : -ENOMEM;
}

void trace_close(struct trace *t)
{
	if (t->out)
		fclose(t->out);
	if (t->fd > STDERR_FILENO)
		close(t->fd);
	if (t->perfmap)
		fclose(t->perfmap);
	free(t->dump);
	t->out = t->perfmap = NULL;
	t->fd = -1;
	t->dump = NULL;
}

void trace_start_perfmap(struct trace *t, int pid)
{
	char path[64];

	if (t->perfmap)
		fclose(t->perfmap);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", pid);
	t->perfmap = fopen(path, "wxe");
	if (!t->perfmap)
		fprintf(stderr, "ringer: -perfmap: cannot create '%s': %s\n", path, strerror(errno));
}

static void take_record(struct trace *t, FILE *out, const char *record)
{
	if (*record == TRACE_SYMBOL) {
		if (t->perfmap && record[1])
			fputs(record + 2, t->perfmap);
		return;
	}
	if (!t->dump)
		t->dump = calloc(1, sizeof(*t->dump));
	if (t->dump)
		unit_dump_record(t->dump, out, record);
}

// Nothing in it may play with a terminal.
static void put_text(struct trace *t, FILE *out)
{
	for (size_t i = 0; i < t->used; i++)
		if ((t->line[i] < ' ' && t->line[i] != '\n' && t->line[i] != '\t') || t->line[i] == 127)
			t->line[i] = '?';
	fwrite(t->line, 1, t->used, out);
}

static void take_line(struct trace *t, FILE *out)
{
	t->line[t->used] = 0;
	if (t->line[0] == TRACE_RECORD && t->used > 1)
		take_record(t, out, t->line + 1);
	else
		put_text(t, out);
	t->used = 0;
}

static void take_bytes(struct trace *t, FILE *out, const uint8_t *at, size_t n)
{
	while (n) {
		const uint8_t *end = memchr(at, '\n', n);
		size_t part = end ? (size_t)(end - at) + 1 : n;
		size_t room = sizeof(t->line) - 1 - t->used;

		part = MIN(part, room);
		memcpy(t->line + t->used, at, part);
		t->used += part;
		if ((end && at + part == end + 1) || part == room)
			take_line(t, out);
		at += part;
		n -= part;
	}
}

void trace_drain(struct trace *t, struct ring *r, int until_fd)
{
	const uint8_t *at;
	bool any = false;
	size_t n;

	t->until_fd = until_fd;
	while ((n = ring_readable(r, &at)) > 0) {
		take_bytes(t, t->out, at, n);
		any = true;
		if (ring_taken(r, n))
			host_futex_wake(&r->tail);
	}
	if (any)
		fflush(t->out);
	if (any && t->perfmap)
		fflush(t->perfmap);
}

void trace_print(struct trace *t, const char *text, size_t max)
{
	size_t n = strnlen(text, max);

	t->used = 0;
	take_bytes(t, stderr, (const uint8_t *)text, n);
	take_line(t, stderr);
}
