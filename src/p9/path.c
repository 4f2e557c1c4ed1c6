// SPDX-License-Identifier: MIT
//
// From names to files. A component is opened from its directory's descriptor, without following a link; the way up
// is asked of the kernel (the file's path in /proc/self/fd) and then gone down again from the root, which can end
// nowhere but below it, and the file found there must be the same one.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "p9/server.h"

enum { WALK_MAX = 16 };

const char *p9_proc(char to[P9_PROC], int fd)
{
	snprintf(to, P9_PROC, "/proc/self/fd/%d", fd);
	return to;
}

bool p9_is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static int read_path(int fd, char path[P9_PATH_MAX])
{
	char proc[P9_PROC];
	ssize_t n = readlink(p9_proc(proc, fd), path, P9_PATH_MAX);

	if (n < 0 || n == P9_PATH_MAX)
		return n < 0 ? -errno : -ENAMETOOLONG;
	path[n] = 0;
	return (int)n;
}

int p9_open_beneath(struct p9 *s, const char *path, int flags)
{
	const struct open_how how = {.flags = (uint64_t)flags,
				     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, s->root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static bool is_same(int dir, const char *name, int fd)
{
	struct stat a, b;

	return fstatat(dir, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(fd, "", &b, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

// The directory of a path below the root, if that leads to fd's file. *last: the path's last name.
static int open_parent(struct p9 *s, int fd, char *path, const char **last)
{
	char *slash = strrchr(path, '/');
	int dir;

	*last = slash ? slash + 1 : path;
	if (slash)
		*slash = 0;
	dir = p9_open_beneath(s, slash ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && !is_same(dir, *last, fd)) {
		close(dir);
		dir = -ESTALE;
	}
	if (slash)
		*slash = '/';
	return dir;
}

static int path_below(struct p9 *s, int fd, char path[P9_PATH_MAX])
{
	char root[P9_PATH_MAX];
	int n = read_path(s->root, root), r = read_path(fd, path);

	if (n < 0 || r < 0)
		return n < 0 ? n : r;
	n = n == 1 ? 0 : n; // the root is "/"
	if (strncmp(path, root, (size_t)n) || (path[n] && path[n] != '/'))
		return -ESTALE;
	if (!path[n] || !path[n + 1])
		return *path = 0;
	memmove(path, path + n + 1, (size_t)(r - n));
	return r - n - 1;
}

int p9_path_of(struct p9 *s, int fd, char path[P9_PATH_MAX])
{
	int n = path_below(s, fd, path), dir;
	const char *last;

	if (n <= 0)
		return n;
	dir = open_parent(s, fd, path, &last);
	if (dir < 0)
		return dir;
	close(dir);
	return n;
}

int p9_parent_of(struct p9 *s, int fd, char name[P9_NAME_MAX + 1])
{
	char path[P9_PATH_MAX];
	int n = path_below(s, fd, path), dir;
	const char *last;

	if (n <= 0)
		return n < 0 ? n : -EBUSY;
	dir = open_parent(s, fd, path, &last);
	snprintf(name, P9_NAME_MAX + 1, "%.255s", last);
	return dir;
}

static bool is_root(const struct p9 *s, int fd)
{
	struct stat st;

	return fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && st.st_dev == s->root_dev && st.st_ino == s->root_ino;
}

static int step(struct p9 *s, int fd, const char *name)
{
	char unused[P9_NAME_MAX + 1];
	int to;

	if (!strcmp(name, ".."))
		return is_root(s, fd) ? fcntl(s->root, F_DUPFD_CLOEXEC, 0) : p9_parent_of(s, fd, unused);
	if (!p9_is_name(name))
		return strcmp(name, ".") ? -ENOENT : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	to = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return to < 0 ? -errno : to;
}

// Where a walk is: the descriptor that it began from is not its own.
struct walk {
	int fd;
	bool own;
	uint32_t type; // of the host's file
};

static void move_to(struct walk *w, int fd, uint32_t type)
{
	if (w->own)
		close(w->fd);
	*w = (struct walk){fd, true, type};
}

// Down the names of the message. Writes a qid for each; how many there were.
static int follow(struct p9 *s, struct p9_in *in, struct p9_out *out, unsigned names, struct walk *w)
{
	for (unsigned i = 0; i < names; i++) {
		char name[P9_NAME_MAX + 1];
		struct stat st;
		uint32_t type;
		int to, r;

		p9_get_string(in, name, sizeof(name));
		if (in->bad)
			return -ENOENT;
		to = step(s, w->fd, name);
		r = to < 0 ? to : p9_stat_typed(s, to, &st, &type);
		if (r == 0)
			r = p9_put_qid(s, out, &st);
		if (r < 0) {
			if (to >= 0)
				close(to);
			return i ? (int)i : r;
		}
		move_to(w, to, type);
	}
	return (int)names;
}

// fid[4] newfid[4] nwname[2] nwname*(wname[s]); nwqid[2] nwqid*(wqid[13])
int p9_walk(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	uint32_t to = p9_get32(in), uid;
	unsigned names = p9_get16(in);
	uint8_t *count = p9_put_room(out, 2);
	struct walk w;
	int fd, n;

	if (!f || f->state != FID_FILE || in->bad || names > WALK_MAX || !count)
		return -EINVAL;
	if (to != f->id && p9_fid_find(s, to))
		return -EBADF;
	uid = f->uid;
	w = (struct walk){.fd = f->fd, .type = f->type};
	n = follow(s, in, out, names, &w);
	if (n < (int)names) {
		if (w.own)
			close(w.fd);
	} else {
		fd = w.own ? w.fd : fcntl(w.fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		if (to == f->id)
			p9_fid_drop(s, f);
		fd = p9_fid_add(s, to, uid, fd, w.type, NULL);
		n = fd < 0 ? fd : n;
	}
	if (n < 0)
		return n;
	memcpy(count, &(uint16_t){(uint16_t)n}, 2);
	return 0;
}

// fid[4] afid[4] uname[s] aname[s] n_uname[4]; qid[13]
int p9_attach(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = p9_get32(in), uid;
	char text[1024];
	struct stat st;
	int fd, r;

	p9_get32(in);
	p9_get_string(in, text, sizeof(text));
	p9_get_string(in, text, sizeof(text));
	uid = p9_get32(in);
	if (in->bad)
		return -EINVAL;
	fd = fcntl(s->root, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = p9_fid_add(s, id, uid, fd, S_IFDIR, NULL);
	if (r < 0)
		return r;
	r = p9_stat(s, fd, &st);
	return r < 0 ? r : p9_put_qid(s, out, &st);
}
