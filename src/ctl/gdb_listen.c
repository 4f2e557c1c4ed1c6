// SPDX-License-Identifier: MIT
//
// The debugger's listening socket. A debugger commands the whole guest, so without a host name only this machine's own
// users are let in (QEMU lets everyone in).
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/gdb_listen.h"

static int bind_and_listen(int fd, const struct sockaddr *sa, socklen_t len)
{
	int on = 1, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, sa, len) == 0 && listen(fd, 1) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int listen_tcp(const char *text, char *err, size_t errlen)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(text, ':');
	char host[256], port[16];
	struct addrinfo *list;
	int r;

	if (!colon || strlen(colon + 1) > 5 || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
		snprintf(err, errlen, "-gdb: 'tcp:%s' has no port; write it like tcp::1234", text);
		return -EINVAL;
	}
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	snprintf(port, sizeof(port), "%.5s", colon + 1);
	r = getaddrinfo(host[0] ? host : "127.0.0.1", port, &hints, &list);
	if (r) {
		snprintf(err, errlen, "-gdb: '%s': %s", host, gai_strerror(r));
		return -EINVAL;
	}
	r = bind_and_listen(socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), list->ai_addr,
			    list->ai_addrlen);
	freeaddrinfo(list);
	if (r < 0)
		snprintf(err, errlen, "-gdb: cannot listen on tcp:%s: %s", text, strerror(-r));
	return r;
}

static int listen_unix(const char *text, char *unix_path, size_t size, char *err, size_t errlen)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t n = strcspn(text, ","); // server=on,wait=off and the like: it is always so
	int r;

	if (!n || n >= sizeof(sa.sun_path) || n >= size) {
		snprintf(err, errlen, "-gdb: 'unix:%s': a path of 1 to %zu bytes must follow", text,
			 sizeof(sa.sun_path) - 1);
		return -EINVAL;
	}
	memcpy(sa.sun_path, text, n);
	r = bind_and_listen(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), (struct sockaddr *)&sa,
			    sizeof(sa));
	if (r < 0)
		snprintf(err, errlen, "-gdb: cannot listen on unix:%s: %s", sa.sun_path, strerror(-r));
	else
		memcpy(unix_path, sa.sun_path, n + 1);
	return r;
}

int gdb_listen(const char *where, char *unix_path, size_t size, char *err, size_t errlen)
{
	unix_path[0] = 0;
	if (!strncmp(where, "tcp:", 4))
		return listen_tcp(where + 4, err, errlen);
	if (!strncmp(where, "unix:", 5))
		return listen_unix(where + 5, unix_path, size, err, errlen);
	snprintf(err, errlen, "-gdb: '%s' is not built; use tcp::PORT or unix:PATH", where);
	return -EINVAL;
}
