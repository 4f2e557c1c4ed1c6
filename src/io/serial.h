// SPDX-License-Identifier: MIT
//
// A serial port's host end: moves bytes between the two rings of the port and a character device. Runs in the event
// loop; told by the doorbell that the monitor has moved an index.
#ifndef IO_SERIAL_H
#define IO_SERIAL_H

#include "bus/shared.h"
#include "io/chardev.h"

struct serial {
	struct ring *tx, *rx;
	struct chardev chardev;
	void (*changed)(void *opaque); // tell the monitor: bytes in rx, or room in tx that it waits for
	void *opaque;
};

// s->chardev.mux and s->changed are set by the caller. 0, or a negative errno with a line in err.
int serial_open(struct serial *s, struct loop *l, const struct stream_config *c, struct ring *tx, struct ring *rx,
		char *err, size_t errlen);
void serial_doorbell(struct serial *s);
// Write what the guest has sent, and wait for who reads it, until until_fd is readable (-1: do not wait); at the end.
void serial_drain(struct serial *s, int until_fd);
void serial_close(struct serial *s);

#endif
