// SPDX-License-Identifier: MIT
//
// The tree: directories, links, special files, renaming and removal. All names are components within a directory
// that the client holds.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "p9/server.h"

// The directory and the name that many requests begin with. 0 or a negative errno.
static int get_place(struct p9 *s, struct p9_in *in, struct p9_fid **dir, char name[P9_NAME_MAX + 1])
{
	*dir = p9_get_fid(s, in);
	p9_get_string(in, name, P9_NAME_MAX + 1);
	if (!*dir || in->bad || (*dir)->state == FID_XATTR || (*dir)->state == FID_XATTR_NEW)
		return -EBADF;
	if (!p9_is_name(name))
		return -EINVAL;
	return s->config.readonly ? -EROFS : 0;
}

struct made {
	const struct p9_fid *dir;
	const char *name;
	uint32_t mode, gid; // with type
	uint64_t rdev;
};

// What was just made gets its owner and mode, and is what the reply names; if that fails, it goes again.
static int finish(struct p9 *s, const struct made *m, struct p9_out *out)
{
	int fd = openat(m->dir->fd, m->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : p9_own_new(s, fd, m->dir->uid, m->gid, m->mode, m->rdev);
	struct stat st;

	if (r == 0)
		r = p9_stat(s, fd, &st);
	if (r == 0)
		r = p9_put_qid(s, out, &st);
	if (r < 0)
		unlinkat(m->dir->fd, m->name, S_ISDIR(m->mode) ? AT_REMOVEDIR : 0);
	if (fd >= 0)
		close(fd);
	return r;
}

// fid[4] name[s] mode[4] gid[4]; qid[13]
int p9_mkdir(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir;
	int r = get_place(s, in, &dir, name);
	struct made m = {.dir = dir, .name = name, .mode = S_IFDIR | (p9_get32(in) & 07777)};

	m.gid = p9_get32(in);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (mkdirat(dir->fd, name, 0700) < 0)
		return -errno;
	return finish(s, &m, out);
}

static int make_plain(int dir, const char *name, const char *content)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), r = 0;
	size_t n = strlen(content);

	if (fd < 0)
		return -errno;
	if (write(fd, content, n) != (ssize_t)n)
		r = -EIO;
	close(fd);
	return r;
}

// fid[4] name[s] mode[4] major[4] minor[4] gid[4]; qid[13]
int p9_mknod(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir;
	int r = get_place(s, in, &dir, name);
	struct made m = {.dir = dir, .name = name, .mode = p9_get32(in)};
	uint32_t major = p9_get32(in), minor = p9_get32(in);

	m.gid = p9_get32(in);
	m.rdev = makedev(major, minor);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (!(m.mode & S_IFMT))
		m.mode |= S_IFREG;
	if (S_ISDIR(m.mode) || S_ISLNK(m.mode))
		return -EINVAL;
	if (s->config.model == P9_MAPPED)
		r = make_plain(dir->fd, name, "");
	else if (mknodat(dir->fd, name, (m.mode & S_IFMT) | 0600, m.rdev) < 0)
		r = -errno;
	return r < 0 ? r : finish(s, &m, out);
}

// fid[4] name[s] target[s] gid[4]; qid[13]
int p9_symlink(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	char name[P9_NAME_MAX + 1], target[PATH_MAX];
	struct made m = {.name = name, .mode = S_IFLNK | 0777};
	struct p9_fid *dir;
	int r = get_place(s, in, &dir, name);

	p9_get_string(in, target, sizeof(target));
	m.gid = p9_get32(in);
	m.dir = dir;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (s->config.model == P9_MAPPED)
		r = make_plain(dir->fd, name, target);
	else if (symlinkat(target, dir->fd, name) < 0)
		r = -errno;
	return r < 0 ? r : finish(s, &m, out);
}

static ssize_t read_plain(int fd, char *to, size_t size)
{
	char path[P9_PROC];
	int opened = open(p9_proc(path, fd), O_RDONLY | O_CLOEXEC);
	ssize_t n = opened < 0 ? -1 : read(opened, to, size);

	if (opened >= 0)
		close(opened);
	return n;
}

// fid[4]; target[s]
int p9_readlink(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;
	int r;

	if (!f)
		return -EBADF;
	r = p9_stat(s, f->fd, &st);
	if (r < 0)
		return r;
	if (!S_ISLNK(st.st_mode))
		return -EINVAL;
	n = f->type == S_IFLNK ? readlinkat(f->fd, "", target, sizeof(target) - 1)
			       : read_plain(f->fd, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	p9_put_string(out, target);
	return 0;
}

// dfid[4] fid[4] name[s]
int p9_link(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *dir = p9_get_fid(s, in), *f = p9_get_fid(s, in);
	char name[P9_NAME_MAX + 1], path[P9_PROC];

	p9_get_string(in, name, sizeof(name));
	if (!dir || !f || in->bad)
		return -EBADF;
	if (!p9_is_name(name))
		return -EINVAL;
	if (s->config.readonly)
		return -EROFS;
	return linkat(AT_FDCWD, p9_proc(path, f->fd), dir->fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int rename_in_tree(struct p9 *s, int from_dir, const char *from, int to_dir, const char *to)
{
	char from_path[P9_PATH_MAX], to_path[P9_PATH_MAX];
	bool follow = s->parked_count && p9_path_in(s, from_dir, from, from_path) >= 0 &&
		      p9_path_in(s, to_dir, to, to_path) >= 0;

	p9_name_goes(s, to_dir, to);
	if (renameat(from_dir, from, to_dir, to) < 0)
		return -errno;
	if (follow)
		p9_renamed(s, from_path, to_path);
	return 0;
}

static int remove_from_tree(struct p9 *s, int dir, const char *name, int flags)
{
	p9_name_goes(s, dir, name);
	return unlinkat(dir, name, flags) < 0 ? -errno : 0;
}

// olddirfid[4] oldname[s] newdirfid[4] newname[s]
int p9_renameat(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	char from[P9_NAME_MAX + 1], to[P9_NAME_MAX + 1];
	struct p9_fid *from_dir, *to_dir;
	int r = get_place(s, in, &from_dir, from);

	if (r == 0)
		r = get_place(s, in, &to_dir, to);
	if (r < 0)
		return r;
	return rename_in_tree(s, from_dir->fd, from, to_dir->fd, to);
}

// fid[4] dfid[4] name[s]
int p9_rename(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	char from[P9_NAME_MAX + 1], to[P9_NAME_MAX + 1];
	struct p9_fid *f = p9_get_fid(s, in), *dir;
	int parent, r = get_place(s, in, &dir, to);

	if (!f || r < 0)
		return f ? r : -EBADF;
	parent = p9_parent_of(s, f->fd, from);
	if (parent < 0)
		return parent;
	r = rename_in_tree(s, parent, from, dir->fd, to);
	close(parent);
	return r;
}

// dirfid[4] name[s] flags[4]
int p9_unlinkat(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir;
	int r = get_place(s, in, &dir, name);
	uint32_t flags = p9_get32(in);

	if (r < 0 || in->bad || (flags & ~(uint32_t)AT_REMOVEDIR))
		return r < 0 ? r : -EINVAL;
	return remove_from_tree(s, dir->fd, name, (int)flags);
}

// fid[4]. The fid goes whatever comes of it.
int p9_remove(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = p9_get32(in);
	struct p9_fid *f = in->bad ? NULL : p9_fid_find(s, id);
	char name[P9_NAME_MAX + 1];
	int parent, r;

	if (!f)
		return -EBADF;
	parent = s->config.readonly ? -EROFS : p9_fid_use(s, f) ? p9_parent_of(s, f->fd, name) : -ESTALE;
	r = parent;
	if (parent >= 0) {
		r = remove_from_tree(s, parent, name, f->type == S_IFDIR ? AT_REMOVEDIR : 0);
		close(parent);
	}
	p9_fid_drop(s, f);
	return r;
}
