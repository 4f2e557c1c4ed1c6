// SPDX-License-Identifier: MIT
//
// libslirp in our event loop. It wants to be asked before each wait what to wait for, and told afterwards what came:
// both for all its descriptors. They live in an epoll of their own, of which the loop watches one descriptor; libslirp
// is asked again (watch) after each thing that can have changed its mind: frames from the guest, events, a timer.
//
// A segment larger than the MTU is handed over as it is: libslirp takes any TCP segment that lies in its window, once
// the checksum is there.
#include <errno.h>
#include <linux/if_tun.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/limits.h"
#include "io/net_user.h"

enum { BATCH = 128, FD_MAX = 1 << 20 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static const struct {
	int slirp;
	uint32_t epoll;
} bits[] = {{SLIRP_POLL_IN, EPOLLIN}, {SLIRP_POLL_OUT, EPOLLOUT}, {SLIRP_POLL_PRI, EPOLLPRI},
	    {SLIRP_POLL_ERR, EPOLLERR}, {SLIRP_POLL_HUP, EPOLLHUP}};

static struct net_polled *polled_at(struct net_user *u, int fd)
{
	struct net_polled *more;
	int size = u->polled_size;

	if (fd < 0 || fd >= FD_MAX)
		return NULL;
	if (fd < size)
		return &u->polled[fd];
	while (fd >= size)
		size = size ? size * 2 : 64;
	more = realloc(u->polled, (size_t)size * sizeof(*more));
	if (!more)
		return NULL;
	memset(more + u->polled_size, 0, (size_t)(size - u->polled_size) * sizeof(*more));
	u->polled = more;
	u->polled_size = size;
	return &more[fd];
}

// The set that epoll has, made the one that is wanted now.
static void update(struct net_user *u, int fd)
{
	struct net_polled *p = &u->polled[fd];
	uint32_t wanted = p->round == u->round ? p->wanted : 0;
	struct epoll_event ev = {.events = wanted, .data.fd = fd};
	int op = !wanted ? EPOLL_CTL_DEL : p->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (wanted == p->registered)
		return;
	if (epoll_ctl(u->poll.fd, op, fd, &ev) < 0 && wanted) // closed behind our back, and the number given out again
		epoll_ctl(u->poll.fd, op == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev);
	p->registered = wanted;
}

static int add_poll(int fd, int events, void *opaque)
{
	struct net_user *u = opaque;
	struct net_polled *p = polled_at(u, fd);

	if (!p)
		return -1;
	p->wanted = p->ready = 0;
	p->round = u->round;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (events & bits[i].slirp)
			p->wanted |= bits[i].epoll;
	return fd;
}

static int get_ready(int fd, void *opaque)
{
	const struct net_user *u = opaque;
	int events = 0;

	if (fd < 0 || fd >= u->polled_size || u->polled[fd].round != u->round)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (u->polled[fd].ready & bits[i].epoll)
			events |= bits[i].slirp;
	return events;
}

// Ask libslirp what it waits for now.
static void watch(struct net_user *u)
{
	uint32_t timeout = UINT32_MAX;

	if (u->polling)
		return;
	u->round++;
	slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
	for (int fd = 0; fd < u->polled_size; fd++)
		update(u, fd);
	loop_timer_set(&u->timer, timeout == UINT32_MAX ? 0 : now_ns() + (uint64_t)timeout * 1000000 + 1);
}

static void delivered(struct net_user *u)
{
	net_gather_flush(&u->net, &u->gather);
	net_delivered(&u->net);
}

static void on_ready(void *opaque, uint32_t events)
{
	struct net_user *u = opaque;
	struct epoll_event ready[BATCH];
	int n;

	net_enter(&u->net);
	n = epoll_wait(u->poll.fd, ready, BATCH, 0);
	for (int i = 0; i < n; i++)
		u->polled[ready[i].data.fd].ready = ready[i].events;
	u->polling = true;
	slirp_pollfds_poll(u->slirp, n < 0, get_ready, u);
	u->polling = false;
	delivered(u);
	watch(u);
	net_leave(&u->net);
}

static void on_timer(void *opaque)
{
	on_ready(opaque, 0);
}

static ssize_t to_guest(const void *frame, size_t size, void *opaque)
{
	struct net_user *u = opaque;
	struct iovec one = {(void *)frame, size};

	if ((u->net.guest_offloads & TUN_F_TSO4) && net_gather_add(&u->net, &u->gather, frame, size))
		return (ssize_t)size;
	net_gather_flush(&u->net, &u->gather);
	net_deliver(&u->net, &(struct net_frame){.iov = &one, .count = 1, .hdr.flags = NET_CHECKED});
	return (ssize_t)size;
}

int net_user_send(struct net *n, const struct net_frame *f)
{
	struct net_user *u = container_of(n, struct net_user, net);

	slirp_input(u->slirp, f->iov->iov_base, (int)f->iov->iov_len);
	return 0;
}

void net_user_flush(struct net *n)
{
	struct net_user *u = container_of(n, struct net_user, net);

	delivered(u);
	watch(u);
}

static void guest_error(const char *text, void *opaque)
{
}

static int64_t clock_ns(void *opaque)
{
	return (int64_t)now_ns();
}

struct user_timer {
	struct net_user *user;
	struct loop_timer timer;
	SlirpTimerCb fire;
	void *opaque;
};

static void timer_fired(void *opaque)
{
	struct user_timer *t = opaque;

	net_enter(&t->user->net);
	t->fire(t->opaque);
	delivered(t->user);
	watch(t->user);
	net_leave(&t->user->net);
}

static void *timer_new(SlirpTimerCb fire, void *fire_opaque, void *opaque)
{
	struct net_user *u = opaque;
	struct user_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct user_timer){.user = u, .fire = fire, .opaque = fire_opaque};
	if (loop_timer_add(u->net.loop, &t->timer, timer_fired, t) == 0)
		return t;
	free(t);
	return NULL;
}

static void timer_free(void *timer, void *opaque)
{
	struct user_timer *t = timer;
	struct net_user *u = opaque;

	if (t)
		loop_timer_remove(u->net.loop, &t->timer);
	free(t);
}

static void timer_mod(void *timer, int64_t ms, void *opaque)
{
	struct user_timer *t = timer;

	if (t)
		loop_timer_set(&t->timer, ms > 0 ? (uint64_t)ms * 1000000 : 1);
}

// A number that is new to libslirp: whatever was behind it before is gone from epoll.
static void register_fd(int fd, void *opaque)
{
	struct net_user *u = opaque;

	if (fd >= 0 && fd < u->polled_size)
		u->polled[fd].registered = 0;
}

static void unregister_fd(int fd, void *opaque)
{
	struct net_user *u = opaque;

	if (fd < 0 || fd >= u->polled_size)
		return;
	u->polled[fd].round = u->round - 1;
	update(u, fd);
}

static void notify(void *opaque)
{
}

static const SlirpCb callbacks = {
    .send_packet = to_guest,
    .guest_error = guest_error,
    .clock_get_ns = clock_ns,
    .timer_new = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_fd,
    .unregister_poll_fd = unregister_fd,
    .notify = notify,
};

static const char *text_or_null(const char *s)
{
	return *s ? s : NULL;
}

static Slirp *make(struct net_user *u, const struct net_user_config *c)
{
	const char *search[NET_SEARCH_MAX + 1] = {NULL};
	SlirpConfig s = {
	    .version = 1,
	    .restricted = c->restricted,
	    .in_enabled = !c->no_ipv4,
	    .in6_enabled = !c->no_ipv6,
	    .vnetwork = c->network,
	    .vnetmask = c->mask,
	    .vhost = c->host,
	    .vnameserver = c->dns,
	    .vdhcp_start = c->dhcp_start,
	    .vprefix_len = 64,
	    .vhostname = text_or_null(c->hostname),
	    .vdomainname = text_or_null(c->domain),
	    .bootfile = text_or_null(c->bootfile),
	    .tftp_path = text_or_null(c->tftp),
	    .tftp_server_name = text_or_null(c->tftp_name),
	    .vdnssearch = c->searches ? search : NULL,
	};

	for (unsigned i = 0; i < c->searches; i++)
		search[i] = c->search[i];
	inet_pton(AF_INET6, "fec0::", &s.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &s.vhost6);
	inet_pton(AF_INET6, "fec0::3", &s.vnameserver6);
	return slirp_new(&s, &callbacks, u);
}

// libslirp listens with no queue to speak of: of a thousand connections that come at once most would be asked to come
// back seconds later.
static void lengthen_queues(struct net_user *u)
{
	for (int fd = 0; fd < u->polled_size; fd++) {
		int listens = 0;
		socklen_t n = sizeof(listens);

		if (u->polled[fd].registered && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 && listens)
			listen(fd, SOMAXCONN);
	}
}

static int forward(struct net_user *u, const struct net_forward *f, char *err, size_t errlen)
{
	errno = 0;
	if (slirp_add_hostfwd(u->slirp, f->udp, f->host, f->host_port, f->guest, f->guest_port) == 0)
		return 0;
	snprintf(err, errlen, "hostfwd: cannot listen on %s port %u of %s: %s", f->udp ? "UDP" : "TCP", f->host_port,
		 f->host.s_addr ? inet_ntoa(f->host) : "any address", errno ? strerror(errno) : "libslirp refuses it");
	return errno ? -errno : -EINVAL;
}

int net_user_open(struct net *n, const struct net_config *c, char *err, size_t errlen)
{
	struct net_user *u = container_of(n, struct net_user, net);
	int r;

	u->timer.lf.fd = -1;
	n->offers = NET_CHECKSUM | NET_SEGMENT | NET_MERGED;
	u->poll = (struct loop_fd){
	    .fd = epoll_create1(EPOLL_CLOEXEC), .events = EPOLLIN, .ready = on_ready, .opaque = u};
	r = u->poll.fd < 0 ? -errno : loop_add(n->loop, &u->poll);
	if (r < 0 || (r = loop_timer_add(n->loop, &u->timer, on_timer, u)) < 0) {
		snprintf(err, errlen, "cannot set up the event loop: %s", strerror(-r));
		return r;
	}
	u->slirp = make(u, &c->user);
	if (!u->slirp) {
		snprintf(err, errlen, "libslirp refuses this network");
		return -EINVAL;
	}
	for (unsigned i = 0; i < c->user.forwards; i++) {
		r = forward(u, &c->user.forward[i], err, errlen);
		if (r < 0)
			return r;
	}
	watch(u);
	lengthen_queues(u);
	host_raise_files(); // each connection is one or two
	return 0;
}

void net_user_close(struct net *n)
{
	struct net_user *u = container_of(n, struct net_user, net);

	if (u->slirp)
		slirp_cleanup(u->slirp);
	loop_timer_remove(n->loop, &u->timer);
	if (u->poll.fd > 0) {
		loop_remove(n->loop, &u->poll);
		close(u->poll.fd);
	}
	free(u->polled);
}
