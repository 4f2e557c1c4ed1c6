// SPDX-License-Identifier: MIT
//
// A serial port's host end: between the port's two rings and a character device.
#include "io/serial.h"

#include <errno.h>
#include <stdatomic.h>

#include "io/ring_io.h"

static void put_output(struct serial *s)
{
	const uint8_t *at;
	bool tell = false;
	size_t n;

	while ((n = ring_readable(s->tx, &at)) > 0) {
		ssize_t done = chardev_write(&s->chardev, at, n);

		if (done < 0)
			break;
		tell |= ring_taken(s->tx, (size_t)done);
	}
	if (tell)
		s->changed(s->opaque);
}

// The writer's protocol: full? say that we wait, look again.
static size_t serial_room(void *opaque, uint8_t **at)
{
	struct serial *s = opaque;
	size_t n = ring_writable(s->rx, at);

	if (n)
		return n;
	atomic_store(&s->rx->writer_waits, 1);
	return ring_writable(s->rx, at);
}

static void serial_filled(void *opaque, size_t n)
{
	struct serial *s = opaque;

	ring_filled(s->rx, n);
	if (n)
		s->changed(s->opaque);
}

static void serial_writable(void *opaque)
{
	put_output(opaque);
}

static void serial_broke(void *opaque)
{
	struct serial *s = opaque;

	atomic_store(&s->rx->broken, 1);
	s->changed(s->opaque);
}

int serial_open(struct serial *s, struct loop *l, const struct stream_config *c, struct ring *tx, struct ring *rx,
		char *err, size_t errlen)
{
	s->tx = tx;
	s->rx = rx;
	s->chardev.user = (struct chardev_user){.room = serial_room, .filled = serial_filled,
						.writable = serial_writable, .broke = serial_broke, .opaque = s};
	return chardev_open(&s->chardev, l, c, err, errlen);
}

void serial_doorbell(struct serial *s)
{
	put_output(s);
	chardev_accept_input(&s->chardev);
}

void serial_drain(struct serial *s, int until_fd)
{
	const uint8_t *at;

	put_output(s);
	while (ring_readable(s->tx, &at) && chardev_await_output(&s->chardev, until_fd))
		put_output(s);
}

void serial_close(struct serial *s)
{
	chardev_close(&s->chardev);
}
