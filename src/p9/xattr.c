// SPDX-License-Identifier: MIT
//
// Extended attributes. To read one (or the list of all) the client makes a fid that holds the value; to set one it
// turns a fid into one that takes the value, which is set when the fid goes. With mapped-xattr the guest has the user.*
// attributes alone, but for those that hold its owners and modes: what the others mean to the host is not its affair.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "p9/server.h"

static int check_name(const struct p9 *s, const char *name)
{
	if (p9_is_hidden_xattr(s, name))
		return -EPERM;
	return s->config.model != P9_MAPPED || !strncmp(name, "user.", 5) ? 0 : -EOPNOTSUPP;
}

// Take the names out that the guest has not. The new size.
static size_t filter(const struct p9 *s, char *list, size_t size)
{
	size_t to = 0;

	for (size_t at = 0; at < size;) {
		size_t n = strnlen(list + at, size - at) + 1;

		if (at + n <= size && check_name(s, list + at) == 0) {
			memmove(list + to, list + at, n);
			to += n;
		}
		at += n;
	}
	return to;
}

static ssize_t load(const struct p9 *s, int fd, const char *name, uint8_t *to)
{
	char path[P9_PROC];
	ssize_t n;

	p9_proc(path, fd);
	n = *name ? getxattr(path, name, to, P9_XATTR_MAX) : listxattr(path, (char *)to, P9_XATTR_MAX);
	if (n < 0)
		return -errno;
	return *name ? n : (ssize_t)filter(s, (char *)to, (size_t)n);
}

// fid[4] newfid[4] name[s]; size[8]
int p9_xattrwalk(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in), *to;
	uint32_t id = p9_get32(in);
	char name[P9_NAME_MAX + 1];
	uint8_t *value;
	ssize_t n;
	int fd, r;

	p9_get_string(in, name, sizeof(name));
	if (!f || in->bad || f->state == FID_XATTR || f->state == FID_XATTR_NEW)
		return -EBADF;
	r = *name ? check_name(s, name) : 0;
	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	value = malloc(P9_XATTR_MAX);
	n = value ? load(s, f->fd, name, value) : -ENOMEM;
	fd = n < 0 ? (int)n : fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	r = n < 0 ? (int)n : fd < 0 ? -errno : p9_fid_add(s, id, f->uid, fd, f->type, &to);
	if (r < 0) {
		free(value);
		return r;
	}
	to->state = FID_XATTR;
	to->value = realloc(value, (size_t)n + 1);
	to->value_size = (size_t)n;
	p9_put64(out, (uint64_t)n);
	return 0;
}

int p9_xattr_read(struct p9_fid *f, uint64_t offset, uint32_t count, struct p9_out *out)
{
	size_t left = offset < f->value_size ? f->value_size - (size_t)offset : 0;
	size_t n = MIN(MIN((size_t)count, left), out->room - out->size - sizeof(uint32_t));

	p9_put32(out, (uint32_t)n);
	if (n)
		p9_put_bytes(out, f->value + offset, n);
	return 0;
}

// fid[4] name[s] attr_size[8] flags[4]
int p9_xattrcreate(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	char name[P9_NAME_MAX + 1];
	uint64_t size;
	uint32_t flags;
	int r;

	p9_get_string(in, name, sizeof(name));
	size = p9_get64(in);
	flags = p9_get32(in);
	if (!f || in->bad || f->state != FID_FILE)
		return -EBADF;
	if (s->config.readonly)
		return -EROFS;
	if (size > P9_XATTR_MAX)
		return -E2BIG;
	r = check_name(s, name);
	if (r < 0 || (flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
		return r < 0 ? r : -EINVAL;
	f->value = calloc(1, size + 1);
	if (!f->value)
		return -ENOMEM;
	f->state = FID_XATTR_NEW;
	f->value_size = size;
	f->value_done = 0;
	f->value_flags = (int)flags;
	strcpy(f->value_name, name);
	return 0;
}

int p9_xattr_write(struct p9_fid *f, uint64_t offset, uint32_t count, const uint8_t *from, struct p9_out *out)
{
	if (offset != f->value_done || count > f->value_size - f->value_done)
		return -ENOSPC;
	memcpy(f->value + f->value_done, from, count);
	f->value_done += count;
	p9_put32(out, count);
	return 0;
}

// No bytes at all mean that the attribute is to go.
int p9_xattr_finish(struct p9 *s, struct p9_fid *f)
{
	char path[P9_PROC];
	int r;

	if (f->value_done != f->value_size)
		return -EIO;
	p9_proc(path, f->fd);
	if (f->value_size || (f->value_flags & XATTR_CREATE))
		r = setxattr(path, f->value_name, f->value, f->value_size, f->value_flags);
	else
		r = removexattr(path, f->value_name);
	return r < 0 ? -errno : 0;
}
