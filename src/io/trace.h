// SPDX-License-Identifier: MIT
//
// The -d text of the monitor on its way to stderr or the -D file. Records in it (bus/shared.h) become text here: units
// are disassembled, symbols go to perf's map.
#ifndef IO_TRACE_H
#define IO_TRACE_H

#include <stdio.h>

#include "bus/shared.h"

enum { TRACE_LINE_MAX = 2048 };

struct trace {
	int fd, until_fd;          // output waits for who reads it until until_fd is readable; -1: it does not wait
	FILE *out;                 // to fd
	FILE *perfmap;             // NULL: not asked for
	struct unit_dump *dump;    // made when the first unit comes
	char line[TRACE_LINE_MAX]; // one that is not all here yet
	size_t used;
};

// file: NULL for standard error. 0 or a negative errno.
int trace_open(struct trace *t, const char *file);
void trace_close(struct trace *t);
void trace_start_perfmap(struct trace *t, int pid); // of a monitor that starts now

// Write what the ring holds and wait for who reads it, until until_fd is readable (-1: do not wait). A file that takes
// no more (disk full) loses the text.
void trace_drain(struct trace *t, struct ring *r, int until_fd);

// The same for a text with records in it, to standard error.
void trace_print(struct trace *t, const char *text, size_t max);

#endif
