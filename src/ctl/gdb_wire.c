// SPDX-License-Identifier: MIT
//
// Bytes on the wire: packets with their checksum, hexadecimal text, and the binary form's escapes.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "ctl/gdb_wire.h"

enum { SEND_PATIENCE_MS = 1000 };

void gdb_transmit(struct gdb *g, const char *bytes, size_t n)
{
	while (n) {
		ssize_t done = send(g->client.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd p = {.fd = g->client.fd, .events = POLLOUT};

		if (done < 0 && errno == EAGAIN && poll(&p, 1, SEND_PATIENCE_MS) > 0)
			continue;
		if (done <= 0)
			return; // the loop will see the hang-up
		bytes += done;
		n -= (size_t)done;
	}
}

void gdb_send(struct gdb *g, const char *text, size_t n)
{
	uint8_t sum = 0;

	n = MIN(n, sizeof(g->out) - 8);
	for (size_t i = 0; i < n; i++)
		sum += (uint8_t)text[i];
	g->out[0] = '$';
	memmove(g->out + 1, text, n);
	g->out_used = n + 1 + (size_t)sprintf(g->out + 1 + n, "#%02x", sum);
	gdb_transmit(g, g->out, g->out_used);
}

void gdb_reply(struct gdb *g, const char *text)
{
	gdb_send(g, text, strlen(text));
}

size_t gdb_put_hex(char *out, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
	return 2 * n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t gdb_get_hex(uint8_t *bytes, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(text[2 * i]), lo = hi < 0 ? -1 : hex_digit(text[2 * i + 1]);

		if (lo < 0)
			return i;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	return n;
}

size_t gdb_unescape(uint8_t *bytes, size_t max, const char *text, size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < n && done < max; i++) {
		bool escaped = text[i] == '}' && i + 1 < n;

		i += escaped;
		bytes[done++] = (uint8_t)(text[i] ^ (escaped ? 0x20 : 0));
	}
	return done;
}
