// SPDX-License-Identifier: MIT
//
// A character device's host end while the machine runs: a stream (io/stream.h) watched in the event loop; or a
// socket or pseudo-terminal that somebody is connected to, or not. Whoever has it - a serial port (io/serial.c), a
// port of a virtio console (virtio/console.c) - says where input may go, and writes output as far as it goes, with
// back pressure both ways and no byte lost. What is written while nobody is connected is.
#ifndef IO_CHARDEV_H
#define IO_CHARDEV_H

#include <pthread.h>

#include "host/loop.h"
#include "io/mux.h"
#include "io/stream.h"
#include "io/telnet.h"

struct chardev_user {
	size_t (*room)(void *opaque, uint8_t **at); // where input may go; 0: nowhere, until chardev_accept_input
	void (*filled)(void *opaque, size_t n);     // so much of it has come
	void (*writable)(void *opaque);             // output goes on
	void (*link)(void *opaque, bool up);        // somebody has connected, or gone; may be NULL
	void (*broke)(void *opaque);                // a break has come; may be NULL
	void *opaque;
	pthread_mutex_t *lock; // what the loop holds when it calls these; NULL: nothing
	bool takes_descriptors; // that come over a Unix socket: chardev.passed
};

struct chardev {
	struct loop *loop;
	struct stream_config config;
	struct chardev_user user;
	struct stream stream;
	struct loop_fd in, out, listener;
	struct loop_timer look; // for somebody at a pseudo-terminal's other end
	bool up;       // there is somebody, or it is neither a socket nor a pseudo-terminal
	bool in_open;  // no end of input yet
	bool out_dead; // the reader of our output is gone: what comes is dropped
	bool opened;
	struct mux mux; // of mon:stdio; set by the caller, as user is
	struct telnet telnet; // of a socket with telnet=on
	int passed; // the last descriptor that has come, or -1
};

// 0, or a negative errno with a line in err. A server that waits for its peer does so here.
int chardev_open(struct chardev *c, struct loop *l, const struct stream_config *config, char *err, size_t errlen);
void chardev_close(struct chardev *c);

// With the lock held. How many of n bytes are gone, -EAGAIN: none now, `writable` will be called.
ssize_t chardev_write(struct chardev *c, const void *from, size_t n);
void chardev_accept_input(struct chardev *c); // there is room again

// As QEMU says it: pty:/dev/pts/3, disconnected:unix:PATH,server=on.
void chardev_describe(const struct chardev *c, char *to, size_t size);

// At the end: true if output may go on; false: until_fd (-1: do not wait) is readable, or there is no output.
bool chardev_await_output(struct chardev *c, int until_fd);

#endif
