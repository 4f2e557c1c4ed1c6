// SPDX-License-Identifier: MIT
//
// A serial port's host end: moves bytes between the two rings of the port and a stream, with back pressure both ways
// and no byte lost. Runs in the event loop; told by the doorbell that the monitor has moved an index.
#ifndef IO_SERIAL_H
#define IO_SERIAL_H

#include "bus/shared.h"
#include "host/loop.h"
#include "io/mux.h"
#include "io/stream.h"

struct serial {
	struct loop *loop;
	struct ring *tx, *rx;
	struct stream stream;
	struct loop_fd in, out;
	bool in_open;   // no end of input yet
	bool out_dead;  // the reader of our output is gone: what comes is dropped
	bool muxed;
	struct mux mux;
	void (*changed)(void *opaque); // tell the monitor: bytes in rx, or room in tx that it waits for
	void *opaque;
};

// s->mux and s->changed are set by the caller. 0, or a negative errno with a line in err.
int serial_open(struct serial *s, struct loop *l, const struct stream_config *c, struct ring *tx, struct ring *rx,
		char *err, size_t errlen);
void serial_doorbell(struct serial *s);
// Write what the guest has sent, and wait for who reads it, until until_fd is readable (-1: do not wait); at the end.
void serial_drain(struct serial *s, int until_fd);
void serial_close(struct serial *s);

#endif
