// SPDX-License-Identifier: MIT
//
// Frames over a stream socket, as QEMU's -netdev stream and socket (and passt, gvproxy) speak it: four bytes of length
// in network order, then the frame. The link is up while somebody is connected; a server listens anew when its peer has
// gone.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/net_socket.h"

enum { LENGTH = 4, BUFFER = 4 * NET_FRAME_MAX };

struct stream_net {
	struct net net;
	struct net_stream_config config;
	struct loop_fd listener, peer;
	uint8_t *in;
	size_t in_start, in_end;
	bool full; // the card has no room for the frame at in_start
	uint8_t out[LENGTH + NET_FRAME_MAX]; // of a frame that the socket took in part
	size_t out_start, out_end;
};

static struct stream_net *stream_of(struct net *n)
{
	return container_of(n, struct stream_net, net);
}

static void listen_peer(struct stream_net *s)
{
	bool held = s->out_start < s->out_end;

	loop_want(s->net.loop, &s->peer, (s->full ? 0 : EPOLLIN) | (held ? EPOLLOUT : 0));
}

static void hang_up(struct stream_net *s)
{
	bool blocked = s->out_start < s->out_end;

	loop_remove(s->net.loop, &s->peer);
	close(s->peer.fd);
	s->peer.fd = -1;
	s->in_start = s->in_end = s->out_start = s->out_end = 0;
	s->full = false;
	net_set_link(&s->net, false);
	if (s->listener.fd >= 0)
		loop_want(s->net.loop, &s->listener, EPOLLIN);
	if (blocked && s->net.card.sendable) // what it holds is dropped now
		s->net.card.sendable(s->net.card.opaque);
}

// Frames that have come whole. False: what comes is not this protocol.
static bool deliver(struct stream_net *s)
{
	while (s->in_end - s->in_start >= LENGTH) {
		struct iovec one;
		uint32_t size;

		memcpy(&size, s->in + s->in_start, LENGTH);
		size = ntohl(size);
		if (size > NET_FRAME_MAX)
			return false;
		if (s->in_end - s->in_start - LENGTH < size)
			break;
		one = (struct iovec){s->in + s->in_start + LENGTH, size};
		s->full = size >= ETH_HLEN && net_offer(&s->net, &(struct net_frame){.iov = &one, .count = 1}) < 0;
		if (s->full)
			break;
		s->in_start += LENGTH + size;
	}
	net_delivered(&s->net);
	memmove(s->in, s->in + s->in_start, s->in_end - s->in_start);
	s->in_end -= s->in_start;
	s->in_start = 0;
	return true;
}

static void receive(struct stream_net *s)
{
	ssize_t n = recv(s->peer.fd, s->in + s->in_end, BUFFER - s->in_end, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		s->in_end += (size_t)n;
	if (n <= 0 || !deliver(s))
		hang_up(s);
}

static void send_held(struct stream_net *s)
{
	ssize_t n = send(s->peer.fd, s->out + s->out_start, s->out_end - s->out_start, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		hang_up(s);
		return;
	}
	s->out_start += n > 0 ? (size_t)n : 0;
	if (s->out_start == s->out_end && s->net.card.sendable)
		s->net.card.sendable(s->net.card.opaque);
}

static void serve(struct stream_net *s, uint32_t events)
{
	if (s->peer.fd >= 0 && (events & EPOLLOUT) && s->out_start < s->out_end)
		send_held(s);
	if (s->peer.fd >= 0 && (events & EPOLLIN) && !s->full)
		receive(s);
	else if (s->peer.fd >= 0 && (events & (EPOLLERR | EPOLLHUP)))
		hang_up(s);
	if (s->peer.fd >= 0)
		listen_peer(s);
}

static void on_peer(void *opaque, uint32_t events)
{
	struct stream_net *s = opaque;

	net_enter(&s->net);
	serve(s, events);
	net_leave(&s->net);
}

static int take_peer(struct stream_net *s, int fd)
{
	s->peer = (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = on_peer, .opaque = s};
	net_set_link(&s->net, true);
	return loop_add(s->net.loop, &s->peer);
}

static void on_listener(void *opaque, uint32_t events)
{
	struct stream_net *s = opaque;
	int fd = net_socket_accept(s->listener.fd);

	if (fd < 0)
		return;
	net_enter(&s->net);
	loop_want(s->net.loop, &s->listener, 0); // one peer at a time; others wait in the queue
	if (take_peer(s, fd) < 0)
		hang_up(s);
	net_leave(&s->net);
}

static void stream_card_ready(struct net *n)
{
	struct stream_net *s = stream_of(n);

	if (!s->full)
		return;
	s->full = false;
	if (!deliver(s))
		hang_up(s);
	else
		listen_peer(s);
}

static int stream_send(struct net *n, const struct net_frame *f)
{
	struct stream_net *s = stream_of(n);
	uint32_t length = htonl((uint32_t)f->iov->iov_len);
	struct iovec iov[2] = {{&length, LENGTH}, *f->iov};
	const struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	size_t whole = LENGTH + f->iov->iov_len, done;
	ssize_t r;

	if (s->peer.fd < 0)
		return 0;
	if (s->out_start < s->out_end)
		return -EAGAIN;
	r = sendmsg(s->peer.fd, &m, MSG_NOSIGNAL);
	done = r > 0 ? (size_t)r : 0;
	if (done == whole || (r < 0 && errno != EAGAIN && errno != EINTR))
		return 0; // a peer that has gone is seen by the loop
	memcpy(s->out, &length, LENGTH);
	memcpy(s->out + LENGTH, f->iov->iov_base, f->iov->iov_len);
	s->out_start = done;
	s->out_end = whole;
	listen_peer(s);
	return 0;
}

static int stream_open(struct net *n, const struct net_config *c, char *err, size_t errlen)
{
	struct stream_net *s = stream_of(n);
	int fd, r;

	s->config = c->stream;
	s->listener.fd = s->peer.fd = -1;
	n->no_link = true;
	n->up = false;
	s->in = malloc(BUFFER);
	fd = s->in ? net_socket_make(&c->stream, err, errlen) : -ENOMEM;
	if (fd < 0)
		return fd;
	if (c->stream.server) {
		s->listener = (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = on_listener, .opaque = s};
		r = loop_add(n->loop, &s->listener);
	} else {
		r = take_peer(s, fd);
	}
	if (r < 0)
		snprintf(err, errlen, "cannot watch the socket: %s", strerror(-r));
	return r;
}

static void stream_close(struct net *n)
{
	struct stream_net *s = stream_of(n);

	loop_remove(n->loop, &s->peer);
	loop_remove(n->loop, &s->listener);
	if (s->peer.fd >= 0)
		close(s->peer.fd);
	net_socket_unmake(&s->config, s->listener.fd);
	free(s->in);
}

static int unbuilt(char *err, size_t errlen, const char *key, const char *value)
{
	snprintf(err, errlen, "%s=%s: this is not built yet", key, value);
	return -EINVAL;
}

static int parse_type(struct net_address *a, const char *key, const char *value, char *err, size_t errlen)
{
	if (!strcmp(value, "inet"))
		a->type = NET_ADDRESS_INET;
	else if (!strcmp(value, "unix"))
		a->type = NET_ADDRESS_UNIX;
	else if (!strcmp(value, "fd"))
		a->type = NET_ADDRESS_FD;
	else {
		snprintf(err, errlen, "%s=%s: give inet, unix or fd", key, value);
		return -EINVAL;
	}
	return 0;
}

static int stream_prop(struct net_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	static const char *const not_built[] = {"reconnect", "addr.to", "addr.keep-alive", "addr.mptcp", "addr.abstract",
						"addr.tight", "addr.ipv4", "addr.ipv6", "addr.numeric"};
	struct net_address *a = &c->stream.address;

	if (!strcmp(key, "server"))
		return net_parse_bool(key, value, &c->stream.server, err, errlen);
	if (!strcmp(key, "addr.type"))
		return parse_type(a, key, value, err, errlen);
	if (!strcmp(key, "addr.host"))
		return net_parse_text(key, value, a->host, sizeof(a->host), err, errlen);
	if (!strcmp(key, "addr.port"))
		return net_parse_text(key, value, a->port, sizeof(a->port), err, errlen);
	if (!strcmp(key, "addr.path"))
		return net_parse_text(key, value, a->path, sizeof(a->path), err, errlen);
	if (!strcmp(key, "addr.str"))
		return net_parse_fd(key, value, &a->fd, err, errlen);
	for (size_t i = 0; i < ARRAY_SIZE(not_built); i++)
		if (!strcmp(key, not_built[i]))
			return unbuilt(err, errlen, key, value);
	return -ENOENT;
}

static int stream_check(struct net_config *c, char *err, size_t errlen)
{
	const struct net_address *a = &c->stream.address;

	if (a->type == NET_ADDRESS_NONE)
		snprintf(err, errlen, "an address must be given: addr.type=inet, unix or fd");
	else if (a->type == NET_ADDRESS_INET && (!*a->host || !*a->port))
		snprintf(err, errlen, "addr.host= and addr.port= must be given");
	else if (a->type == NET_ADDRESS_UNIX && !*a->path)
		snprintf(err, errlen, "addr.path= must be given");
	else if (a->type == NET_ADDRESS_FD && (a->fd < 0 || c->stream.server))
		snprintf(err, errlen, "addr.str= must be given, the number of a connected socket's descriptor");
	else
		return 0;
	return -EINVAL;
}

// -netdev socket: [host]:port
static int socket_prop(struct net_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	struct net_address *a = &c->stream.address;
	const char *colon = strrchr(value, ':');
	bool server = !strcmp(key, "listen");
	uint16_t port;

	if (!strcmp(key, "mcast") || !strcmp(key, "udp") || !strcmp(key, "localaddr"))
		return unbuilt(err, errlen, key, value);
	if (!server && strcmp(key, "connect") && strcmp(key, "fd"))
		return -ENOENT;
	if (a->type != NET_ADDRESS_NONE) {
		snprintf(err, errlen, "give one of listen=, connect= and fd=");
		return -EINVAL;
	}
	if (!strcmp(key, "fd")) {
		a->type = NET_ADDRESS_FD;
		return net_parse_fd(key, value, &a->fd, err, errlen);
	}
	if (!colon || (size_t)(colon - value) >= sizeof(a->host) || net_parse_port(colon + 1, 1, &port) < 0 ||
	    (!server && colon == value)) {
		snprintf(err, errlen, "%s=%s: give %s", key, value, server ? "[HOST]:PORT" : "HOST:PORT");
		return -EINVAL;
	}
	a->type = NET_ADDRESS_INET;
	c->stream.server = server;
	memcpy(a->host, value, (size_t)(colon - value));
	snprintf(a->port, sizeof(a->port), "%u", port);
	return 0;
}

static int socket_check(struct net_config *c, char *err, size_t errlen)
{
	if (c->stream.address.type != NET_ADDRESS_NONE)
		return 0;
	snprintf(err, errlen, "give one of listen=, connect= and fd=");
	return -EINVAL;
}

const struct net_class net_stream_class = {
    .name = "stream",
    .size = sizeof(struct stream_net),
    .prop = stream_prop,
    .check = stream_check,
    .open = stream_open,
    .close = stream_close,
    .send = stream_send,
    .card_ready = stream_card_ready,
};

const struct net_class net_socket_class = {
    .name = "socket",
    .size = sizeof(struct stream_net),
    .prop = socket_prop,
    .check = socket_check,
    .open = stream_open,
    .close = stream_close,
    .send = stream_send,
    .card_ready = stream_card_ready,
};
