// SPDX-License-Identifier: MIT
//
// The event loop of the app: one thread, epoll, level-triggered. File descriptors and timers are objects of their
// owner, registered here and called back with no lock held. Regular files, which epoll refuses, count as always ready.
#ifndef HOST_LOOP_H
#define HOST_LOOP_H

#include <sys/epoll.h>

#include "base/types.h"

struct loop {
	int epoll_fd;
	bool quit;
};

struct loop_fd {
	int fd;
	uint32_t events; // EPOLLIN, EPOLLOUT; 0: registered, but only errors and hang-ups are reported
	bool always_ready; // epoll does not take it: its owner just reads or writes
	bool registered;
	void (*ready)(void *opaque, uint32_t events);
	void *opaque;
};

// A count that another thread raises and the loop is woken by.
struct loop_event {
	struct loop_fd lf;
	void (*fire)(void *opaque);
	void *opaque;
};

// A one-shot timer on the monotonic clock.
struct loop_timer {
	struct loop_fd lf;
	void (*fire)(void *opaque);
	void *opaque;
};

int loop_init(struct loop *l);
void loop_destroy(struct loop *l);
int loop_run(struct loop *l); // until loop_quit; 0 or a negative errno
void loop_quit(struct loop *l);

// Outside the loop: wait until fd can be written. False: until_fd became readable first, or was -1: do not wait.
bool loop_await_output(int fd, int until_fd);

// lf->fd, events, ready and opaque are set by the caller. 0 or a negative errno.
int loop_add(struct loop *l, struct loop_fd *lf);
void loop_want(struct loop *l, struct loop_fd *lf, uint32_t events);
void loop_remove(struct loop *l, struct loop_fd *lf);

int loop_event_add(struct loop *l, struct loop_event *e, void (*fire)(void *), void *opaque);
void loop_event_raise(struct loop_event *e); // from any thread
void loop_event_remove(struct loop *l, struct loop_event *e);

int loop_timer_add(struct loop *l, struct loop_timer *t, void (*fire)(void *), void *opaque);
void loop_timer_set(struct loop_timer *t, uint64_t monotonic_ns); // 0: off; from any thread
void loop_timer_remove(struct loop *l, struct loop_timer *t);

#endif
