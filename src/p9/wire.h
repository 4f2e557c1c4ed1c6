// SPDX-License-Identifier: MIT
//
// 9P messages, byte by byte: little-endian numbers, strings with two bytes of length. A reader that runs out of
// bytes is marked bad and gives zeroes; a writer without room is marked bad and drops.
#ifndef P9_WIRE_H
#define P9_WIRE_H

#include <string.h>

#include "base/types.h"

enum { P9_NAME_MAX = 255 };

struct p9_in {
	const uint8_t *at;
	size_t left;
	bool bad;
};

struct p9_out {
	uint8_t *start;
	size_t size, room;
	bool bad;
};

static inline const uint8_t *p9_get_bytes(struct p9_in *in, size_t n)
{
	const uint8_t *at = in->at;

	if (in->bad || n > in->left) {
		in->bad = true;
		return NULL;
	}
	in->at += n;
	in->left -= n;
	return at;
}

static inline uint64_t p9_get(struct p9_in *in, size_t n)
{
	const uint8_t *p = p9_get_bytes(in, n);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, n);
	return v;
}

static inline uint8_t p9_get8(struct p9_in *in)
{
	return (uint8_t)p9_get(in, 1);
}

static inline uint16_t p9_get16(struct p9_in *in)
{
	return (uint16_t)p9_get(in, 2);
}

static inline uint32_t p9_get32(struct p9_in *in)
{
	return (uint32_t)p9_get(in, 4);
}

static inline uint64_t p9_get64(struct p9_in *in)
{
	return p9_get(in, 8);
}

// A string as a C string of less than size bytes; one with a zero in it is bad.
static inline void p9_get_string(struct p9_in *in, char *to, size_t size)
{
	size_t n = p9_get16(in);
	const uint8_t *p = p9_get_bytes(in, n);

	*to = 0;
	if (!p || n >= size || memchr(p, 0, n)) {
		in->bad = true;
		return;
	}
	memcpy(to, p, n);
	to[n] = 0;
}

static inline uint8_t *p9_put_room(struct p9_out *out, size_t n)
{
	uint8_t *at = out->start + out->size;

	if (out->bad || n > out->room - out->size) {
		out->bad = true;
		return NULL;
	}
	out->size += n;
	return at;
}

static inline void p9_put_bytes(struct p9_out *out, const void *from, size_t n)
{
	uint8_t *to = p9_put_room(out, n);

	if (to)
		memcpy(to, from, n);
}

static inline void p9_put8(struct p9_out *out, uint8_t v)
{
	p9_put_bytes(out, &v, 1);
}

static inline void p9_put16(struct p9_out *out, uint16_t v)
{
	p9_put_bytes(out, &v, 2);
}

static inline void p9_put32(struct p9_out *out, uint32_t v)
{
	p9_put_bytes(out, &v, 4);
}

static inline void p9_put64(struct p9_out *out, uint64_t v)
{
	p9_put_bytes(out, &v, 8);
}

static inline void p9_put_string(struct p9_out *out, const char *s)
{
	size_t n = strlen(s);

	p9_put16(out, (uint16_t)n);
	p9_put_bytes(out, s, n);
}

#endif
