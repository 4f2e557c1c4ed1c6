// SPDX-License-Identifier: MIT
//
// A tap interface of the host, opened here by name or handed over open (fd=). With the host's virtio header before each
// frame, checksums and segmentation go through unfinished both ways; without it (an fd= made without IFF_VNET_HDR)
// frames are finished in net.c. Interfaces are set up by whoever owns them: no script is run.
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "io/net.h"

enum { BATCH = 64, PIECES = 64 };

struct tap {
	struct net net;
	struct loop_fd lf;
	bool blocked; // a frame of the guest's found no room
	size_t held;  // a frame for the guest that found none: its size in `frame`, with header
	uint8_t frame[sizeof(struct net_header) + NET_FRAME_MAX];
};

static int refuse(char *err, size_t errlen, const char *key, const char *value, const char *what)
{
	snprintf(err, errlen, "%s=%s: %s", key, value, what);
	return -EINVAL;
}

// A:B:C, a descriptor for each queue.
static int parse_fds(struct net_tap_config *c, const char *value, char *err, size_t errlen)
{
	char copy[128], *next = copy, *piece;

	snprintf(copy, sizeof(copy), "%s", value);
	for (c->queues = 0; (piece = strsep(&next, ":")); c->queues++) {
		if (c->queues == NET_QUEUES)
			return refuse(err, errlen, "fds", value, "8 at most");
		if (net_parse_fd("fds", piece, &c->fd[c->queues], err, errlen) < 0)
			return -EINVAL;
	}
	return 0;
}

static unsigned tap_queues(const struct net_config *c)
{
	return c->tap.queues ? c->tap.queues : 1;
}

static void tap_queue(struct net_config *c, unsigned i)
{
	c->tap.fd[0] = c->tap.fd[i];
}

static int tap_prop(struct net_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	static const char *const unbuilt[] = {"vhostfd", "vhostfds", "helper", "br", "sndbuf", "poll-us"};
	bool on;

	if (!strcmp(key, "ifname"))
		return net_parse_text(key, value, c->tap.ifname, sizeof(c->tap.ifname), err, errlen);
	if (!strcmp(key, "fd"))
		return net_parse_fd(key, value, &c->tap.fd[0], err, errlen);
	if (!strcmp(key, "fds"))
		return parse_fds(&c->tap, value, err, errlen);
	if (!strcmp(key, "queues")) {
		c->tap.queues = (unsigned)strtoul(value, NULL, 10);
		if (c->tap.queues < 1 || c->tap.queues > NET_QUEUES)
			return refuse(err, errlen, key, value, "give 1 to 8");
		return 0;
	}
	if (!strcmp(key, "script") || !strcmp(key, "downscript")) {
		if (strcmp(value, "no") && *value)
			return refuse(err, errlen, key, value, "no script is run; give no, and set up the interface before");
		c->tap.no_script |= *key == 's';
		return 0;
	}
	if (!strcmp(key, "vnet_hdr"))
		return net_parse_bool(key, value, &c->tap.header, err, errlen);
	if (!strcmp(key, "vhost") || !strcmp(key, "vhostforce")) {
		if (net_parse_bool(key, value, &on, err, errlen) < 0)
			return -EINVAL;
		return on ? refuse(err, errlen, key, value, "vhost is not built; leave it off") : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(unbuilt); i++)
		if (!strcmp(key, unbuilt[i]))
			return refuse(err, errlen, key, value, "this property is not built yet");
	return -ENOENT;
}

static int tap_check(struct net_config *c, char *err, size_t errlen)
{
	if (c->tap.fd[0] >= 0 && *c->tap.ifname)
		snprintf(err, errlen, "fd= and ifname= exclude each other");
	else if (c->tap.queues > 1 && c->tap.fd[c->tap.queues - 1] < 0 && !*c->tap.ifname)
		snprintf(err, errlen, "queues=%u: name the interface (ifname=)", c->tap.queues);
	else if (c->tap.fd[0] < 0 && !c->tap.no_script)
		snprintf(err, errlen, "no script is run to set up the interface: give script=no");
	else
		return 0;
	return -EINVAL;
}

static struct tap *tap_of(struct net *n)
{
	return container_of(n, struct tap, net);
}

// The frame in t->frame to the card. False: no room.
static bool give(struct tap *t, size_t size)
{
	size_t header = t->net.raw ? sizeof(struct net_header) : 0;
	struct iovec one = {t->frame + header, size - header};
	struct net_frame f = {.iov = &one, .count = 1};

	if (size < header)
		return true;
	memcpy(&f.hdr, t->frame, header);
	return net_offer(&t->net, &f) == 0;
}

static void listen_tap(struct tap *t)
{
	loop_want(t->net.loop, &t->lf, (t->held ? 0 : EPOLLIN) | (t->blocked ? EPOLLOUT : 0));
}

static void receive(struct tap *t)
{
	for (int i = 0; i < BATCH && !t->held; i++) {
		ssize_t n = read(t->lf.fd, t->frame, sizeof(t->frame));

		if (n <= 0)
			break;
		if (!give(t, (size_t)n))
			t->held = (size_t)n;
	}
	net_delivered(&t->net);
}

static void serve(struct tap *t, uint32_t events)
{
	if (events & EPOLLIN)
		receive(t);
	if ((events & EPOLLOUT) && t->blocked) {
		t->blocked = false;
		if (t->net.card.sendable)
			t->net.card.sendable(t->net.card.opaque);
	}
	if (events & (EPOLLERR | EPOLLHUP)) { // the interface is gone, or down
		loop_remove(t->net.loop, &t->lf);
		net_set_link(&t->net, false);
		return;
	}
	listen_tap(t);
}

static void on_ready(void *opaque, uint32_t events)
{
	struct tap *t = opaque;

	net_enter(&t->net);
	serve(t, events);
	net_leave(&t->net);
}

static void tap_card_ready(struct net *n)
{
	struct tap *t = tap_of(n);

	if (!t->held || !give(t, t->held))
		return;
	t->held = 0;
	net_delivered(n);
	listen_tap(t);
}

static int tap_send(struct net *n, const struct net_frame *f)
{
	struct tap *t = tap_of(n);
	struct iovec iov[PIECES + 1];
	struct net_header hdr = f->hdr;
	unsigned first = n->raw ? 1 : 0;

	iov[0] = (struct iovec){&hdr, sizeof(hdr)};
	if (f->count > PIECES) {
		net_frame_copy(f, n->whole);
		iov[first] = (struct iovec){n->whole, net_frame_size(f)};
	} else {
		memcpy(iov + first, f->iov, f->count * sizeof(*iov));
	}
	if (writev(t->lf.fd, iov, (int)(first + (f->count > PIECES ? 1 : f->count))) >= 0)
		return 0;
	if (errno != EAGAIN && errno != ENOBUFS) {
		n->stats.dropped++; // the host's interface is down, or the frame is none
		return 0;
	}
	t->blocked = true;
	listen_tap(t);
	return -EAGAIN;
}

static void tap_guest_takes(struct net *n, unsigned offloads)
{
	if (n->raw)
		ioctl(tap_of(n)->lf.fd, TUNSETOFFLOAD, offloads);
}

static int attach_interface(struct tap *t, const struct net_tap_config *c, char *err, size_t errlen)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (c->header ? IFF_VNET_HDR : 0) |
						(c->queues > 1 ? IFF_MULTI_QUEUE : 0))};
	int fd = c->fd[0];

	if (fd >= 0) {
		t->lf.fd = fd;
		if (ioctl(fd, TUNGETIFF, &ifr) == 0 && (ifr.ifr_flags & IFF_TAP) && (ifr.ifr_flags & IFF_NO_PI)) {
			fcntl(fd, F_SETFD, FD_CLOEXEC);
			fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
			t->net.raw = ifr.ifr_flags & IFF_VNET_HDR;
			return 0;
		}
		snprintf(err, errlen, "fd=%d: not a tap interface without packet information", fd);
		return -EINVAL;
	}
	t->lf.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->lf.fd < 0) {
		snprintf(err, errlen, "cannot open /dev/net/tun: %s", strerror(errno));
		return -errno;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", *c->ifname ? c->ifname : "tap%d");
	if (ioctl(t->lf.fd, TUNSETIFF, &ifr) < 0) {
		snprintf(err, errlen, "cannot use the interface '%s': %s%s", ifr.ifr_name, strerror(errno),
			 errno == EPERM ? "; its owner is another, or it takes CAP_NET_ADMIN to make it" : "");
		return -errno;
	}
	t->net.raw = c->header;
	return 0;
}

static int tap_open(struct net *n, const struct net_config *c, char *err, size_t errlen)
{
	struct tap *t = tap_of(n);
	int size = sizeof(struct net_header);
	int r;

	t->lf = (struct loop_fd){.fd = -1, .events = EPOLLIN, .ready = on_ready, .opaque = t};
	r = attach_interface(t, &c->tap, err, errlen);
	if (r < 0)
		return r;
	if (n->raw) {
		n->offers = NET_CHECKSUM | NET_SEGMENT | NET_MERGED;
		ioctl(t->lf.fd, TUNSETVNETHDRSZ, &size);
		ioctl(t->lf.fd, TUNSETOFFLOAD, 0);
	}
	r = loop_add(n->loop, &t->lf);
	if (r < 0)
		snprintf(err, errlen, "cannot watch the interface: %s", strerror(-r));
	return r;
}

static void tap_close(struct net *n)
{
	struct tap *t = tap_of(n);

	loop_remove(n->loop, &t->lf);
	if (t->lf.fd >= 0)
		close(t->lf.fd);
}

const struct net_class net_tap_class = {
    .name = "tap",
    .size = sizeof(struct tap),
    .prop = tap_prop,
    .check = tap_check,
    .queues = tap_queues,
    .queue = tap_queue,
    .open = tap_open,
    .close = tap_close,
    .send = tap_send,
    .card_ready = tap_card_ready,
    .guest_takes = tap_guest_takes,
};
