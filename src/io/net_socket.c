// SPDX-License-Identifier: MIT
//
// Stream sockets. A Unix socket's name that nobody listens on any more is taken over; ours is removed at the end.
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/net_socket.h"

enum { CONNECT_MS = 10000, FLAGS = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC };

static int say(char *err, size_t errlen, bool server, const char *where, int e)
{
	snprintf(err, errlen, "cannot %s %s: %s", server ? "listen on" : "connect to", where, strerror(e));
	return -e;
}

static int finish_connect(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int e = ETIMEDOUT;
	socklen_t n = sizeof(e);

	if (errno != EINPROGRESS)
		return -1;
	if (poll(&p, 1, CONNECT_MS) == 1)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
	errno = e;
	return e ? -1 : 0;
}

static int start(int fd, bool server, const struct sockaddr *a, socklen_t n)
{
	int one = 1;

	if (!server)
		return connect(fd, a, n) == 0 ? 0 : finish_connect(fd);
	if (a->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return bind(fd, a, n) < 0 || listen(fd, 1) < 0 ? -1 : 0;
}

static int make_inet(const struct net_stream_config *c, char *err, size_t errlen)
{
	const struct net_address *at = &c->address;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = c->server ? AI_PASSIVE : 0}, *list, *a;
	char where[300];
	int fd = -1, e = 0, r;

	snprintf(where, sizeof(where), "%s:%s", at->host, at->port);
	r = getaddrinfo(*at->host ? at->host : NULL, at->port, &hints, &list);
	if (r) {
		snprintf(err, errlen, "%s: %s", where, gai_strerror(r));
		return -EINVAL;
	}
	for (a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, FLAGS, 0);
		if (fd >= 0 && start(fd, c->server, a->ai_addr, a->ai_addrlen) == 0)
			break;
		e = errno;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	if (fd < 0)
		return say(err, errlen, c->server, where, e);
	r = 1;
	if (!c->server)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &r, sizeof(r));
	return fd;
}

// Does nobody answer behind this name?
static bool is_stale(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return stale;
}

static int make_unix(const struct net_stream_config *c, char *err, size_t errlen)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, FLAGS, 0), r;

	memcpy(a.sun_path, c->address.path, sizeof(a.sun_path));
	r = fd < 0 ? -1 : start(fd, c->server, (struct sockaddr *)&a, sizeof(a));
	if (r < 0 && fd >= 0 && c->server && errno == EADDRINUSE && is_stale(&a)) {
		unlink(a.sun_path);
		r = start(fd, c->server, (struct sockaddr *)&a, sizeof(a));
	}
	if (r == 0)
		return fd;
	r = say(err, errlen, c->server, c->address.path, errno);
	if (fd >= 0)
		close(fd);
	return r;
}

static int take_fd(const struct net_stream_config *c, char *err, size_t errlen)
{
	int fd = c->address.fd, type = 0;
	socklen_t n = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM) {
		snprintf(err, errlen, "fd=%d: not a stream socket", fd);
		return -EINVAL;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	return fd;
}

int net_socket_make(const struct net_stream_config *c, char *err, size_t errlen)
{
	switch (c->address.type) {
	case NET_ADDRESS_INET:
		return make_inet(c, err, errlen);
	case NET_ADDRESS_UNIX:
		return make_unix(c, err, errlen);
	case NET_ADDRESS_FD:
		return take_fd(c, err, errlen);
	default:
		snprintf(err, errlen, "no address is given");
		return -EINVAL;
	}
}

void net_socket_unmake(const struct net_stream_config *c, int listener)
{
	if (listener < 0)
		return;
	close(listener);
	if (c->server && c->address.type == NET_ADDRESS_UNIX)
		unlink(c->address.path);
}

int net_socket_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}
