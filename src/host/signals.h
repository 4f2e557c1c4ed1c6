// SPDX-License-Identifier: MIT
//
// Signals as events of the loop.
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

#include <sys/types.h>

#include "host/loop.h"

struct signals {
	struct loop_fd lf;
	void (*terminate)(void *opaque, int sig, pid_t sender); // SIGINT, SIGTERM, SIGHUP, SIGQUIT
	void (*suspend)(void *opaque, bool stop); // before SIGTSTP stops us, and after we go on; may be NULL
	void *opaque;
};

// Block what the loop takes over. Before any thread is started.
void signals_block(void);
int signals_add(struct loop *l, struct signals *s, void (*terminate)(void *, int, pid_t), void *opaque);
void signals_remove(struct loop *l, struct signals *s);

#endif
