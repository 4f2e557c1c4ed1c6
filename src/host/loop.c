// SPDX-License-Identifier: MIT
//
// The event loop. It takes one event at a time from epoll, so that a callback may remove any descriptor, its own
// included, without a stale event following.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "host/loop.h"

int loop_init(struct loop *l)
{
	l->quit = false;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll_fd < 0 ? -errno : 0;
}

void loop_destroy(struct loop *l)
{
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	l->epoll_fd = -1;
}

void loop_quit(struct loop *l)
{
	l->quit = true;
}

int loop_run(struct loop *l)
{
	l->quit = false;
	while (!l->quit) {
		struct epoll_event ev;
		int n = epoll_wait(l->epoll_fd, &ev, 1, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 1) {
			struct loop_fd *lf = ev.data.ptr;

			lf->ready(lf->opaque, ev.events);
		}
	}
	return 0;
}

bool loop_await_output(int fd, int until_fd)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = until_fd, .events = POLLIN}};

	while (poll(p, 2, until_fd < 0 ? 0 : -1) < 0 && errno == EINTR)
		;
	return p[0].revents && !p[1].revents;
}

int loop_add(struct loop *l, struct loop_fd *lf)
{
	struct epoll_event ev = {.events = lf->events, .data.ptr = lf};

	lf->always_ready = false;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, lf->fd, &ev) < 0) {
		if (errno != EPERM)
			return -errno;
		lf->always_ready = true;
		return 0;
	}
	lf->registered = true;
	return 0;
}

void loop_want(struct loop *l, struct loop_fd *lf, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = lf};

	if (lf->events == events)
		return;
	lf->events = events;
	if (lf->registered)
		epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, lf->fd, &ev);
}

void loop_remove(struct loop *l, struct loop_fd *lf)
{
	if (lf->registered)
		epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, lf->fd, NULL);
	lf->registered = false;
	lf->events = 0;
}

static void event_ready(void *opaque, uint32_t events)
{
	struct loop_event *e = opaque;
	uint64_t count;

	if (read(e->lf.fd, &count, sizeof(count)) == sizeof(count))
		e->fire(e->opaque);
}

int loop_event_add(struct loop *l, struct loop_event *e, void (*fire)(void *), void *opaque)
{
	e->fire = fire;
	e->opaque = opaque;
	e->lf = (struct loop_fd){
	    .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .ready = event_ready, .opaque = e};
	return e->lf.fd < 0 ? -errno : loop_add(l, &e->lf);
}

void loop_event_raise(struct loop_event *e)
{
	uint64_t one = 1;
	ssize_t n = write(e->lf.fd, &one, sizeof(one)); // EAGAIN: the count is full, so the loop is woken anyway

	(void)n;
}

void loop_event_remove(struct loop *l, struct loop_event *e)
{
	loop_remove(l, &e->lf);
	if (e->lf.fd > 0)
		close(e->lf.fd);
	e->lf.fd = -1;
}

static void timer_ready(void *opaque, uint32_t events)
{
	struct loop_timer *t = opaque;
	uint64_t count;

	if (read(t->lf.fd, &count, sizeof(count)) == sizeof(count))
		t->fire(t->opaque);
}

int loop_timer_add(struct loop *l, struct loop_timer *t, void (*fire)(void *), void *opaque)
{
	t->fire = fire;
	t->opaque = opaque;
	t->lf = (struct loop_fd){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
				 .events = EPOLLIN,
				 .ready = timer_ready,
				 .opaque = t};
	return t->lf.fd < 0 ? -errno : loop_add(l, &t->lf);
}

void loop_timer_set(struct loop_timer *t, uint64_t monotonic_ns)
{
	struct itimerspec its = {
	    .it_value = {.tv_sec = (time_t)(monotonic_ns / 1000000000), .tv_nsec = (long)(monotonic_ns % 1000000000)}};

	timerfd_settime(t->lf.fd, TFD_TIMER_ABSTIME, &its, NULL);
}

void loop_timer_remove(struct loop *l, struct loop_timer *t)
{
	loop_remove(l, &t->lf);
	if (t->lf.fd > 0)
		close(t->lf.fd);
	t->lf.fd = -1;
}
