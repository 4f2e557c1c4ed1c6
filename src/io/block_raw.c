// SPDX-License-Identifier: MIT
//
// Raw images: a regular file or a block device whose bytes are the disk's. A file whose length is no whole number of
// sectors ends in zeroes. cache=none opens the file a second time around the page cache, for requests that are aligned;
// the kernel keeps the two views together. Once a flush has failed all later ones do: the kernel forgets which pages it
// could not write, and nothing that is lost may be called safe.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/block.h"

enum { DIRECT_ALIGN = 4096, PIECES = 256, ZERO_PIECE = 64 << 10, SMALL_WRITE = 128 << 10 };

struct raw {
	struct block b;
	int fd, direct_fd; // direct_fd: -1 without cache=none
	bool device;
	_Atomic bool flush_failed;
};

static bool is_aligned(const struct block_request *r)
{
	uint64_t all = r->offset | r->size;

	for (unsigned i = 0; i < r->niov; i++)
		all |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
	return all % DIRECT_ALIGN == 0;
}

static int fd_for(const struct raw *f, const struct block_request *r)
{
	return f->direct_fd >= 0 && is_aligned(r) ? f->direct_fd : f->fd;
}

static void zero_rest(const struct block_request *r, uint64_t done)
{
	struct iovec v;

	for (; done < r->size && block_slice(r, done, UINT64_MAX, &v, 1); done += v.iov_len)
		memset(v.iov_base, 0, v.iov_len);
}

static int transfer(const struct raw *f, const struct block_request *r)
{
	struct iovec v[PIECES];
	int fd = fd_for(f, r);

	for (uint64_t done = 0; done < r->size;) {
		unsigned n = block_slice(r, done, r->size - done, v, PIECES);
		off_t at = (off_t)(r->offset + done);
		ssize_t got = r->op == BLOCK_READ ? preadv(fd, v, (int)n, at) : pwritev(fd, v, (int)n, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got && r->op == BLOCK_WRITE)
			return -EIO;
		if (!got) { // behind the end of the file
			zero_rest(r, done);
			break;
		}
		done += (uint64_t)got;
		fd = f->fd; // what is left need not be aligned
	}
	return 0;
}

static int flush(struct raw *f)
{
	if (f->b.config.no_flush)
		return 0;
	if (!atomic_load(&f->flush_failed) && !fdatasync(f->fd))
		return 0;
	atomic_store(&f->flush_failed, true);
	return -EIO;
}

static int punch(const struct raw *f, const struct block_request *r)
{
	uint64_t range[2] = {r->offset, r->size};

	if (f->device)
		return ioctl(f->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	return fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset, (off_t)r->size) < 0 ?
		-errno : 0;
}

static bool is_unsupported(int error)
{
	return error == -EOPNOTSUPP || error == -ENOSYS || error == -ENOTTY || error == -EINVAL;
}

static int discard(const struct raw *f, const struct block_request *r)
{
	int error = f->b.config.keep_discarded ? 0 : punch(f, r);

	return is_unsupported(error) ? 0 : error; // it is a hint
}

static int write_zeroes(const struct raw *f, const struct block_request *r)
{
	static const uint8_t zeroes[ZERO_PIECE];

	for (uint64_t done = 0; done < r->size;) {
		size_t n = MIN(r->size - done, (uint64_t)ZERO_PIECE);
		ssize_t got = pwrite(f->fd, zeroes, n, (off_t)(r->offset + done));

		if (got < 0 && errno != EINTR)
			return -errno;
		done += got > 0 ? (uint64_t)got : 0;
	}
	return 0;
}

static int zero(const struct raw *f, const struct block_request *r)
{
	int error = -EOPNOTSUPP;

	if (!f->device && r->may_unmap && !f->b.config.keep_discarded)
		error = punch(f, r);
	if (!f->device && is_unsupported(error) &&
	    !fallocate(f->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset, (off_t)r->size))
		error = 0;
	return is_unsupported(error) ? write_zeroes(f, r) : error;
}

static int raw_run(struct block *b, const struct block_request *r, unsigned worker)
{
	struct raw *f = (struct raw *)b;
	int error = 0;

	switch (r->op) {
	case BLOCK_READ: return transfer(f, r);
	case BLOCK_FLUSH: return flush(f);
	case BLOCK_WRITE: error = transfer(f, r); break;
	case BLOCK_DISCARD: return discard(f, r);
	case BLOCK_ZERO: error = zero(f, r); break;
	}
	return error || !b->config.writethrough ? error : flush(f);
}

// io_uring takes reads and writes; what it does not finish whole comes back to raw_run.
static int raw_fd(const struct block *b, const struct block_request *r)
{
	const struct raw *f = (const struct raw *)b;

	if (r->op == BLOCK_READ || (r->op == BLOCK_WRITE && !b->config.writethrough && !b->probed_raw))
		return fd_for(f, r);
	return -1;
}

// What is in the host's cache, or goes there, is a copy: less work than to hand it to anybody.
static bool raw_run_at_once(struct block *b, struct block_request *r)
{
	const struct raw *f = (const struct raw *)b;
	ssize_t got = -1;

	if (raw_fd(b, r) != f->fd || r->niov > IOV_MAX)
		return false;
	if (r->op == BLOCK_READ)
		got = preadv2(f->fd, r->iov, (int)r->niov, (off_t)r->offset, RWF_NOWAIT);
	else if (r->size <= SMALL_WRITE)
		got = pwritev(f->fd, r->iov, (int)r->niov, (off_t)r->offset);
	r->error = 0;
	return got >= 0 && (uint64_t)got == r->size;
}

static void raw_close(struct block *b)
{
	struct raw *f = (struct raw *)b;

	if (f->direct_fd >= 0)
		close(f->direct_fd);
	if (f->fd >= 0)
		close(f->fd); // and with it its locks
	free(f);
}

static const struct block_ops raw_ops = { raw_run, raw_close, raw_fd, raw_run_at_once };

static int fail(const struct block_config *c, int error, const char *what, char *err, size_t errlen)
{
	snprintf(err, errlen, "%s: %s: %s", c->file, what, strerror(-error));
	return error;
}

static int measure(struct raw *f, char *err, size_t errlen)
{
	uint64_t size = 0;
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return fail(&f->b.config, -errno, "cannot look at the disk image", err, errlen);
	f->device = S_ISBLK(st.st_mode);
	if (!f->device && !S_ISREG(st.st_mode)) {
		snprintf(err, errlen, "%s: a disk image is a regular file or a block device", f->b.config.file);
		return -EINVAL;
	}
	size = (uint64_t)st.st_size;
	if (f->device && ioctl(f->fd, BLKGETSIZE64, &size) < 0)
		return fail(&f->b.config, -errno, "cannot learn the device's size", err, errlen);
	f->b.size = align_up(size, BLOCK_SECTOR);
	return 0;
}

int block_raw_open(struct block **b, const struct block_config *c, char *err, size_t errlen)
{
	bool readonly = c->readonly || c->snapshot;
	int flags = O_CLOEXEC | (readonly ? O_RDONLY : O_RDWR);
	struct raw *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return fail(c, -ENOMEM, "cannot open the disk image", err, errlen);
	f->b.ops = &raw_ops;
	f->b.config = *c;
	f->b.readonly = readonly;
	f->direct_fd = -1;
	f->fd = open(c->file, flags | O_NONBLOCK);
	r = f->fd < 0 ? fail(c, -errno, "cannot open the disk image", err, errlen) : measure(f, err, errlen);
	if (r == 0 && c->direct && (f->direct_fd = open(c->file, flags | O_DIRECT)) < 0)
		r = fail(c, -errno, "cannot open it around the host's cache; use cache=writeback", err, errlen);
	if (r == 0 && !c->no_lock)
		r = block_lock(f->fd, c, readonly, err, errlen);
	if (r < 0) {
		raw_close(&f->b);
		return r;
	}
	*b = &f->b;
	return 0;
}
