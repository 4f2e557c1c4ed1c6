// SPDX-License-Identifier: MIT
//
// Images of other formats (qcow2 with backing files, VMDK, VDI, VHDX): QEMU's own qemu-nbd serves the image and libnbd
// talks to it, one connection for each of the engine's threads. The server listens on a socket without a name in the
// file system, dies with us, and ends when the last connection does: nothing is ever left behind.
#include "io/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef HAVE_LIBNBD
#include <fcntl.h>
#include <libnbd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNECTIONS = 4, PIECE = 1 << 20, LISTEN_FD = 3, ENV_MAX = 1024 };

struct nbd {
	struct block b;
	pid_t server;
	int said; // a file that has the server's standard error
	struct nbd_handle *handle[CONNECTIONS];
	uint8_t *piece[CONNECTIONS];
	_Atomic bool flush_failed;
};

// -- requests

static size_t gather(const struct block_request *r, uint64_t done, uint8_t *buffer, size_t n, bool to_guest)
{
	size_t at = 0;
	struct iovec v;

	while (at < n && block_slice(r, done + at, n - at, &v, 1)) {
		if (to_guest)
			memcpy(v.iov_base, buffer + at, v.iov_len);
		else
			memcpy(buffer + at, v.iov_base, v.iov_len);
		at += v.iov_len;
	}
	return at;
}

static int failed(void)
{
	int error = nbd_get_errno();

	return error ? -error : -EIO;
}

static int transfer(struct nbd *d, const struct block_request *r, unsigned worker)
{
	struct nbd_handle *h = d->handle[worker];
	uint8_t *buffer = d->piece[worker];

	for (uint64_t done = 0; done < r->size;) {
		size_t n = MIN(r->size - done, (uint64_t)PIECE);
		int bad;

		if (r->op == BLOCK_READ) {
			bad = nbd_pread(h, buffer, n, r->offset + done, 0);
			gather(r, done, buffer, bad ? 0 : n, true);
		} else {
			gather(r, done, buffer, n, false);
			bad = nbd_pwrite(h, buffer, n, r->offset + done, 0);
		}
		if (bad)
			return failed();
		done += n;
	}
	return 0;
}

static int flush(struct nbd *d, unsigned worker)
{
	if (d->b.config.no_flush || nbd_can_flush(d->handle[worker]) <= 0)
		return 0;
	if (!atomic_load(&d->flush_failed) && !nbd_flush(d->handle[worker], 0))
		return 0;
	atomic_store(&d->flush_failed, true);
	return -EIO;
}

static int write_zeroes(struct nbd *d, const struct block_request *r, unsigned worker)
{
	memset(d->piece[worker], 0, PIECE);
	for (uint64_t done = 0; done < r->size; done += PIECE)
		if (nbd_pwrite(d->handle[worker], d->piece[worker], MIN(r->size - done, (uint64_t)PIECE), r->offset + done, 0))
			return failed();
	return 0;
}

static int zero(struct nbd *d, const struct block_request *r, unsigned worker)
{
	struct nbd_handle *h = d->handle[worker];

	if (nbd_can_zero(h) <= 0)
		return write_zeroes(d, r, worker);
	return nbd_zero(h, r->size, r->offset, r->may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) ? failed() : 0;
}

static int nbd_run(struct block *b, const struct block_request *r, unsigned worker)
{
	struct nbd *d = (struct nbd *)b;
	int error = 0;

	worker %= CONNECTIONS;
	switch (r->op) {
	case BLOCK_READ: return transfer(d, r, worker);
	case BLOCK_FLUSH: return flush(d, worker);
	case BLOCK_DISCARD:
		if (!b->config.keep_discarded && nbd_can_trim(d->handle[worker]) > 0)
			nbd_trim(d->handle[worker], r->size, r->offset, 0);
		return 0; // it is a hint
	case BLOCK_WRITE: error = transfer(d, r, worker); break;
	case BLOCK_ZERO: error = zero(d, r, worker); break;
	}
	return error || !b->config.writethrough ? error : flush(d, worker);
}

static void nbd_close_image(struct block *b)
{
	struct nbd *d = (struct nbd *)b;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (d->handle[i] && nbd_aio_is_ready(d->handle[i]) > 0)
			nbd_shutdown(d->handle[i], 0);
		nbd_close(d->handle[i]);
		free(d->piece[i]);
	}
	if (d->server > 0) { // it writes what it still has before it ends
		kill(d->server, SIGTERM);
		while (waitpid(d->server, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (d->said >= 0)
		close(d->said);
	free(d);
}

static const struct block_ops nbd_ops = { .run = nbd_run, .close = nbd_close_image };

// -- the server

// The image as qemu-nbd's argument: a file and its format, or a tree of nodes where something has been said of what is
// behind it.
static void put_text(FILE *to, const char *s)
{
	for (fputc('"', to); *s; s++)
		fprintf(to, (unsigned char)*s < ' ' ? "\\u%04x" : *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	fputc('"', to);
}

static bool is_tree(const struct block_config *c)
{
	return c->backing || c->no_backing || c->backing_no_lock;
}

static void put_node(FILE *to, const struct block_config *c)
{
	fprintf(to, "{\"driver\":\"%s\",\"file\":{\"driver\":\"file\",\"filename\":", *c->format ? c->format : "raw");
	put_text(to, c->file);
	fputc('}', to);
	if (is_tree(c))
		fputs(",\"backing\":", to);
	if (c->backing)
		put_node(to, c->backing);
	else if (is_tree(c))
		fputs(c->no_backing ? "null" : "{\"file\":{\"locking\":\"off\"}}", to);
	fputc('}', to);
}

// The caller's to free. NULL: out of memory.
static char *describe(const struct block_config *c)
{
	char *text = NULL;
	size_t size;
	FILE *to;

	if (!is_tree(c))
		return strdup(c->file);
	to = open_memstream(&text, &size);
	if (!to)
		return NULL;
	fputs("json:", to);
	put_node(to, c);
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}

static _Noreturn void child(const struct block_config *c, bool readonly, char *image, int listener, int said,
			    pid_t parent)
{
	char format[32], cache[32], pid[32];
	bool tree = is_tree(c); // says its formats itself
	char *argv[] = { "qemu-nbd", "--shared=4", tree ? "--shared=4" : format, cache,
		c->keep_discarded ? "--discard=ignore" : "--discard=unmap",
		readonly ? "--read-only" : "--detect-zeroes=off", "--", image, NULL };
	char *env[ENV_MAX] = { pid, "LISTEN_FDS=1" }; // made by hand: other threads may hold locks of the library's
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0); // Ctrl-C is ours to deal with
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(format, sizeof(format), "--format=%s", c->format);
	snprintf(cache, sizeof(cache), "--cache=%s", c->direct ? "none" : "writeback");
	snprintf(pid, sizeof(pid), "LISTEN_PID=%d", (int)getpid());
	for (unsigned i = 0; environ[i] && i + 3 < ENV_MAX; i++)
		env[i + 2] = environ[i];
	listener = fcntl(listener, F_DUPFD, LISTEN_FD + 1);
	if (getppid() != parent || listener < 0 || dup2(said, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0 ||
	    dup2(listener, LISTEN_FD) < 0)
		_exit(126);
	close_range(LISTEN_FD + 1, ~0u, 0);
	execvpe(argv[0], argv, env);
	dprintf(STDERR_FILENO, "cannot run qemu-nbd (%s); install qemu-utils\n", strerror(errno));
	_exit(127);
}

// The first line that the server has said, without its own name.
static void quote(struct nbd *d, char *err, size_t errlen)
{
	char text[400] = "";
	ssize_t n = pread(d->said, text, sizeof(text) - 1, 0);
	char *line = !strncmp(text, "qemu-nbd: ", 10) ? text + 10 : text;

	text[MAX(n, 0)] = 0;
	line[strcspn(line, "\n")] = 0;
	snprintf(err, errlen, "%s: cannot open the disk image as %s: %s", d->b.config.file, d->b.config.format,
		 *line ? line : nbd_get_error());
}

static int connect_all(struct nbd *d, const struct sockaddr_un *at, socklen_t len)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		d->handle[i] = nbd_create();
		d->piece[i] = malloc(PIECE);
		if (s < 0 || !d->handle[i] || !d->piece[i])
			return -ENOMEM;
		if (connect(s, (const struct sockaddr *)at, len) < 0)
			return -errno;
		if (nbd_connect_socket(d->handle[i], s) < 0)
			return -EINVAL;
	}
	return 0;
}

static int start_server(struct nbd *d, bool readonly)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(at);
	pid_t parent = getpid();
	char *image = describe(&d->b.config);

	d->said = memfd_create("qemu-nbd", MFD_CLOEXEC);
	if (listener < 0 || d->said < 0 || bind(listener, (struct sockaddr *)&at, sizeof(sa_family_t)) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &len) < 0 || listen(listener, CONNECTIONS) < 0)
		r = -errno;
	if (r == 0 && !image)
		r = -ENOMEM;
	if (r == 0 && (d->server = fork()) == 0)
		child(&d->b.config, readonly, image, listener, d->said, parent);
	free(image);
	if (listener >= 0)
		close(listener); // so that a server which has ended refuses us
	if (r == 0 && d->server < 0)
		r = -errno;
	return r < 0 ? r : connect_all(d, &at, len);
}

int block_nbd_open(struct block **b, const struct block_config *c, char *err, size_t errlen)
{
	bool readonly = c->readonly || c->snapshot;
	struct nbd *d = calloc(1, sizeof(*d));
	int64_t size = 0;
	int r;

	if (!d) {
		snprintf(err, errlen, "%s: out of memory", c->file);
		return -ENOMEM;
	}
	d->b = (struct block){.ops = &nbd_ops, .config = *c, .readonly = readonly};
	d->said = -1;
	r = start_server(d, readonly);
	if (r == 0 && (size = nbd_get_size(d->handle[0])) < 0)
		r = -EIO;
	d->b.size = align_down((uint64_t)size, BLOCK_SECTOR);
	if (r < 0) {
		quote(d, err, errlen);
		nbd_close_image(&d->b);
		return r;
	}
	*b = &d->b;
	return 0;
}
#else
int block_nbd_open(struct block **b, const struct block_config *c, char *err, size_t errlen)
{
	snprintf(err, errlen, "%s: %s images need libnbd: install libnbd-dev and qemu-utils and build ringer "
		 "anew, or convert it (qemu-img convert -O raw)", c->file, c->format);
	return -ENOSYS;
}
#endif
