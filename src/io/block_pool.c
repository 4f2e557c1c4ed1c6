// SPDX-License-Identifier: MIT
//
// The engine of threads: requests wait in a queue, a few workers run them in any order.
#include <pthread.h>
#include <stdlib.h>

#include "io/block.h"

enum { WORKERS_MAX = 16 };

struct pool {
	struct block_engine e;
	struct block *b;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct block_request *first, **last;
	bool quit;
	unsigned workers, started;
	pthread_t thread[WORKERS_MAX];
};

static struct block_request *take(struct pool *p)
{
	struct block_request *r;

	pthread_mutex_lock(&p->lock);
	while (!p->first && !p->quit)
		pthread_cond_wait(&p->wanted, &p->lock);
	r = p->first;
	if (r) {
		p->first = r->next;
		if (!p->first)
			p->last = &p->first;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

struct worker {
	struct pool *pool;
	unsigned index;
};

static void *work(void *opaque)
{
	struct worker w = *(struct worker *)opaque;
	struct block_request *r;

	free(opaque);
	while ((r = take(w.pool))) {
		block_run(w.pool->b, r, w.index);
		r->next = NULL;
		w.pool->b->completed(w.pool->b->opaque, r);
	}
	return NULL;
}

static struct block_request *pool_submit(struct block_engine *e, struct block_request *list)
{
	struct pool *p = (struct pool *)e;

	if (!list)
		return NULL;
	pthread_mutex_lock(&p->lock);
	*p->last = list;
	for (; list; list = list->next) {
		p->last = &list->next;
		pthread_cond_signal(&p->wanted);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_stop(struct block_engine *e)
{
	struct pool *p = (struct pool *)e;

	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->started; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->wanted);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct block_engine *block_pool_start(struct block *b, unsigned workers)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->e = (struct block_engine){"threads", pool_submit, pool_stop, NULL};
	p->b = b;
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wanted, NULL);
	for (unsigned i = 0; i < MIN(workers, (unsigned)WORKERS_MAX); i++) {
		struct worker *w = malloc(sizeof(*w));

		if (!w)
			break;
		*w = (struct worker){p, i};
		if (pthread_create(&p->thread[i], NULL, work, w)) {
			free(w);
			break;
		}
		p->started++;
	}
	if (p->started)
		return &p->e;
	pool_stop(&p->e);
	return NULL;
}
