// SPDX-License-Identifier: MIT
//
// A serial port's host end. Output is asked for with EPOLLOUT only while the ring holds bytes that the host would not
// take; input is listened to only while the ring has room. Files, which epoll refuses, are moved on each doorbell, and
// so is a terminal that other processes use now.
#include <errno.h>
#include <string.h>

#include "io/ring_io.h"
#include "io/serial.h"

static void put_output(struct serial *s)
{
	const uint8_t *at;
	size_t n;
	bool tell = false;

	while ((n = ring_readable(s->tx, &at)) > 0) {
		ssize_t done = s->out_dead ? (ssize_t)n : stream_write(&s->stream, at, n);

		if (done == -EAGAIN || done == -EINTR)
			break;
		if (done < 0) {
			s->out_dead = true;
			continue;
		}
		tell |= ring_taken(s->tx, (size_t)done);
	}
	if (s->stream.out_fd >= 0)
		loop_want(s->loop, &s->out, n && !s->out_dead ? EPOLLOUT : 0);
	if (tell)
		s->changed(s->opaque);
}

static void end_input(struct serial *s)
{
	s->in_open = false;
	loop_remove(s->loop, &s->in);
}

// The writer's protocol: full? say that we wait, look again.
static size_t room_for_input(struct serial *s, uint8_t **at)
{
	size_t n = ring_writable(s->rx, at);

	if (n)
		return n;
	atomic_store(&s->rx->writer_waits, 1);
	return ring_writable(s->rx, at);
}

// A full ring takes the descriptor out of the loop, not just EPOLLIN: a hang-up is reported whether asked for or not.
static void listen_for_input(struct serial *s)
{
	uint8_t *at;
	bool room = ring_writable(s->rx, &at) > 0;

	if (!s->in_open || s->in.always_ready || room == s->in.registered)
		return;
	if (!room) {
		loop_remove(s->loop, &s->in);
		return;
	}
	s->in.events = EPOLLIN;
	if (loop_add(s->loop, &s->in) < 0)
		end_input(s);
}

static void get_input(struct serial *s)
{
	bool tell = false;
	size_t room;
	uint8_t *at;

	while (s->in_open && (room = room_for_input(s, &at)) > 0) {
		ssize_t n = stream_read(&s->stream, at, MIN(room, (size_t)4096));

		if (n == -EAGAIN || n == -EINTR)
			break;
		if (n == -EBUSY) {
			loop_remove(s->loop, &s->in);
			return;
		}
		if (n <= 0) {
			end_input(s);
			break;
		}
		n = s->muxed ? (ssize_t)mux_filter(&s->mux, at, (size_t)n) : n;
		ring_filled(s->rx, (size_t)n);
		tell |= n > 0;
	}
	listen_for_input(s);
	if (tell)
		s->changed(s->opaque);
}

static void in_ready(void *opaque, uint32_t events)
{
	get_input(opaque);
}

static void out_ready(void *opaque, uint32_t events)
{
	struct serial *s = opaque;

	if (events & (EPOLLERR | EPOLLHUP)) {
		s->out_dead = true;
		loop_remove(s->loop, &s->out);
	}
	put_output(s);
}

int serial_open(struct serial *s, struct loop *l, const struct stream_config *c, struct ring *tx, struct ring *rx,
		char *err, size_t errlen)
{
	int r;

	s->loop = l;
	s->tx = tx;
	s->rx = rx;
	s->muxed = c->kind == STREAM_MON_STDIO;
	r = stream_open(&s->stream, c, err, errlen);
	if (r < 0)
		return r;
	s->in = (struct loop_fd){ .fd = s->stream.in_fd, .events = EPOLLIN, .ready = in_ready, .opaque = s };
	s->out = (struct loop_fd){ .fd = s->stream.out_fd, .events = 0, .ready = out_ready, .opaque = s };
	s->in_open = s->stream.in_fd >= 0;
	if (s->in_open && (r = loop_add(l, &s->in)) == 0 && s->in.always_ready)
		get_input(s);
	if (r == 0 && s->stream.out_fd >= 0)
		r = loop_add(l, &s->out);
	return r;
}

void serial_doorbell(struct serial *s)
{
	put_output(s);
	// Even if the ring is full: the room told of may be filled already, so ask anew
	if (s->in_open && !s->in.registered)
		get_input(s);
}

void serial_drain(struct serial *s, int until_fd)
{
	const uint8_t *at;

	put_output(s);
	while (!s->out_dead && s->stream.out_fd >= 0 && ring_readable(s->tx, &at)) {
		if (!loop_await_output(s->stream.out_fd, until_fd))
			return;
		put_output(s);
	}
}

void serial_close(struct serial *s)
{
	loop_remove(s->loop, &s->in);
	loop_remove(s->loop, &s->out);
	stream_close(&s->stream);
}
