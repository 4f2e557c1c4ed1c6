// SPDX-License-Identifier: MIT
//
// The user-mode network: a small network inside ringer with a router, a DHCP and a DNS server, whose connections are
// ringer's own sockets (libslirp). Needs no rights.
#ifndef IO_NET_USER_H
#define IO_NET_USER_H

#include "io/net_gather.h"

struct Slirp;

// What libslirp waits for on one of its descriptors; indexed by the descriptor.
struct net_polled {
	uint32_t wanted, registered, ready; // epoll's bits; wanted and ready are of this round
	uint32_t round;
};

struct net_user {
	struct net net;
	struct Slirp *slirp;
	struct loop_fd poll; // an epoll of our own, which holds all of libslirp's descriptors
	struct loop_timer timer;
	struct net_polled *polled;
	int polled_size;
	uint32_t round;
	struct net_gather gather;
	bool polling; // within slirp_pollfds_poll
};

int net_user_open(struct net *n, const struct net_config *c, char *err, size_t errlen);
void net_user_close(struct net *n);
int net_user_send(struct net *n, const struct net_frame *f);
void net_user_flush(struct net *n);

#endif
