// SPDX-License-Identifier: MIT
//
// Disk images: what stands behind a virtual disk on the host. An image runs requests one after another or many at once
// (engines: io_uring, a pool of threads); a request that has ended with error 0 has happened, and one that was written
// before a flush that ended well is on the host's disk. An image is locked as QEMU locks it, so that no two machines
// write it (io/block_lock.c). Formats other than raw are qemu-nbd's (io/block_nbd.c). With `snapshot` all writes go to
// a temporary overlay (io/block_overlay.c).
#ifndef IO_BLOCK_H
#define IO_BLOCK_H

#include <sys/uio.h>

#include "base/types.h"

enum { BLOCK_SECTOR = 512, BLOCK_PATH_MAX = 512 };

enum block_aio { BLOCK_AIO_AUTO, BLOCK_AIO_THREADS, BLOCK_AIO_URING };

// What the host's failures are to the guest: an error, nothing, or a stop of the machine until an operator lets the
// request be tried again (BLOCK_ENOSPC: that where the host's disk is full, an error else).
enum block_policy { BLOCK_REPORT, BLOCK_IGNORE, BLOCK_STOP, BLOCK_ENOSPC };

struct block_policies {
	enum block_policy write, read;
};

struct block_config {
	char file[BLOCK_PATH_MAX];
	char format[16];     // "": by its first bytes, and raw if these say nothing
	char name[64];       // as operators know it
	bool is_node;        // ... which is a node's, not a drive's
	const struct block_config *backing; // said to be what is behind it; NULL: what its header names
	bool no_backing;     // ... nothing, whatever the header names
	bool backing_no_lock; // of what the header names
	struct block_policies on_error;
	bool readonly, snapshot, no_lock;
	bool direct;         // around the host's page cache
	bool no_flush;       // cache=unsafe: a flush does nothing
	bool writethrough;   // each write is flushed before it ends
	bool keep_discarded; // discard=ignore
	enum block_aio aio;
};

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_ZERO };
enum { BLOCK_OPS = BLOCK_ZERO + 1 };

// The caller's until block_submit, the image's until it comes back through `completed`.
struct block_request {
	struct block_request *next;
	enum block_op op;
	bool may_unmap;      // BLOCK_ZERO
	uint64_t offset, size; // within the image, checked by the caller: multiples of BLOCK_SECTOR
	struct iovec *iov;   // of exactly size bytes, for reads and writes
	unsigned niov;
	int error;           // the answer: 0 or a negative errno
	uint64_t begun;      // io/block_stats.h; 0: not yet
};

struct block;

// An image format, or a layer above one: runs one request in the calling thread. worker: which of the engine's threads.
struct block_ops {
	int (*run)(struct block *b, const struct block_request *r, unsigned worker);
	void (*close)(struct block *b); // and free it
	int (*fd)(const struct block *b, const struct block_request *r); // may go to io_uring on this descriptor; -1: not
	bool (*run_at_once)(struct block *b, struct block_request *r); // done, if that takes no wait for the disk; or NULL
};

struct block_engine;

struct block_stats { // of one operation, since the image was opened
	_Atomic uint64_t done, failed, bytes, ns;
};

struct block {
	const struct block_ops *ops;
	struct block_config config;
	uint64_t size;          // bytes, a multiple of BLOCK_SECTOR
	bool readonly;
	bool probed_raw;        // nobody said that it is raw: block 0 must not become another format's header
	struct block_engine *engine;
	const char *engine_name;
	// Requests that have ended, as a list; from any thread, with nothing held.
	void (*completed)(void *opaque, struct block_request *list);
	void *opaque;
	struct block_stats stats[BLOCK_OPS];
	_Atomic uint64_t written_to; // the highest offset
	_Atomic uint32_t complained; // errors that the user has been told, a bit each
	struct block_waiting *waiting; // where requests wait that stop the machine; NULL: they fail
};

// Open an image, lock it, and start its engine. 0, or a negative errno with a line in err.
int block_open(struct block **b, const struct block_config *c, struct block_waiting *w, char *err, size_t errlen);

// No request may be under way. What was written is flushed.
void block_close(struct block *b);

// Start a list of requests. Returns those that have ended at once: they do not come through `completed`.
struct block_request *block_submit(struct block *b, struct block_request *list);

// For a thread that waits for requests anyway: those that have ended since, as block_submit returns them. Between the
// first call and one with `last` nobody is woken for them, so the last must come before the thread sleeps.
struct block_request *block_poll(struct block *b, bool last);

// -- among the parts of the image layer

int block_raw_open(struct block **b, const struct block_config *c, char *err, size_t errlen);
int block_nbd_open(struct block **b, const struct block_config *c, char *err, size_t errlen);
int block_overlay_open(struct block **b, struct block *base, char *err, size_t errlen); // takes base, also on failure
int block_lock(int fd, const struct block_config *c, bool readonly, char *err, size_t errlen);
const char *block_probe(const uint8_t *start, size_t size); // a format's name by an image's first bytes, or NULL
// ops->run, what the user must hear of it, and what the policy makes of it
int block_run(struct block *b, struct block_request *r, unsigned worker);

struct block_engine {
	const char *name;
	struct block_request *(*submit)(struct block_engine *e, struct block_request *list);
	void (*stop)(struct block_engine *e);
	struct block_request *(*poll)(struct block_engine *e, bool last); // or NULL
};
struct block_engine *block_pool_start(struct block *b, unsigned workers);
struct block_engine *block_uring_start(struct block *b); // NULL: the host has none

// A part of a vector: what is left of r's after `skip` bytes, size bytes at most, into out[n]. Returns how many.
unsigned block_slice(const struct block_request *r, uint64_t skip, uint64_t size, struct iovec *out, unsigned n);

#endif
