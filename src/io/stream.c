// SPDX-License-Identifier: MIT
//
// Character streams. Standard input and output are shared with the user's shell, so O_NONBLOCK is never set on them:
// terminals and pipes are opened once more through /proc, which gives a file description of our own; what cannot be
// opened again is asked with poll before each small transfer.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "host/term.h"
#include "io/stream.h"

enum { PASSED_MAX = 16 };
enum { SMALL_WRITE = 4096 /* a pipe that polls writable takes this much without blocking */ };

static int reopen(int fd, int flags)
{
	struct stat st;
	char path[32];
	int again = -1;

	if (fstat(fd, &st) < 0)
		return -1; // closed by the caller: no such side
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		again = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	return again >= 0 ? again : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool is_socket(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

void stream_close(struct stream *s)
{
	if (s->in_fd >= 0)
		close(s->in_fd);
	if (s->out_fd >= 0)
		close(s->out_fd);
	s->in_fd = s->out_fd = -1;
}

// Two FIFOs, PATH.in and PATH.out as we see them, or one for both ways.
static int open_pipe(struct stream *s, const char *path, char *err, size_t errlen)
{
	char in[300], out[300];

	snprintf(in, sizeof(in), "%s.in", path);
	snprintf(out, sizeof(out), "%s.out", path);
	s->in_fd = open(in, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	s->out_fd = open(out, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (s->in_fd >= 0 && s->out_fd >= 0)
		return 0;
	stream_close(s);
	s->in_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	s->out_fd = s->in_fd < 0 ? -1 : fcntl(s->in_fd, F_DUPFD_CLOEXEC, 3);
	if (s->out_fd >= 0)
		return 0;
	snprintf(err, errlen, "cannot open the pipe '%s': %s", path, strerror(errno));
	return -errno;
}

// Its other end is opened once and closed, in raw mode: from then on the kernel says whether somebody has it open.
static int open_pty(struct stream *s, const char *label, char *err, size_t errlen)
{
	struct termios t;
	char name[64];
	int slave = -1;

	s->in_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->in_fd >= 0 && grantpt(s->in_fd) == 0 && unlockpt(s->in_fd) == 0 &&
	    ptsname_r(s->in_fd, name, sizeof(name)) == 0)
		slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || fcntl(s->in_fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0 || tcgetattr(slave, &t) < 0) {
		snprintf(err, errlen, "cannot make a pseudo-terminal: %s", strerror(errno));
		return -errno;
	}
	cfmakeraw(&t);
	tcsetattr(slave, TCSANOW, &t);
	close(slave);
	s->out_fd = fcntl(s->in_fd, F_DUPFD_CLOEXEC, 3);
	printf("char device redirected to %s (label %s)\n", name, label);
	fflush(stdout);
	return 0;
}

int stream_open(struct stream *s, const struct stream_config *c, char *err, size_t errlen)
{
	*s = (struct stream){ .in_fd = -1, .out_fd = -1 };
	switch (c->kind) {
	case STREAM_NONE:
	case STREAM_NULL:
	case STREAM_NAMED:
		return 0;
	case STREAM_FILE:
		s->out_fd = open(c->path, O_WRONLY | O_CREAT | (c->append ? O_APPEND : O_TRUNC) | O_CLOEXEC, 0666);
		if (s->out_fd < 0) {
			snprintf(err, errlen, "cannot open '%s' for writing: %s", c->path, strerror(errno));
			return -errno;
		}
		return 0;
	case STREAM_PIPE:
		return open_pipe(s, c->path, err, errlen);
	case STREAM_PTY:
		return open_pty(s, c->label, err, errlen);
	case STREAM_SOCKET:
		snprintf(err, errlen, "sockets are for serial ports and virtio consoles only");
		return -EINVAL;
	case STREAM_STDIO:
	case STREAM_MON_STDIO:
		break;
	}
	s->in_fd = reopen(STDIN_FILENO, O_RDONLY);
	s->out_fd = reopen(STDOUT_FILENO, O_WRONLY);
	s->out_socket = is_socket(s->out_fd);
	return term_raw(STDIN_FILENO, c->kind == STREAM_STDIO ? TERM_SIGNALS_KEPT : TERM_SIGNALS_TO_GUEST);
}

static bool ready_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1;
}

// Bytes of a Unix socket, with which descriptors may come.
static ssize_t receive(struct stream *s, void *to, size_t n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PASSED_MAX * sizeof(int))];
	struct iovec iov = {to, n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t r = recvmsg(s->in_fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	for (struct cmsghdr *c = r < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && CMSG_LEN(i * sizeof(int)) < c->cmsg_len; i++) {
			if (*s->passed >= 0)
				close(*s->passed);
			memcpy(s->passed, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		}
	return r;
}

ssize_t stream_read(struct stream *s, void *to, size_t n)
{
	ssize_t r;

	if (!ready_now(s->in_fd, POLLIN))
		return -EAGAIN;
	if (!term_may_read(s->in_fd))
		return -EBUSY;
	r = s->passed ? receive(s, to, n) : read(s->in_fd, to, n);
	return r < 0 ? -errno : r;
}

ssize_t stream_write(struct stream *s, const void *from, size_t n)
{
	ssize_t r;

	if (s->out_fd < 0)
		return (ssize_t)n;
	if (s->out_socket) {
		r = send(s->out_fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		return r < 0 ? -errno : r;
	}
	if (!ready_now(s->out_fd, POLLOUT))
		return -EAGAIN;
	r = write(s->out_fd, from, MIN(n, (size_t)SMALL_WRITE));
	return r < 0 ? -errno : r;
}

void stream_write_all(struct stream *s, const void *from, size_t n)
{
	const char *at = from;

	while (n) {
		ssize_t done = stream_write(s, at, n);

		if (done == -EAGAIN) {
			struct pollfd p = { .fd = s->out_fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (done < 0 && done != -EINTR) {
			return;
		} else if (done > 0) {
			at += done;
			n -= (size_t)done;
		}
	}
}
