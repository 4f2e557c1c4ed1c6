// SPDX-License-Identifier: MIT
//
// Opening an image: its format, the layers above it, its engine. And what all images have in common while they run: a
// failure of the host's is said once for each kind of operation and error, so that a full disk is one line.
#include "io/block.h"
#include "io/block_stats.h"
#include "io/block_waiting.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 4 };

static const struct magic {
	const char *format;
	unsigned offset, len;
	const char *bytes;
} magics[] = {
	{ "qcow2", 0, 4, "QFI\xfb" }, { "qed", 0, 4, "QED\0" }, { "vmdk", 0, 4, "KDMV" }, { "vmdk", 0, 4, "COWD" },
	{ "vmdk", 0, 21, "# Disk DescriptorFile" }, { "vhdx", 0, 8, "vhdxfile" }, { "vpc", 0, 8, "conectix" },
	{ "vdi", 64, 4, "\x7f\x10\xda\xbe" }, { "luks", 0, 6, "LUKS\xba\xbe" },
};

const char *block_probe(const uint8_t *start, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (size >= magics[i].offset + magics[i].len &&
		    !memcmp(start + magics[i].offset, magics[i].bytes, magics[i].len))
			return magics[i].format;
	return NULL;
}

unsigned block_slice(const struct block_request *r, uint64_t skip, uint64_t size, struct iovec *out, unsigned n)
{
	unsigned used = 0;

	for (unsigned i = 0; i < r->niov && used < n && size; i++) {
		const struct iovec *v = &r->iov[i];

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		out[used] = (struct iovec){(uint8_t *)v->iov_base + skip, MIN(v->iov_len - skip, size)};
		size -= out[used++].iov_len;
		skip = 0;
	}
	return used;
}

static enum block_action choose_action(const struct block *b, const struct block_request *r)
{
	enum block_policy p = r->op == BLOCK_READ ? b->config.on_error.read : b->config.on_error.write;

	if (r->error == -EPERM) // ours: no second attempt would end otherwise
		return BLOCK_REPORTED;
	if (p == BLOCK_IGNORE)
		return BLOCK_IGNORED;
	if (p == BLOCK_ENOSPC && r->error == -ENOSPC)
		p = BLOCK_STOP;
	return p == BLOCK_STOP && b->waiting ? BLOCK_STOPPED : BLOCK_REPORTED;
}

static void complain(struct block *b, const struct block_request *r, int error, enum block_action action)
{
	static const char *const what_then[] = {
		[BLOCK_REPORTED] = "the guest has an I/O error", [BLOCK_IGNORED] = "the guest is not told",
		[BLOCK_STOPPED] = "the machine stops; cont (-monitor, -qmp) has it tried again",
	};
	static const char *const ops[] = { "read", "write", "flush", "discard", "write zeroes" };
	uint32_t bit = BIT((r->op * 4 + (error == -ENOSPC ? 1 : error == -EIO ? 2 : 3)) % 32);

	if (atomic_fetch_or(&b->complained, bit) & bit)
		return;
	fprintf(stderr, "ringer: %s: %s at %llu failed: %s; %s\n", b->config.file, ops[r->op],
		(unsigned long long)r->offset, strerror(-error), what_then[action]);
}

// A guest that may write any first block could make the image another format the next time it is opened.
static bool forges_header(const struct block *b, const struct block_request *r)
{
	uint8_t start[BLOCK_SECTOR];
	size_t n = 0;

	if (!b->probed_raw || r->op != BLOCK_WRITE || r->offset >= BLOCK_SECTOR)
		return false;
	for (unsigned i = 0; i < r->niov && n < sizeof(start); i++) {
		size_t part = MIN(r->iov[i].iov_len, sizeof(start) - n);

		memcpy(start + n, r->iov[i].iov_base, part);
		n += part;
	}
	return block_probe(start, n);
}

int block_run(struct block *b, struct block_request *r, unsigned worker)
{
	enum block_action action = BLOCK_REPORTED;

	if (!r->begun)
		block_begin(r);
	do {
		r->error = forges_header(b, r) ? -EPERM : b->ops->run(b, r, worker);
		if (!r->error)
			break;
		action = choose_action(b, r);
		complain(b, r, r->error, action);
	} while (block_failed(b, r, action));
	block_end(b, r);
	if (action == BLOCK_IGNORED)
		r->error = 0;
	return r->error;
}

struct block_request *block_submit(struct block *b, struct block_request *list)
{
	struct block_request *done = NULL, *rest = NULL, **done_last = &done, **rest_last = &rest, *next;

	for (; list; list = next) {
		struct block_request ***last = &rest_last;

		next = list->next;
		list->next = NULL;
		block_begin(list);
		if (b->ops->run_at_once && b->ops->run_at_once(b, list)) {
			block_end(b, list);
			last = &done_last;
		}
		**last = list;
		*last = &list->next;
	}
	*done_last = rest ? b->engine->submit(b->engine, rest) : NULL;
	return done;
}

struct block_request *block_poll(struct block *b, bool last)
{
	return b->engine->poll ? b->engine->poll(b->engine, last) : NULL;
}

static int choose_format(struct block_config *c, bool *probed, char *err, size_t errlen)
{
	uint8_t start[128] = {0};
	const char *format;
	FILE *f;

	if (*c->format)
		return 0;
	f = fopen(c->file, "re");
	if (!f) {
		int error = -errno;

		snprintf(err, errlen, "%s: cannot open the disk image: %s", c->file, strerror(-error));
		return error;
	}
	format = block_probe(start, fread(start, 1, sizeof(start), f));
	fclose(f);
	*probed = !format;
	snprintf(c->format, sizeof(c->format), "%s", format ? format : "raw");
	if (*probed && !c->readonly)
		fprintf(stderr, "ringer: warning: %s: no format was given, so the guest may not write another format's "
				"header to its first block; format=raw takes this away\n", c->file);
	return 0;
}

static int open_format(struct block **b, const struct block_config *c, char *err, size_t errlen)
{
	if (!strcmp(c->format, "raw"))
		return block_raw_open(b, c, err, errlen);
	return block_nbd_open(b, c, err, errlen);
}

static int start_engine(struct block *b, char *err, size_t errlen)
{
	if (b->ops->fd && b->config.aio != BLOCK_AIO_THREADS)
		b->engine = block_uring_start(b);
	if (!b->engine && b->config.aio == BLOCK_AIO_URING) {
		snprintf(err, errlen, "%s: aio=io_uring: this host or build has none; use aio=threads", b->config.file);
		return -ENOSYS;
	}
	if (!b->engine)
		b->engine = block_pool_start(b, WORKERS);
	if (!b->engine)
		snprintf(err, errlen, "%s: cannot start threads for the disk", b->config.file);
	return b->engine ? 0 : -EAGAIN;
}

int block_open(struct block **b, const struct block_config *c, struct block_waiting *w, char *err, size_t errlen)
{
	struct block_config config = *c;
	bool probed = false;
	int r = choose_format(&config, &probed, err, errlen);

	*b = NULL;
	if (r == 0)
		r = open_format(b, &config, err, errlen);
	if (r == 0 && config.snapshot)
		r = block_overlay_open(b, *b, err, errlen);
	if (r == 0) {
		(*b)->probed_raw = probed && !config.snapshot;
		(*b)->waiting = w;
		r = start_engine(*b, err, errlen);
	}
	if (r < 0 && *b) {
		(*b)->ops->close(*b);
		*b = NULL;
	}
	return r;
}

void block_close(struct block *b)
{
	struct block_request flush = {.op = BLOCK_FLUSH};

	b->engine->stop(b->engine);
	b->waiting = NULL;
	if (!b->readonly)
		block_run(b, &flush, 0);
	b->ops->close(b);
}
