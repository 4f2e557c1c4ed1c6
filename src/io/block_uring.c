// SPDX-License-Identifier: MIT
//
// The engine of io_uring. What the image names a descriptor for goes to the ring; the rest, and what the ring did not
// do whole, to a pool of threads. What the host's cache has ends within the call that submits it, and comes back to the
// caller at once; only what takes longer raises the event that wakes the thread which gathers completions.
// A caller that waits anyway polls instead: a wake-up less.
#include "io/block.h"
#include "io/block_stats.h"

#ifdef HAVE_LIBURING
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ENTRIES = 256, UNDER_WAY_MAX = ENTRIES, WORKERS = 2 };

struct uring {
	struct block_engine e;
	struct block *b;
	struct block_engine *pool;
	pthread_mutex_t lock;      // of the ring and what follows
	struct io_uring ring;
	struct block_request *first, **last; // wait for room in the ring
	_Atomic unsigned under_way;
	bool polled;               // somebody looks at the ring all the time: completions raise no event
	bool quit;
	int event;
	pthread_t thread;
};

static void append(struct block_request ***last, struct block_request *r)
{
	r->next = NULL;
	**last = r;
	*last = &r->next;
}

static void prepare(struct uring *u, struct io_uring_sqe *sqe, struct block_request *r)
{
	int fd = u->b->ops->fd(u->b, r);

	if (r->op == BLOCK_READ)
		io_uring_prep_readv(sqe, fd, r->iov, r->niov, r->offset);
	else
		io_uring_prep_writev(sqe, fd, r->iov, r->niov, r->offset);
	io_uring_sqe_set_data(sqe, r);
}

// Put in what there is room for, and tell the kernel once.
static void push(struct uring *u)
{
	struct io_uring_sqe *sqe;
	unsigned added = 0;

	while (u->first && u->under_way < UNDER_WAY_MAX && (sqe = io_uring_get_sqe(&u->ring))) {
		struct block_request *r = u->first;

		u->first = r->next;
		if (!u->first)
			u->last = &u->first;
		prepare(u, sqe, r);
		u->under_way++;
		added++;
	}
	while (added && io_uring_submit(&u->ring) < 0) // of what is queued nothing is lost: again
		;
}

// Gather what has ended: whole requests, and those to be run anew.
static void reap(struct uring *u, struct block_request ***done, struct block_request ***again)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&u->ring, &cqe)) {
		struct block_request *r = io_uring_cqe_get_data(cqe);

		r->error = 0;
		if (cqe->res >= 0 && (uint64_t)cqe->res == r->size) {
			block_end(u->b, r);
			append(done, r);
		} else {
			append(again, r);
		}
		io_uring_cqe_seen(&u->ring, cqe);
		u->under_way--;
	}
}

static struct block_request *uring_submit(struct block_engine *e, struct block_request *list)
{
	struct block_request *slow = NULL, **slow_last = &slow, *done = NULL, **done_last = &done, *next;
	struct uring *u = (struct uring *)e;

	pthread_mutex_lock(&u->lock);
	for (; list; list = next) {
		next = list->next;
		append(u->b->ops->fd(u->b, list) >= 0 ? &u->last : &slow_last, list);
	}
	io_uring_cq_eventfd_toggle(&u->ring, false);
	do {
		push(u);
		reap(u, &done_last, &slow_last);
	} while (u->first && u->under_way < UNDER_WAY_MAX);
	if (!u->polled)
		io_uring_cq_eventfd_toggle(&u->ring, true);
	reap(u, &done_last, &slow_last); // what has ended since raised no event
	pthread_mutex_unlock(&u->lock);
	if (slow)
		u->pool->submit(u->pool, slow);
	return done;
}

static struct block_request *uring_poll(struct block_engine *e, bool last)
{
	struct block_request *again = NULL, **again_last = &again, *done = NULL, **done_last = &done;
	struct uring *u = (struct uring *)e;

	if (!last && !atomic_load_explicit(&u->under_way, memory_order_relaxed))
		return NULL;
	pthread_mutex_lock(&u->lock);
	if (u->polled == last) {
		u->polled = !last;
		io_uring_cq_eventfd_toggle(&u->ring, last);
	}
	reap(u, &done_last, &again_last);
	push(u);
	pthread_mutex_unlock(&u->lock);
	if (again)
		u->pool->submit(u->pool, again);
	return done;
}

static void *gather(void *opaque)
{
	struct uring *u = opaque;
	bool quit = false;

	while (!quit) {
		struct block_request *again = NULL, **again_last = &again, *done = NULL, **done_last = &done;
		uint64_t count;

		if (read(u->event, &count, sizeof(count)) < 0 && errno != EINTR)
			break;
		pthread_mutex_lock(&u->lock);
		reap(u, &done_last, &again_last);
		push(u);
		quit = u->quit;
		pthread_mutex_unlock(&u->lock);
		if (again)
			u->pool->submit(u->pool, again);
		if (done)
			u->b->completed(u->b->opaque, done);
	}
	return NULL;
}

static void uring_free(struct uring *u)
{
	if (u->pool)
		u->pool->stop(u->pool);
	if (u->event >= 0)
		close(u->event);
	io_uring_queue_exit(&u->ring);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static void uring_stop(struct block_engine *e)
{
	struct uring *u = (struct uring *)e;
	const uint64_t one = 1;

	pthread_mutex_lock(&u->lock);
	u->quit = true;
	pthread_mutex_unlock(&u->lock);
	while (write(u->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(u->thread, NULL);
	uring_free(u);
}

struct block_engine *block_uring_start(struct block *b)
{
	struct uring *u = calloc(1, sizeof(*u));

	if (!u || io_uring_queue_init(ENTRIES, &u->ring, IORING_SETUP_CLAMP) < 0) {
		free(u);
		return NULL;
	}
	u->e = (struct block_engine){"io_uring", uring_submit, uring_stop, uring_poll};
	u->b = b;
	u->last = &u->first;
	pthread_mutex_init(&u->lock, NULL);
	u->event = eventfd(0, EFD_CLOEXEC);
	u->pool = block_pool_start(b, WORKERS);
	if (u->event >= 0 && u->pool && !io_uring_register_eventfd(&u->ring, u->event) &&
	    !pthread_create(&u->thread, NULL, gather, u))
		return &u->e;
	uring_free(u);
	return NULL;
}
#else
struct block_engine *block_uring_start(struct block *b)
{
	return NULL;
}
#endif
