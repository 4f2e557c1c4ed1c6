// SPDX-License-Identifier: MIT
//
// Character streams: what stands behind a serial port on the host. A stream is a pair of non-blocking descriptors, one
// or both absent, with QEMU's spelling on the command line (stdio, mon:stdio, file:F, pty, pipe:P, null, none; unix:
// and tcp: are sockets, which io/chardev.h opens).
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include <sys/types.h>

#include "io/net.h"

enum stream_kind { STREAM_NONE /* no port at all */, STREAM_NULL, STREAM_STDIO, STREAM_MON_STDIO, STREAM_FILE,
	STREAM_PIPE, STREAM_PTY, STREAM_SOCKET,
	STREAM_NAMED /* of a chardev that is to be looked up: path is its name */ };

struct stream_config {
	enum stream_kind kind;
	char path[256];  // STREAM_FILE, STREAM_PIPE, STREAM_NAMED; of a socket, how it was written
	bool append;     // STREAM_FILE: behind what is there
	char label[64];  // the chardev's id, or what else to call it
	struct net_stream_config socket; // STREAM_SOCKET
	bool wait;       // ... a server that starts when its peer is there
	bool telnet;     // ... and speaks that protocol
};

struct stream {
	int in_fd, out_fd; // -1: none
	bool out_socket;
	int *passed; // the last descriptor that came with the bytes, or -1: the owner's; NULL: none are taken
};

// 0, or -EINVAL with a line in err that names what is wrong.
int stream_parse(const char *text, struct stream_config *out, char *err, size_t errlen);

// A property of -chardev. 0, -ENOENT: this kind has none such, or -EINVAL with a line in err. check: all are there.
int stream_prop(struct stream_config *c, const char *key, const char *value, char *err, size_t errlen);
int stream_check(struct stream_config *c, char *err, size_t errlen);
const char *stream_describe(const struct stream_config *c); // for people
int stream_kind_find(const char *backend); // of -chardev: enum stream_kind, or -1
const char *stream_kind_name(unsigned i);  // NULL after the last
static inline bool stream_uses_stdio(const struct stream_config *c)
{
	return c->kind == STREAM_STDIO || c->kind == STREAM_MON_STDIO;
}

int stream_open(struct stream *s, const struct stream_config *c, char *err, size_t errlen);
void stream_close(struct stream *s);

// As read and write; never block; -EAGAIN, other negative errno, or the count (0 from read: the end). -EBUSY: a
// terminal that another process group has in the foreground. Without an output everything is taken and dropped.
ssize_t stream_read(struct stream *s, void *to, size_t n);
ssize_t stream_write(struct stream *s, const void *from, size_t n);
void stream_write_all(struct stream *s, const void *from, size_t n); // blocks; an output that fails takes all

#endif
