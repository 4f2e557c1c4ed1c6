// SPDX-License-Identifier: MIT
//
// virtio-net: a network card on a back-end of io/net.h. See virtio/net.c.
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "io/net.h"
#include "virtio/virtio.h"

enum { VIRTIO_NET_MACS = 64, VIRTIO_NET_CONTROL = 2 /* the control queue, unless there are several pairs */ };

struct virtio_net_space { // configuration space
	uint8_t mac[6];
	uint16_t status, max_pairs, mtu;
} __attribute__((packed));

struct virtio_net_filter { // which frames the driver wants
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	unsigned unicasts, macs; // of the addresses, the first are unicast ones
	uint8_t mac[VIRTIO_NET_MACS][6];
};

struct virtio_net_pair { // of queues, and the back-end's part behind them
	struct virtio_net *card;
	struct net *net; // NULL: no cable
	unsigned index;
	bool blocked; // the back-end has no room for the next frame
	bool sending; // in the middle of a batch, perhaps without the lock
};

struct virtio_net {
	struct virtio_device dev;
	struct virtio_net_space space;
	struct virtio_net_filter filter;
	struct virtio_net_pair pair[NET_QUEUES];
	unsigned active; // so many of them the driver uses now
	struct iovec out[VIRTQ_SEGMENTS_MAX], in[2][VIRTQ_SEGMENTS_MAX];
};

struct virtio_net_options {
	bool multiqueue;   // as many pairs as the back-end has
	uint8_t mac[6];
	uint16_t mtu;      // told to the driver; 0: nothing is said
	bool no_offloads;  // neither checksums nor segmentation
	bool no_merge;     // no mergeable receive buffers
};

void virtio_net_init(struct virtio_net *v, const struct mem *mem, struct net *net, const struct virtio_net_options *o);

// The control queue (virtio/net_control.c).
bool virtio_net_wants(const struct virtio_net *v, const uint8_t *frame);
void virtio_net_reset_filter(struct virtio_net *v);
void virtio_net_control(struct virtio_net *v, struct virtq *q);
void virtio_net_set_offloads(struct virtio_net *v, uint64_t features);

#endif
