// SPDX-License-Identifier: MIT
//
// Attributes: qids (what tells one file from another), getattr, setattr, statfs.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "p9/server.h"

enum { QID_DIR = 0x80, QID_LINK = 0x02, BASIC = 0x7ff };
enum { SET_MODE = BIT(0), SET_UID = BIT(1), SET_GID = BIT(2), SET_SIZE = BIT(3), SET_ATIME = BIT(4), SET_MTIME = BIT(5),
       SET_CTIME = BIT(6), SET_ATIME_GIVEN = BIT(7), SET_MTIME_GIVEN = BIT(8) };

// One number for device and inode. Those of the root's device stay what they are; others are mixed, with the top
// bit set, so that no two are likely ever to meet.
uint64_t p9_qid_path(const struct p9 *s, uint64_t dev, uint64_t ino)
{
	uint64_t v = ino ^ dev * UINT64_C(0x9e3779b97f4a7c15);

	if (dev == s->root_dev || s->config.multidevs != P9_MULTIDEVS_REMAP)
		return ino;
	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	return (v ^ v >> 31) | BIT64(63);
}

static int check_device(struct p9 *s, const struct stat *st)
{
	if (st->st_dev == s->root_dev || s->config.multidevs == P9_MULTIDEVS_REMAP)
		return 0;
	if (s->config.multidevs == P9_MULTIDEVS_FORBID)
		return -ENODEV;
	if (!s->warned_of_devices)
		fprintf(stderr, "ringer: warning: '%s' holds several file systems, whose files may look the same to the "
				"guest; multidevs=remap tells them apart\n", s->config.path);
	s->warned_of_devices = true;
	return 0;
}

int p9_put_qid(struct p9 *s, struct p9_out *out, const struct stat *st)
{
	int r = check_device(s, st);

	if (r < 0)
		return r;
	p9_put8(out, S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_LINK : 0);
	p9_put32(out, (uint32_t)st->st_mtime ^ (uint32_t)((uint64_t)st->st_size << 8));
	p9_put64(out, p9_qid_path(s, st->st_dev, st->st_ino));
	return 0;
}

static void put_time(struct p9_out *out, struct timespec t)
{
	p9_put64(out, (uint64_t)t.tv_sec);
	p9_put64(out, (uint64_t)t.tv_nsec);
}

// fid[4] request_mask[8]; valid[8] qid[13] mode[4] uid[4] gid[4] nlink[8] rdev[8] size[8] blksize[8] blocks[8], four
// times seconds[8] nanoseconds[8] (access, change of data, change, birth), gen[8] data_version[8]
int p9_getattr(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	struct stat st;
	int r;

	p9_get64(in);
	if (!f || in->bad)
		return -EBADF;
	r = p9_stat(s, f->fd, &st);
	if (r < 0)
		return r;
	p9_put64(out, BASIC);
	r = p9_put_qid(s, out, &st);
	if (r < 0)
		return r;
	p9_put32(out, st.st_mode);
	p9_put32(out, st.st_uid);
	p9_put32(out, st.st_gid);
	p9_put64(out, st.st_nlink);
	p9_put64(out, st.st_rdev);
	p9_put64(out, (uint64_t)st.st_size);
	p9_put64(out, (uint64_t)st.st_blksize);
	p9_put64(out, (uint64_t)st.st_blocks);
	put_time(out, st.st_atim);
	put_time(out, st.st_mtim);
	put_time(out, st.st_ctim);
	put_time(out, (struct timespec){0});
	p9_put64(out, 0);
	p9_put64(out, 0);
	return 0;
}

struct new_attributes {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];
};

static struct timespec which_time(const struct new_attributes *a, int i)
{
	if (!(a->valid & (SET_ATIME << i)))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	return a->valid & (SET_ATIME_GIVEN << i) ? a->times[i] : (struct timespec){.tv_nsec = UTIME_NOW};
}

static int set_times(int fd, const struct new_attributes *a)
{
	const struct timespec t[2] = {which_time(a, 0), which_time(a, 1)};
	char path[P9_PROC];

	if (utimensat(fd, "", t, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return utimensat(AT_FDCWD, p9_proc(path, fd), t, 0) < 0 ? -errno : 0;
}

static int set_size(const struct p9_fid *f, uint64_t size)
{
	char path[P9_PROC];

	if (f->type != S_IFREG || (int64_t)size < 0)
		return -EINVAL;
	return truncate(p9_proc(path, f->fd), (off_t)size) < 0 ? -errno : 0;
}

static int set_attributes(struct p9 *s, const struct p9_fid *f, const struct new_attributes *a)
{
	uint32_t owner = a->valid & (SET_UID | SET_GID);
	bool touch = !(a->valid & ~(uint32_t)SET_CTIME) && a->valid; // the time of change alone
	int r = 0;

	if (a->valid & SET_MODE)
		r = p9_set_mode(s, f->fd, a->mode);
	if (r == 0 && (a->valid & (SET_ATIME | SET_MTIME)))
		r = set_times(f->fd, a);
	if (r == 0 && (owner || touch))
		r = p9_set_owner(s, f->fd, owner & SET_UID ? a->uid : UINT32_MAX, owner & SET_GID ? a->gid : UINT32_MAX);
	if (r == 0 && (a->valid & SET_SIZE))
		r = set_size(f, a->size);
	return r;
}

// fid[4] valid[4] mode[4] uid[4] gid[4] size[8] and twice (access, change of data): seconds[8] nanoseconds[8]
int p9_setattr(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	struct new_attributes a = {.valid = p9_get32(in)};

	a.mode = p9_get32(in);
	a.uid = p9_get32(in);
	a.gid = p9_get32(in);
	a.size = p9_get64(in);
	for (int i = 0; i < 2; i++) {
		a.times[i].tv_sec = (time_t)p9_get64(in);
		a.times[i].tv_nsec = (long)p9_get64(in);
		if ((uint64_t)a.times[i].tv_nsec > 999999999)
			a.times[i].tv_nsec = 0;
	}
	if (!f || in->bad)
		return -EBADF;
	return s->config.readonly ? -EROFS : set_attributes(s, f, &a);
}

// fid[4]; type[4] bsize[4] blocks[8] bfree[8] bavail[8] files[8] ffree[8] fsid[8] namelen[4]
int p9_statfs(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	struct statfs v;
	uint64_t fsid = 0;

	if (!f)
		return -EBADF;
	if (fstatfs(f->fd, &v) < 0)
		return -errno;
	memcpy(&fsid, &v.f_fsid, MIN(sizeof(fsid), sizeof(v.f_fsid)));
	p9_put32(out, (uint32_t)v.f_type);
	p9_put32(out, (uint32_t)v.f_bsize);
	p9_put64(out, v.f_blocks);
	p9_put64(out, v.f_bfree);
	p9_put64(out, v.f_bavail);
	p9_put64(out, v.f_files);
	p9_put64(out, v.f_ffree);
	p9_put64(out, fsid);
	p9_put32(out, (uint32_t)v.f_namelen);
	return 0;
}
