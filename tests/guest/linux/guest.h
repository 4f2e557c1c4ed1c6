/* SPDX-License-Identifier: MIT */
/*
 * What every program of this folder shares. A program's output is compared, byte for byte, with what the same binary
 * says on the host: so it prints no process ids, no times, and no addresses but as offsets from a label of its own.
 * Long series of results are folded into one hash a line; with VERBOSE set each result is printed too.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HASH_START 0xcbf29ce484222325ull
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t hash(uint64_t h, const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline bool verbose(void)
{
	static int on = -1;

	if (on < 0)
		on = getenv("VERBOSE") != NULL;
	return on;
}

/* A thing that must hold, wherever the program runs. */
static inline bool check(bool ok, const char *format, ...)
{
	va_list args;

	printf("%s ", ok ? "ok   " : "WRONG");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	return ok;
}

static inline void print_hex(const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size--)
		printf("%02x", p[size]);
}

#endif
