// SPDX-License-Identifier: MIT
//
// What an image's requests were, for operators: counted when they end. The time of one runs from when the device gave
// it away.
#ifndef IO_BLOCK_STATS_H
#define IO_BLOCK_STATS_H

#include <stdatomic.h>
#include <time.h>

#include "io/block.h"

static inline void block_begin(struct block_request *r)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	r->begun = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline void block_count(_Atomic uint64_t *n, uint64_t more)
{
	atomic_fetch_add_explicit(n, more, memory_order_relaxed);
}

// From any thread; once for each request that has begun.
static inline void block_end(struct block *b, struct block_request *r)
{
	// Zeroes are written; a write is one wherever they come from.
	struct block_stats *s = &b->stats[r->op == BLOCK_ZERO ? BLOCK_WRITE : r->op];
	uint64_t begun = r->begun, end = r->offset + r->size, top = b->written_to;

	block_begin(r);
	block_count(r->error ? &s->failed : &s->done, 1);
	if (r->error)
		return;
	block_count(&s->bytes, r->size);
	block_count(&s->ns, r->begun - begun);
	while (s == &b->stats[BLOCK_WRITE] && end > top && !atomic_compare_exchange_weak(&b->written_to, &top, end))
		;
}

#endif
