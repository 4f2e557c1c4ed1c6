// SPDX-License-Identifier: MIT
//
// The security models. passthrough: owners and modes are the host's own, which takes the rights of root. none: the
// same, but that a new file's owner could not be set is no error. mapped-xattr: they are in extended attributes of the
// host's file, in QEMU's format; links and special files are plain files there.
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "p9/server.h"

#define HIDDEN "user.virtfs."
static const char attr_uid[] = HIDDEN "uid", attr_gid[] = HIDDEN "gid", attr_mode[] = HIDDEN "mode",
		  attr_rdev[] = HIDDEN "rdev";

bool p9_is_hidden_xattr(const struct p9 *s, const char *name)
{
	return s->config.model == P9_MAPPED && !strncmp(name, HIDDEN, sizeof(HIDDEN) - 1);
}

static bool load(const char *path, const char *name, void *to, ssize_t size)
{
	return getxattr(path, name, to, (size_t)size) == size;
}

static int store(const char *path, const char *name, const void *from, size_t size)
{
	return setxattr(path, name, from, size, 0) < 0 ? -errno : 0;
}

static void map(int fd, struct stat *st)
{
	char path[P9_PROC];
	uint32_t v;
	uint64_t rdev;

	if (S_ISLNK(st->st_mode))
		return; // user.* attributes are for files and directories
	p9_proc(path, fd);
	if (load(path, attr_uid, &v, sizeof(v)))
		st->st_uid = v;
	if (load(path, attr_gid, &v, sizeof(v)))
		st->st_gid = v;
	if (load(path, attr_mode, &v, sizeof(v)) && (S_ISDIR(v) != 0) == (S_ISDIR(st->st_mode) != 0))
		st->st_mode = v;
	if (load(path, attr_rdev, &rdev, sizeof(rdev)))
		st->st_rdev = rdev;
}

int p9_stat_typed(struct p9 *s, int fd, struct stat *st, uint32_t *type)
{
	if (fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*type = st->st_mode & S_IFMT;
	if (s->config.model == P9_MAPPED)
		map(fd, st);
	return 0;
}

int p9_stat(struct p9 *s, int fd, struct stat *st)
{
	uint32_t type;

	return p9_stat_typed(s, fd, st, &type);
}

int p9_set_owner(struct p9 *s, int fd, uint32_t uid, uint32_t gid)
{
	char path[P9_PROC];
	int r = 0;

	if (s->config.model != P9_MAPPED)
		return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	p9_proc(path, fd);
	if (uid != UINT32_MAX)
		r = store(path, attr_uid, &uid, sizeof(uid));
	if (r == 0 && gid != UINT32_MAX)
		r = store(path, attr_gid, &gid, sizeof(gid));
	return r;
}

int p9_set_mode(struct p9 *s, int fd, uint32_t mode)
{
	char path[P9_PROC];
	struct stat st;
	uint32_t v;
	int r;

	p9_proc(path, fd);
	if (s->config.model != P9_MAPPED)
		return chmod(path, mode & 07777) < 0 ? -errno : 0;
	r = p9_stat(s, fd, &st);
	if (r < 0)
		return r;
	v = (mode & 07777) | (st.st_mode & S_IFMT);
	return store(path, attr_mode, &v, sizeof(v));
}

static int own_mapped(struct p9 *s, int fd, uint32_t uid, uint32_t gid, uint32_t mode, uint64_t rdev)
{
	char path[P9_PROC];
	int r = p9_set_owner(s, fd, uid, gid);

	p9_proc(path, fd);
	if (r == 0)
		r = store(path, attr_mode, &mode, sizeof(mode));
	if (r == 0 && rdev)
		r = store(path, attr_rdev, &rdev, sizeof(rdev));
	if (r == 0 && chmod(path, S_ISDIR(mode) ? s->config.dir_mode : s->config.file_mode) < 0)
		r = -errno;
	return r;
}

// A file that was just made, with as few rights as possible. mode has its type.
int p9_own_new(struct p9 *s, int fd, uint32_t uid, uint32_t gid, uint32_t mode, uint64_t rdev)
{
	int r;

	if (s->config.model == P9_MAPPED)
		return own_mapped(s, fd, uid, gid, mode, rdev);
	r = p9_set_owner(s, fd, uid, gid); // first: it clears bits of the mode
	if (r == 0 || s->config.model == P9_NONE)
		r = S_ISLNK(mode) ? 0 : p9_set_mode(s, fd, mode);
	return r;
}
