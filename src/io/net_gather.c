// SPDX-License-Identifier: MIT
//
// Gathering TCP segments. Only the plainest are: IPv4 without options or fragments, TCP without options, data and an
// acknowledgement. A segment is appended if it has the same headers but for what must differ, follows in sequence, and
// all before it were of one size; one that is smaller, or says PUSH, is the last. The large frame carries the sum over
// its pseudo-header, as a segmenting sender's does.
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>

#include "io/net_gather.h"

enum { IP_AT = ETH_HLEN, TCP_AT = IP_AT + 20, DATA_AT = TCP_AT + 20, TOTAL_MAX = 65535, PROTOCOL_TCP = 6,
       CHECKSUM_AT = 16, SEGMENT_TCP4 = 1 };

struct headers {
	struct iphdr ip;
	struct tcphdr tcp;
};

static void get(struct headers *h, const uint8_t *frame)
{
	memcpy(&h->ip, frame + IP_AT, sizeof(h->ip));
	memcpy(&h->tcp, frame + TCP_AT, sizeof(h->tcp));
}

static bool is_plain(const uint8_t *frame, size_t size)
{
	struct headers h;

	if (size <= DATA_AT || frame[12] != 8 || frame[13] != 0)
		return false;
	get(&h, frame);
	return h.ip.version == 4 && h.ip.ihl == 5 && h.ip.protocol == PROTOCOL_TCP &&
	       !(h.ip.frag_off & htons(IP_MF | IP_OFFMASK)) && ntohs(h.ip.tot_len) == size - IP_AT && h.tcp.doff == 5 &&
	       h.tcp.ack && !h.tcp.syn && !h.tcp.fin && !h.tcp.rst && !h.tcp.urg;
}

static bool follows(const struct net_gather *g, const uint8_t *frame, size_t size)
{
	struct headers a, b;

	get(&a, g->frame);
	get(&b, frame);
	return !memcmp(g->frame, frame, ETH_HLEN) && a.ip.saddr == b.ip.saddr && a.ip.daddr == b.ip.daddr &&
	       a.ip.tos == b.ip.tos && a.tcp.source == b.tcp.source && a.tcp.dest == b.tcp.dest &&
	       a.tcp.ack_seq == b.tcp.ack_seq && ntohl(b.tcp.seq) == g->next_seq && size - DATA_AT <= g->segment_size &&
	       g->size - IP_AT + size - DATA_AT <= TOTAL_MAX;
}

static uint32_t add(uint32_t total, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 2)
		total += (uint32_t)p[i] << 8 | p[i + 1];
	return total;
}

static uint16_t fold(uint32_t total)
{
	total = (total & 0xffff) + (total >> 16);
	return htons((uint16_t)((total & 0xffff) + (total >> 16)));
}

// Headers for all that there is now.
static void finish(struct net_gather *g)
{
	uint16_t total = (uint16_t)(g->size - IP_AT), big_endian = htons(total), zero = 0, sum;
	uint8_t *ip = g->frame + IP_AT;

	memcpy(ip + offsetof(struct iphdr, tot_len), &big_endian, sizeof(total));
	memcpy(ip + offsetof(struct iphdr, check), &zero, sizeof(zero));
	sum = (uint16_t)~fold(add(0, ip, sizeof(struct iphdr)));
	memcpy(ip + offsetof(struct iphdr, check), &sum, sizeof(sum));
	sum = fold(add(PROTOCOL_TCP + total - (uint32_t)sizeof(struct iphdr), ip + offsetof(struct iphdr, saddr), 8));
	memcpy(g->frame + TCP_AT + CHECKSUM_AT, &sum, sizeof(sum));
}

void net_gather_flush(struct net *n, struct net_gather *g)
{
	struct iovec one = {g->frame, g->size};
	struct net_frame f = {.iov = &one, .count = 1, .hdr.flags = NET_CHECKED};

	if (!g->size)
		return;
	if (g->segments > 1) {
		finish(g);
		f.hdr = (struct net_header){.flags = NET_NEEDS_CSUM,
					    .segment = SEGMENT_TCP4,
					    .header_size = DATA_AT,
					    .segment_size = g->segment_size,
					    .csum_start = TCP_AT,
					    .csum_offset = CHECKSUM_AT};
	}
	g->size = 0;
	net_deliver(n, &f);
}

static void append(struct net_gather *g, const uint8_t *frame, size_t size)
{
	struct headers h;

	get(&h, frame);
	memcpy(g->frame + g->size, frame + DATA_AT, size - DATA_AT);
	memcpy(g->frame + TCP_AT + 12, frame + TCP_AT + 12, 4); // flags and window: the latest
	g->size += size - DATA_AT;
	g->next_seq = ntohl(h.tcp.seq) + (uint32_t)(size - DATA_AT);
	g->segments++;
}

static void begin(struct net_gather *g, const uint8_t *frame, size_t size)
{
	memcpy(g->frame, frame, DATA_AT);
	g->size = DATA_AT;
	g->segments = 0;
	g->segment_size = (uint16_t)(size - DATA_AT);
	append(g, frame, size);
}

bool net_gather_add(struct net *n, struct net_gather *g, const uint8_t *frame, size_t size)
{
	struct headers h;

	if (!is_plain(frame, size) || size > sizeof(g->frame))
		return false;
	if (g->size && follows(g, frame, size)) {
		append(g, frame, size);
	} else {
		net_gather_flush(n, g);
		begin(g, frame, size);
	}
	get(&h, frame);
	if (h.tcp.psh || size - DATA_AT < g->segment_size)
		net_gather_flush(n, g);
	return true;
}
