// SPDX-License-Identifier: MIT
#include "io/block_waiting.h"

void block_waiting_init(struct block_waiting *w, void (*failed)(void *opaque), void *opaque)
{
	*w = (struct block_waiting){.failed = failed, .opaque = opaque};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->decided, NULL);
}

unsigned block_waiting_take(struct block_waiting *w, struct block_failure list[BLOCK_FAILURES])
{
	unsigned n;

	pthread_mutex_lock(&w->lock);
	n = w->count;
	for (unsigned i = 0; i < n; i++)
		list[i] = w->failure[i];
	w->count = 0;
	pthread_mutex_unlock(&w->lock);
	return n;
}

void block_waiting_retry(struct block_waiting *w)
{
	pthread_mutex_lock(&w->lock);
	w->turn++;
	pthread_cond_broadcast(&w->decided);
	pthread_mutex_unlock(&w->lock);
}

void block_waiting_give_up(struct block_waiting *w, bool on)
{
	pthread_mutex_lock(&w->lock);
	w->give_up = on;
	pthread_cond_broadcast(&w->decided);
	pthread_mutex_unlock(&w->lock);
}

// One that stops the machine is told whatever else waits to be: nobody would let the machine go on.
static void note(struct block_waiting *w, const struct block_failure *f)
{
	if (w->count < BLOCK_FAILURES)
		w->failure[w->count++] = *f;
	else if (f->action == BLOCK_STOPPED)
		w->failure[BLOCK_FAILURES - 1] = *f;
}

bool block_failed(struct block *b, const struct block_request *r, enum block_action a)
{
	const struct block_failure f = {&b->config, a, r->op == BLOCK_READ, r->error};
	struct block_waiting *w = b->waiting;
	bool again = false;
	unsigned turn;

	if (!w)
		return false;
	pthread_mutex_lock(&w->lock);
	turn = w->turn;
	note(w, &f);
	pthread_mutex_unlock(&w->lock);
	w->failed(w->opaque);
	pthread_mutex_lock(&w->lock);
	while (a == BLOCK_STOPPED && !w->give_up && w->turn == turn)
		pthread_cond_wait(&w->decided, &w->lock);
	if (a == BLOCK_STOPPED)
		again = !w->give_up;
	pthread_mutex_unlock(&w->lock);
	return again;
}
