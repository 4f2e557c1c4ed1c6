// SPDX-License-Identifier: MIT
//
// -snapshot: writes go to a temporary file that has no name, and is gone with ringer; a bitmap says which sectors are
// in it. A sector's bit is set after its bytes are in the file, and nothing is ever copied up, as a bit stands for one
// sector. Discarded sectors keep what they have; zeroes are written. A flush does nothing: nothing is kept.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/block.h"

enum { PIECES = 256, ZERO_PIECE = 64 << 10, SMALL_WRITE = 128 << 10 };

struct overlay {
	struct block b;
	struct block *base;
	int fd;
	_Atomic uint64_t *written; // a bit a sector
};

static bool is_written(const struct overlay *o, uint64_t sector)
{
	return atomic_load_explicit(&o->written[sector / 64], memory_order_acquire) >> sector % 64 & 1;
}

static void mark(struct overlay *o, uint64_t sector, uint64_t end)
{
	while (sector < end) {
		unsigned first = sector % 64, n = MIN(end - sector, (uint64_t)(64 - first));
		uint64_t bits = n == 64 ? UINT64_MAX : (BIT64(n) - 1) << first;

		atomic_fetch_or(&o->written[sector / 64], bits);
		sector += n;
	}
}

// The end of the run of sectors from `sector` that are all in the overlay, or all not.
static uint64_t run_end(const struct overlay *o, uint64_t sector, uint64_t end)
{
	bool here = is_written(o, sector);

	while (++sector < end && is_written(o, sector) == here)
		;
	return sector;
}

static int transfer(const struct overlay *o, const struct block_request *r, uint64_t from, uint64_t size)
{
	struct iovec v[PIECES];

	while (size) {
		unsigned n = block_slice(r, from - r->offset, size, v, PIECES);
		ssize_t got = r->op == BLOCK_READ ? preadv(o->fd, v, (int)n, (off_t)from) :
			pwritev(o->fd, v, (int)n, (off_t)from);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		from += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return 0;
}

static int read_base(const struct overlay *o, const struct block_request *r, uint64_t from, uint64_t size,
		     unsigned worker)
{
	struct iovec v[PIECES];

	while (size) {
		unsigned n = block_slice(r, from - r->offset, size, v, PIECES);
		struct block_request part = {.op = BLOCK_READ, .offset = from, .iov = v, .niov = n};
		int error;

		for (unsigned i = 0; i < n; i++)
			part.size += v[i].iov_len;
		error = o->base->ops->run(o->base, &part, worker);
		if (error)
			return error;
		from += part.size;
		size -= part.size;
	}
	return 0;
}

static int read_runs(const struct overlay *o, const struct block_request *r, unsigned worker)
{
	uint64_t at = r->offset / BLOCK_SECTOR, end = at + r->size / BLOCK_SECTOR;
	int error = 0;

	while (at < end && !error) {
		uint64_t stop = run_end(o, at, end), from = at * BLOCK_SECTOR, size = (stop - at) * BLOCK_SECTOR;

		error = is_written(o, at) ? transfer(o, r, from, size) : read_base(o, r, from, size, worker);
		at = stop;
	}
	return error;
}

static int write_zeroes(const struct overlay *o, const struct block_request *r)
{
	static const uint8_t zeroes[ZERO_PIECE];

	for (uint64_t done = 0; done < r->size;) {
		ssize_t got = pwrite(o->fd, zeroes, MIN(r->size - done, (uint64_t)ZERO_PIECE), (off_t)(r->offset + done));

		if (got < 0 && errno != EINTR)
			return -errno;
		done += got > 0 ? (uint64_t)got : 0;
	}
	return 0;
}

static int overlay_run(struct block *b, const struct block_request *r, unsigned worker)
{
	struct overlay *o = (struct overlay *)b;
	int error = 0;

	if (r->op == BLOCK_READ)
		return read_runs(o, r, worker);
	if (r->op == BLOCK_WRITE)
		error = transfer(o, r, r->offset, r->size);
	else if (r->op == BLOCK_ZERO)
		error = write_zeroes(o, r);
	else
		return 0;
	if (!error)
		mark(o, r->offset / BLOCK_SECTOR, (r->offset + r->size) / BLOCK_SECTOR);
	return error;
}

static bool is_uniform(const struct overlay *o, const struct block_request *r)
{
	uint64_t at = r->offset / BLOCK_SECTOR, end = at + r->size / BLOCK_SECTOR;

	return r->size && run_end(o, at, end) == end;
}

// Reads of what lies in one of the two files whole. Writes are not io_uring's: their bits are set after them.
static int overlay_fd(const struct block *b, const struct block_request *r)
{
	const struct overlay *o = (const struct overlay *)b;

	if (r->op != BLOCK_READ || !is_uniform(o, r))
		return -1;
	if (is_written(o, r->offset / BLOCK_SECTOR))
		return o->fd;
	return o->base->ops->fd ? o->base->ops->fd(o->base, r) : -1;
}

static bool overlay_run_at_once(struct block *b, struct block_request *r)
{
	struct overlay *o = (struct overlay *)b;
	ssize_t got = -1;

	if (r->niov > IOV_MAX)
		return false;
	if (r->op == BLOCK_WRITE && r->size <= SMALL_WRITE)
		got = pwritev(o->fd, r->iov, (int)r->niov, (off_t)r->offset);
	else if (r->op == BLOCK_READ && is_uniform(o, r) && !is_written(o, r->offset / BLOCK_SECTOR))
		return o->base->ops->run_at_once && o->base->ops->run_at_once(o->base, r);
	else if (r->op == BLOCK_READ && is_uniform(o, r))
		got = preadv2(o->fd, r->iov, (int)r->niov, (off_t)r->offset, RWF_NOWAIT);
	r->error = 0;
	if (got < 0 || (uint64_t)got != r->size)
		return false;
	if (r->op == BLOCK_WRITE)
		mark(o, r->offset / BLOCK_SECTOR, (r->offset + r->size) / BLOCK_SECTOR);
	return true;
}

static void overlay_close(struct block *b)
{
	struct overlay *o = (struct overlay *)b;

	o->base->ops->close(o->base);
	if (o->fd >= 0)
		close(o->fd);
	free(o->written);
	free(o);
}

static const struct block_ops overlay_ops = { overlay_run, overlay_close, overlay_fd, overlay_run_at_once };

int block_overlay_open(struct block **b, struct block *base, char *err, size_t errlen)
{
	const char *dir = getenv("TMPDIR");
	struct overlay *o = calloc(1, sizeof(*o));

	*b = base;
	if (!o) {
		snprintf(err, errlen, "%s: out of memory", base->config.file);
		return -ENOMEM;
	}
	o->b = (struct block){.ops = &overlay_ops, .config = base->config, .size = base->size};
	o->base = base;
	o->written = calloc(base->size / BLOCK_SECTOR / 64 + 1, sizeof(uint64_t));
	o->fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	*b = &o->b;
	if (o->written && o->fd >= 0)
		return 0;
	snprintf(err, errlen, "%s: cannot make a temporary overlay in %s: %s; set TMPDIR", base->config.file,
		 dir && *dir ? dir : "/var/tmp", strerror(errno));
	return -EIO;
}
