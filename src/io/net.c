// SPDX-License-Identifier: MIT
//
// What all networks share: between a card and a back-end that cannot wait there is a short queue; between a card that
// leaves checksums to others and a back-end that wants whole frames, the frame is put together here.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/net.h"

enum { PENDING_MAX = 1024 };

struct net_pending {
	struct net_pending *next;
	struct net_header hdr;
	size_t size;
	uint8_t data[];
};

static int open_one(struct net **to, struct loop *l, const struct net_config *c, char *err, size_t errlen)
{
	const struct net_class *class = net_kind_class(c->kind);
	struct net *n = calloc(1, class->size);
	int r = -ENOMEM;

	*to = NULL;
	snprintf(err, errlen, "out of memory");
	if (!n)
		return r;
	n->class = class;
	n->loop = l;
	n->up = true;
	n->offers = NET_CHECKSUM;
	n->pending_end = &n->pending;
	n->whole = malloc(NET_FRAME_MAX);
	if (n->whole)
		r = class->open(n, c, err, errlen);
	if (r < 0) {
		net_close(n);
		return r;
	}
	*to = n;
	return 0;
}

int net_open(struct net **to, struct loop *l, const struct net_config *c, char *err, size_t errlen)
{
	const struct net_class *class = net_kind_class(c->kind);
	unsigned queues = class->queues ? class->queues(c) : 1;
	struct net **first = to;

	for (unsigned i = 0; i < queues; i++) {
		struct net_config one = *c;
		int r;

		if (class->queue)
			class->queue(&one, i);
		r = open_one(to, l, &one, err, errlen);
		if (r < 0) {
			net_close(i ? *first : NULL);
			*first = NULL;
			return r;
		}
		to = &(*to)->next;
	}
	return 0;
}

static void drop_pending(struct net *n)
{
	while (n->pending) {
		struct net_pending *p = n->pending;

		n->pending = p->next;
		free(p);
	}
	n->pending_end = &n->pending;
	n->pending_count = 0;
}

void net_close(struct net *n)
{
	if (!n)
		return;
	net_close(n->next);
	n->class->close(n);
	drop_pending(n);
	free(n->whole);
	free(n);
}

void net_attach(struct net *n, const struct net_card *card)
{
	drop_pending(n);
	n->card = card ? *card : (struct net_card){0};
}

void net_enter(struct net *n)
{
	if (n->card.enter)
		n->card.enter(n->card.opaque);
}

void net_leave(struct net *n)
{
	if (n->card.leave)
		n->card.leave(n->card.opaque);
}

static void update_link(struct net *n)
{
	bool up = !n->no_link && !n->cut;

	if (n->up == up)
		return;
	n->up = up;
	if (n->card.link)
		n->card.link(n->card.opaque, up);
}

void net_set_link(struct net *n, bool up)
{
	n->no_link = !up;
	update_link(n);
}

void net_cut(struct net *n, bool cut)
{
	for (; n; n = n->next) {
		net_enter(n);
		n->cut = cut;
		update_link(n);
		net_leave(n);
	}
}

// A frame in one piece, with nothing left to be done.
static int send_whole(struct net *n, const struct net_frame *f, size_t size)
{
	struct iovec one = {n->whole, size};
	const struct net_frame whole = {.iov = &one, .count = 1};

	net_frame_copy(f, n->whole);
	if (net_finish_checksum(n->whole, size, &f->hdr))
		return n->class->send(n, &whole);
	n->stats.dropped++;
	return 0;
}

int net_send(struct net *n, const struct net_frame *f)
{
	size_t size = net_frame_size(f);
	int r;

	if (!n->up || size < ETH_HLEN || size > NET_FRAME_MAX) {
		n->stats.dropped++;
		return 0;
	}
	r = n->raw ? n->class->send(n, f) : send_whole(n, f, size);
	if (r == 0) {
		n->stats.sent++;
		n->stats.sent_bytes += size;
	}
	return r;
}

void net_flush(struct net *n)
{
	if (n->class->flush)
		n->class->flush(n);
}

void net_guest_takes(struct net *n, unsigned offloads)
{
	n->guest_offloads = offloads;
	if (n->class->guest_takes)
		n->class->guest_takes(n, offloads);
}

int net_offer(struct net *n, const struct net_frame *f)
{
	if (!n->card.receive || !n->up) {
		n->stats.dropped++;
		return 0;
	}
	if (!n->card.receive(n->card.opaque, f))
		return -EAGAIN;
	n->stats.received++;
	n->stats.received_bytes += net_frame_size(f);
	return 0;
}

void net_delivered(struct net *n)
{
	if (n->card.received)
		n->card.received(n->card.opaque);
}

static void keep(struct net *n, const struct net_frame *f)
{
	size_t size = net_frame_size(f);
	struct net_pending *p = n->pending_count < PENDING_MAX ? malloc(sizeof(*p) + size) : NULL;

	if (!p) {
		n->stats.dropped++;
		return;
	}
	p->next = NULL;
	p->hdr = f->hdr;
	p->size = size;
	net_frame_copy(f, p->data);
	*n->pending_end = p;
	n->pending_end = &p->next;
	n->pending_count++;
}

void net_deliver(struct net *n, const struct net_frame *f)
{
	if (n->pending || net_offer(n, f) < 0)
		keep(n, f);
}

void net_card_ready(struct net *n)
{
	bool some = n->pending != NULL;

	while (n->pending) {
		struct net_pending *p = n->pending;
		struct iovec one = {p->data, p->size};

		if (net_offer(n, &(struct net_frame){.iov = &one, .count = 1, .hdr = p->hdr}) < 0)
			break;
		n->pending = p->next;
		n->pending_count--;
		free(p);
	}
	if (!n->pending)
		n->pending_end = &n->pending;
	if (some)
		net_delivered(n);
	if (!n->pending && n->class->card_ready)
		n->class->card_ready(n);
}
