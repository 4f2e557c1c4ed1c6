// SPDX-License-Identifier: MIT
//
// TCP segments that come one after the other become one large frame, to be segmented by nobody: what a card's receive
// offload does. The guest then looks at one frame instead of forty.
#ifndef IO_NET_GATHER_H
#define IO_NET_GATHER_H

#include "io/net.h"

struct net_gather {
	size_t size;         // of the frame so far; 0: none
	unsigned segments;
	uint16_t segment_size;
	uint32_t next_seq;
	uint8_t frame[NET_FRAME_MAX];
};

// Take a frame whose checksums are right. False: it is no part of anything; the caller delivers it, after a flush.
bool net_gather_add(struct net *n, struct net_gather *g, const uint8_t *frame, size_t size);
void net_gather_flush(struct net *n, struct net_gather *g); // deliver what there is

#endif
