// SPDX-License-Identifier: MIT
//
// A machine's requests that have failed on the host: what operators are told of each, and where those wait whose policy
// is to stop the machine (werror=stop). They wait in the thread that ran them, with nothing held, until they are to be
// tried again or given up. The machine must give them up before it waits for a device's requests in the loop.
#ifndef IO_BLOCK_WAITING_H
#define IO_BLOCK_WAITING_H

#include <pthread.h>

#include "io/block.h"

enum block_action { BLOCK_REPORTED, BLOCK_IGNORED, BLOCK_STOPPED };

struct block_failure {
	const struct block_config *image;
	enum block_action action;
	bool read;
	int error;
};

enum { BLOCK_FAILURES = 16 };

struct block_waiting {
	pthread_mutex_t lock;
	pthread_cond_t decided;
	unsigned turn;   // how often it has been decided that they are tried again
	bool give_up;
	unsigned count;  // failures that have not been taken; what is more is not told
	struct block_failure failure[BLOCK_FAILURES];
	void (*failed)(void *opaque); // from any thread, with nothing held: block_waiting_take
	void *opaque;
};

void block_waiting_init(struct block_waiting *w, void (*failed)(void *opaque), void *opaque);
unsigned block_waiting_take(struct block_waiting *w, struct block_failure list[BLOCK_FAILURES]);
void block_waiting_retry(struct block_waiting *w);
void block_waiting_give_up(struct block_waiting *w, bool on); // all that wait, and whoever comes while it is on

bool block_failed(struct block *b, const struct block_request *r, enum block_action a); // true: try it again

#endif
