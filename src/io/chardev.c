// SPDX-License-Identifier: MIT
//
// Output is asked for with EPOLLOUT only while there are bytes that the host would not take; input is listened to only
// while there is room. Files, which epoll refuses, are moved whenever the user asks, and so is a terminal that other
// processes use now. A socket's descriptor is both, so its two loop entries have a descriptor each.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/chardev.h"
#include "io/net_socket.h"

enum { READ_MAX = 4096, LOOK_MS = 100 };
#define LOOK_NS (UINT64_C(200) * 1000 * 1000)

static void enter(struct chardev *c)
{
	if (c->user.lock)
		pthread_mutex_lock(c->user.lock);
}

static void leave(struct chardev *c)
{
	if (c->user.lock)
		pthread_mutex_unlock(c->user.lock);
}

static bool is_socket(const struct chardev *c)
{
	return c->config.kind == STREAM_SOCKET;
}

// Do people come and go?
static bool has_peers(const struct chardev *c)
{
	return is_socket(c) || c->config.kind == STREAM_PTY;
}

static void look_later(struct chardev *c)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	loop_timer_set(&c->look, (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + LOOK_NS);
}

static void hang_up(struct chardev *c)
{
	loop_remove(c->loop, &c->in);
	loop_remove(c->loop, &c->out);
	c->up = c->in_open = false;
	if (is_socket(c))
		stream_close(&c->stream);
	else
		look_later(c);
	if (c->listener.fd >= 0)
		loop_want(c->loop, &c->listener, EPOLLIN);
	if (c->user.link)
		c->user.link(c->user.opaque, false);
	c->user.writable(c->user.opaque); // what it holds is dropped now
}

static void end_input(struct chardev *c)
{
	if (has_peers(c)) {
		hang_up(c);
		return;
	}
	c->in_open = false;
	loop_remove(c->loop, &c->in);
}

// -- input

// A full user takes the descriptor out of the loop, not just EPOLLIN: a hang-up is reported whether asked for or not.
static void listen_for_input(struct chardev *c)
{
	uint8_t *at;
	bool room = c->in_open && c->user.room(c->user.opaque, &at) > 0;

	if (!c->in_open || c->in.always_ready || room == c->in.registered)
		return;
	if (!room) {
		loop_remove(c->loop, &c->in);
		return;
	}
	c->in.events = EPOLLIN;
	if (loop_add(c->loop, &c->in) < 0)
		end_input(c);
}

static void send_break(void *opaque)
{
	struct chardev *c = opaque;

	if (c->user.broke)
		c->user.broke(c->user.opaque);
}

static void say(void *opaque, const char *text)
{
	stream_write_all(&((struct chardev *)opaque)->stream, text, strlen(text));
}

// What is for the user, of n bytes.
static size_t filter(struct chardev *c, uint8_t *at, size_t n)
{
	if (c->config.kind == STREAM_MON_STDIO)
		return mux_filter(&c->mux, at, n);
	if (!c->config.telnet)
		return n;
	n = telnet_filter(&c->telnet, at, n);
	if (c->telnet.broke)
		send_break(c);
	c->telnet.broke = false;
	return n;
}

static void get_input(struct chardev *c)
{
	size_t room;
	uint8_t *at;

	while (c->in_open && (room = c->user.room(c->user.opaque, &at)) > 0) {
		ssize_t n = stream_read(&c->stream, at, MIN(room, (size_t)READ_MAX));

		if (n == -EAGAIN || n == -EINTR)
			break;
		if (n == -EBUSY) {
			loop_remove(c->loop, &c->in);
			return;
		}
		if (n <= 0) {
			end_input(c);
			return;
		}
		c->user.filled(c->user.opaque, filter(c, at, (size_t)n));
	}
	listen_for_input(c);
}

static void in_ready(void *opaque, uint32_t events)
{
	struct chardev *c = opaque;

	enter(c);
	if (c->in.registered)
		get_input(c);
	leave(c);
}

// Even if the user is full: the room told of may be filled already, so ask anew.
void chardev_accept_input(struct chardev *c)
{
	if (c->in_open && !c->in.registered)
		get_input(c);
}

// -- output

ssize_t chardev_write(struct chardev *c, const void *from, size_t n)
{
	ssize_t done = c->out_dead || !c->up ? (ssize_t)n : stream_write(&c->stream, from, n);

	if (done == -EINTR)
		done = -EAGAIN;
	if (done < 0 && done != -EAGAIN) {
		c->out_dead = !has_peers(c); // whose end is seen by the reader
		done = (ssize_t)n;
	}
	if (c->stream.out_fd >= 0)
		loop_want(c->loop, &c->out, done == -EAGAIN ? EPOLLOUT : 0);
	return done;
}

static void out_ready(void *opaque, uint32_t events)
{
	struct chardev *c = opaque;

	enter(c);
	if ((events & (EPOLLERR | EPOLLHUP)) && c->out.registered) {
		c->out_dead = !has_peers(c);
		loop_remove(c->loop, &c->out);
	}
	c->user.writable(c->user.opaque);
	leave(c);
}

bool chardev_await_output(struct chardev *c, int until_fd)
{
	return c->up && !c->out_dead && c->stream.out_fd >= 0 && loop_await_output(c->stream.out_fd, until_fd);
}

// -- open and close

static int watch(struct chardev *c)
{
	int r = 0;

	c->in = (struct loop_fd){.fd = c->stream.in_fd, .events = EPOLLIN, .ready = in_ready, .opaque = c};
	c->out = (struct loop_fd){.fd = c->stream.out_fd, .ready = out_ready, .opaque = c};
	c->in_open = c->stream.in_fd >= 0;
	c->up = true;
	if (c->in_open && (r = loop_add(c->loop, &c->in)) == 0 && c->in.always_ready)
		get_input(c);
	if (r == 0 && c->stream.out_fd >= 0)
		r = loop_add(c->loop, &c->out);
	return r;
}

static int watch_peer(struct chardev *c)
{
	int r = watch(c);

	if (r == 0 && c->config.telnet) {
		c->telnet = (struct telnet){0};
		stream_write(&c->stream, telnet_greeting, TELNET_GREETING);
	}
	if (r == 0 && c->user.link)
		c->user.link(c->user.opaque, true);
	return r;
}

static int take_peer(struct chardev *c, int fd)
{
	if (c->listener.fd >= 0)
		loop_want(c->loop, &c->listener, 0); // one peer at a time; others wait in the queue
	c->stream = (struct stream){.in_fd = fd, .out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .out_socket = true,
				    .passed = c->user.takes_descriptors ? &c->passed : NULL};
	return c->stream.out_fd < 0 ? -errno : watch_peer(c);
}

static void look_for_peer(void *opaque)
{
	struct chardev *c = opaque;
	struct pollfd p = {.fd = c->stream.in_fd, .events = POLLIN};

	enter(c);
	if (!c->up) {
		if (poll(&p, 1, 0) >= 0 && (p.revents & POLLHUP))
			look_later(c);
		else if (watch_peer(c) < 0)
			hang_up(c);
	}
	leave(c);
}

static void on_listener(void *opaque, uint32_t events)
{
	struct chardev *c = opaque;
	int fd;

	enter(c);
	fd = c->up ? -1 : net_socket_accept(c->listener.fd);
	if (fd >= 0 && take_peer(c, fd) < 0)
		hang_up(c);
	leave(c);
}

// The signals that end ringer are blocked, and stay pending until the loop runs.
static bool told_to_end(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) || sigismember(&pending, SIGHUP);
}

static int wait_for_peer(struct chardev *c)
{
	struct pollfd p = {.fd = c->listener.fd, .events = POLLIN};
	int fd;

	fprintf(stderr, "ringer: waiting for a connection on %s\n", c->config.path);
	while ((fd = net_socket_accept(c->listener.fd)) == -EAGAIN) {
		if (told_to_end())
			return 0; // the loop hears it
		poll(&p, 1, LOOK_MS);
	}
	return fd < 0 ? fd : take_peer(c, fd);
}

static int open_socket(struct chardev *c, char *err, size_t errlen)
{
	int fd = net_socket_make(&c->config.socket, err, errlen), r;

	if (fd < 0)
		return fd;
	if (!c->config.socket.server)
		return take_peer(c, fd);
	c->listener = (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = on_listener, .opaque = c};
	r = loop_add(c->loop, &c->listener);
	return r == 0 && c->config.wait ? wait_for_peer(c) : r;
}

int chardev_open(struct chardev *c, struct loop *l, const struct stream_config *config, char *err, size_t errlen)
{
	int r;

	c->loop = l;
	c->config = *config;
	c->opened = true;
	c->listener.fd = c->passed = -1;
	c->mux.say = say;
	c->mux.send_break = send_break;
	c->mux.stream_opaque = c;
	c->stream = (struct stream){.in_fd = -1, .out_fd = -1};
	if (is_socket(c))
		return open_socket(c, err, errlen);
	r = stream_open(&c->stream, config, err, errlen);
	if (r < 0 || c->config.kind != STREAM_PTY)
		return r < 0 ? r : watch(c);
	r = loop_timer_add(l, &c->look, look_for_peer, c);
	look_later(c);
	return r;
}

void chardev_close(struct chardev *c)
{
	if (!c->opened)
		return;
	loop_remove(c->loop, &c->in);
	loop_remove(c->loop, &c->out);
	loop_remove(c->loop, &c->listener);
	if (c->config.kind == STREAM_PTY)
		loop_timer_remove(c->loop, &c->look);
	stream_close(&c->stream);
	if (c->passed >= 0)
		close(c->passed);
	net_socket_unmake(&c->config.socket, c->listener.fd);
	c->opened = false;
}

void chardev_describe(const struct chardev *c, char *to, size_t size)
{
	char name[64] = "";

	switch (c->config.kind) {
	case STREAM_PTY:
		if (c->stream.in_fd >= 0)
			ptsname_r(c->stream.in_fd, name, sizeof(name));
		snprintf(to, size, "pty%s%s", *name ? ":" : "", name);
		break;
	case STREAM_SOCKET:
		snprintf(to, size, "%s%s%s", c->up ? "" : "disconnected:", c->config.path,
			 c->config.socket.server ? ",server=on" : "");
		break;
	case STREAM_FILE: snprintf(to, size, "file"); break;
	case STREAM_PIPE: snprintf(to, size, "pipe"); break;
	default: snprintf(to, size, "%s", stream_describe(&c->config));
	}
}
