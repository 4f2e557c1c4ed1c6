// SPDX-License-Identifier: MIT
//
// Open files: lopen, lcreate, read, write, fsync, readdir. Only regular files and directories are opened: the rest
// (pipes, devices, sockets) the guest has drivers of its own for, and opening them here could wait or worse.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "p9/server.h"

enum { PASSED = O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC, WRITING = O_WRONLY | O_RDWR | O_TRUNC | O_APPEND,
       DIR_BATCH = 16 << 10, DIR_ENTRY = P9_QID + 8 + 1 + 2 };

// The numbers of 9P2000.L's flags are those of Linux on x86. What ringer is to do with the file is up to ringer.
static int flags_of(uint32_t flags)
{
	return (int)(flags & PASSED) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
}

static int put_opened(struct p9 *s, struct p9_fid *f, struct p9_out *out)
{
	struct stat st;
	int r = p9_stat(s, f->fd, &st);

	if (r == 0)
		r = p9_put_qid(s, out, &st);
	p9_put32(out, 0); // as much at once as a message holds
	return r;
}

static void become_open(struct p9_fid *f, int fd)
{
	close(f->fd);
	f->fd = fd;
	f->state = FID_OPEN;
}

// fid[4] flags[4]; qid[13] iounit[4]
int p9_lopen(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	uint32_t flags = p9_get32(in);
	char path[P9_PROC];
	int fd;

	if (!f || in->bad || f->state != FID_FILE)
		return -EBADF;
	if (f->type != S_IFREG && f->type != S_IFDIR)
		return f->type == S_IFLNK ? -ELOOP : -ENXIO;
	if (s->config.readonly && (flags & WRITING))
		return -EROFS;
	fd = open(p9_proc(path, f->fd), flags_of(flags) | (f->type == S_IFDIR ? O_DIRECTORY : 0));
	if (fd < 0)
		return -errno;
	become_open(f, fd);
	return put_opened(s, f, out);
}

static int own_created(struct p9 *s, int dir, const char *name, int fd, uint32_t uid, uint32_t gid, uint32_t mode)
{
	int r = p9_own_new(s, fd, uid, gid, S_IFREG | (mode & 07777), 0);

	if (r < 0)
		unlinkat(dir, name, 0);
	return r;
}

// A new file; or, if the client does not mind, one that is there.
static int create(struct p9 *s, const struct p9_fid *dir, const char *name, uint32_t flags, uint32_t mode, uint32_t gid)
{
	int how = flags_of(flags) | O_NOFOLLOW;
	int fd = openat(dir->fd, name, how | O_CREAT | O_EXCL, 0600), r;
	struct stat st;

	if (fd >= 0) {
		r = own_created(s, dir->fd, name, fd, dir->uid, gid, mode);
	} else if (errno == EEXIST && !(flags & O_EXCL)) {
		fd = openat(dir->fd, name, (how & ~O_TRUNC) | O_PATH);
		r = fd < 0 ? -errno : 0;
		if (r == 0 && fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && !S_ISREG(st.st_mode))
			r = S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
		if (r == 0) {
			char path[P9_PROC];
			int opened = open(p9_proc(path, fd), flags_of(flags));

			r = opened < 0 ? -errno : 0;
			close(fd);
			fd = opened;
		}
	} else {
		r = -errno;
	}
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

// fid[4] name[s] flags[4] mode[4] gid[4]; qid[13] iounit[4]. The fid of the directory becomes that of the file.
int p9_lcreate(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	char name[P9_NAME_MAX + 1];
	uint32_t flags, mode, gid;
	int fd;

	p9_get_string(in, name, sizeof(name));
	flags = p9_get32(in);
	mode = p9_get32(in);
	gid = p9_get32(in);
	if (!f || in->bad || f->state != FID_FILE)
		return -EBADF;
	if (!p9_is_name(name))
		return -EINVAL;
	if (s->config.readonly)
		return -EROFS;
	fd = create(s, f, name, flags, mode, gid);
	if (fd < 0)
		return fd;
	become_open(f, fd);
	f->type = S_IFREG;
	return put_opened(s, f, out);
}

// fid[4] offset[8] count[4]; count[4] data[count]
int p9_read(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	uint64_t offset = p9_get64(in);
	uint32_t count = p9_get32(in), done;
	uint8_t *head, *to;
	ssize_t n;

	if (!f || in->bad)
		return -EBADF;
	if (f->state == FID_XATTR)
		return p9_xattr_read(f, offset, count, out);
	if (f->state != FID_OPEN || f->type != S_IFREG)
		return f->type == S_IFDIR ? -EISDIR : -EBADF;
	head = p9_put_room(out, sizeof(done));
	count = MIN(count, (uint32_t)(out->room - out->size));
	to = p9_put_room(out, count);
	if (!head || !to)
		return -EMSGSIZE;
	n = pread(f->fd, to, count, (off_t)offset);
	if (n < 0)
		return -errno;
	done = (uint32_t)n;
	memcpy(head, &done, sizeof(done));
	out->size -= count - done;
	return 0;
}

// fid[4] offset[8] count[4] data[count]; count[4]
int p9_write(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	uint64_t offset = p9_get64(in);
	uint32_t count = p9_get32(in);
	const uint8_t *from = p9_get_bytes(in, count);
	ssize_t n;

	if (!f || !from)
		return -EBADF;
	if (f->state == FID_XATTR_NEW)
		return p9_xattr_write(f, offset, count, from, out);
	if (f->state != FID_OPEN)
		return -EBADF;
	n = pwrite(f->fd, from, count, (off_t)offset);
	if (n < 0)
		return -errno;
	p9_put32(out, (uint32_t)n);
	return 0;
}

// fid[4] datasync[4]
int p9_fsync(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	uint32_t data_only = in->left ? p9_get32(in) : 0;

	if (!f || f->state != FID_OPEN)
		return -EBADF;
	return (data_only ? fdatasync(f->fd) : fsync(f->fd)) < 0 ? -errno : 0;
}

static bool is_root_dir(const struct p9 *s, const struct stat *dir)
{
	return dir->st_dev == s->root_dev && dir->st_ino == s->root_ino;
}

// False: no room.
static bool put_entry(struct p9 *s, const struct dirent64 *d, const struct stat *dir, struct p9_out *out)
{
	bool above = !strcmp(d->d_name, "..") && is_root_dir(s, dir);
	size_t n = strlen(d->d_name);

	if (out->room - out->size < DIR_ENTRY + n)
		return false;
	p9_put8(out, d->d_type == DT_DIR ? 0x80 : 0);
	p9_put32(out, 0);
	p9_put64(out, p9_qid_path(s, dir->st_dev, above ? s->root_ino : d->d_ino));
	p9_put64(out, (uint64_t)d->d_off);
	p9_put8(out, s->config.model == P9_MAPPED && d->d_type == DT_REG ? DT_UNKNOWN : d->d_type);
	p9_put_string(out, d->d_name);
	return true;
}

// Entries until the reply is full. The descriptor may then stand behind the last one that was taken.
static int read_entries(struct p9 *s, struct p9_fid *f, uint64_t offset, const struct stat *dir, struct p9_out *out)
{
	_Alignas(struct dirent64) char batch[DIR_BATCH];
	size_t start = out->size;

	if (offset != f->dir_at && lseek(f->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	f->dir_at = offset;
	for (;;) {
		size_t size = MIN(sizeof(batch), out->room - out->size);
		ssize_t n = getdents64(f->fd, batch, size);

		if (n <= 0) // a buffer too small for the next entry: those before it are an answer too
			return n < 0 && (errno != EINVAL || out->size == start) ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (const struct dirent64 *)(batch + at);

			if (!put_entry(s, d, dir, out)) {
				f->dir_at = UINT64_MAX; // nobody's
				return 0;
			}
			f->dir_at = (uint64_t)d->d_off;
			at += d->d_reclen;
		}
	}
}

// fid[4] offset[8] count[4]; count[4] and entries of: qid[13] offset[8] type[1] name[s]
int p9_readdir(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	uint64_t offset = p9_get64(in);
	uint32_t count = p9_get32(in), done;
	uint8_t *head = p9_put_room(out, sizeof(done));
	size_t start = out->size, room = out->room;
	struct stat dir;
	int r;

	if (!f || in->bad || !head || f->state != FID_OPEN || f->type != S_IFDIR)
		return -EBADF;
	if (fstat(f->fd, &dir) < 0)
		return -errno;
	out->room = MIN(room, start + count);
	r = read_entries(s, f, offset, &dir, out);
	out->room = room;
	done = (uint32_t)(out->size - start);
	memcpy(head, &done, sizeof(done));
	return r;
}
