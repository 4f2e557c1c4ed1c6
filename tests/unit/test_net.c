// SPDX-License-Identifier: MIT
//
// Networks with a card that the test plays: ARP, DHCP and a forwarded TCP connection through the user-mode network,
// frames over stream sockets whole and in pieces, back pressure both ways, checksums, properties that are refused.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "io/net_gather.h"

static int failures;

#define CHECK(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			failures++; \
		} \
	} while (0)

static struct loop loop;
static struct loop_timer alarm_timer;

// -- a card

enum { KEPT = 64 };
struct card {
	unsigned count;
	size_t size[KEPT];
	uint8_t frame[KEPT][2048];
	bool no_room, sendable, up;
	int stop_after; // leave the loop when that many have come
};

static bool card_receive(void *opaque, const struct net_frame *f)
{
	struct card *c = opaque;

	if (c->no_room || c->count == KEPT)
		return false;
	if (net_frame_size(f) <= sizeof(c->frame[0])) {
		c->size[c->count] = net_frame_size(f);
		net_frame_copy(f, c->frame[c->count++]);
	}
	if ((int)c->count >= c->stop_after)
		loop_quit(&loop);
	return true;
}

static void card_sendable(void *opaque)
{
	((struct card *)opaque)->sendable = true;
}

static void card_link(void *opaque, bool up)
{
	((struct card *)opaque)->up = up;
	loop_quit(&loop);
}

static struct card card;

static struct net *attach(struct net *n)
{
	memset(&card, 0, sizeof(card));
	card.stop_after = 1;
	if (n)
		net_attach(n, &(struct net_card){.receive = card_receive, .sendable = card_sendable, .link = card_link,
						 .opaque = &card});
	return n;
}

static void on_alarm(void *opaque)
{
	*(bool *)opaque = true;
	loop_quit(&loop);
}

// Run the loop until the card says so. False: nothing came.
static bool run(unsigned ms)
{
	struct timespec ts;
	bool late = false;

	alarm_timer.opaque = &late;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	loop_timer_set(&alarm_timer, (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec + ms * UINT64_C(1000000));
	loop_run(&loop);
	loop_timer_set(&alarm_timer, 0);
	return !late;
}

static int send_bytes(struct net *n, const void *frame, size_t size)
{
	struct iovec two[2] = {{(void *)frame, 10}, {(uint8_t *)(uintptr_t)frame + 10, size - 10}};
	int r = net_send(n, &(struct net_frame){.iov = two, .count = 2});

	net_flush(n);
	return r;
}

// -- properties

static int configure(struct net_config *c, enum net_kind kind, const char *text, char *err, size_t errlen)
{
	const struct net_class *class = net_kind_class(kind);
	char copy[1024], *rest = copy, *piece;
	int r = 0;

	net_config_init(c, kind);
	snprintf(copy, sizeof(copy), "%s", text);
	while (r == 0 && (piece = strsep(&rest, ",")) != NULL && *piece) {
		char *value = strchr(piece, '=');

		*value++ = 0;
		r = class->prop(c, piece, value, err, errlen);
	}
	return r == 0 && class->check ? class->check(c, err, errlen) : r;
}

static struct net *make(enum net_kind kind, const char *text)
{
	struct net_config c;
	struct net *n = NULL;
	char err[400] = "";

	if (configure(&c, kind, text, err, sizeof(err)) < 0 || net_open(&n, &loop, &c, err, sizeof(err)) < 0)
		fprintf(stderr, "%s: %s\n", text, err);
	return n;
}

static void test_properties(void)
{
	static const struct {
		enum net_kind kind;
		const char *text;
		bool right;
	} cases[] = {
	    {NET_USER, "", true},
	    {NET_USER, "restrict=on,net=192.168.7.0/24,dhcpstart=192.168.7.20,dns=192.168.7.4,hostname=x", true},
	    {NET_USER, "net=192.168.7.0/255.255.240.0", true},
	    {NET_USER, "net=10.0.2.0/31", false}, // no room for host, name server and guest
	    {NET_USER, "net=10.0.2.0/30", true},
	    {NET_USER, "net=10.0.2.0/255.0.255.0", false},
	    {NET_USER, "net=10.0.2.0/33", false},
	    {NET_USER, "net=house", false},
	    {NET_USER, "dhcpstart=10.0.3.15", false},
	    {NET_USER, "dns=10.0.2.2", false},
	    {NET_USER, "restrict=perhaps", false},
	    {NET_USER, "hostfwd=tcp::0-:22,hostfwd=udp:127.0.0.1:53-10.0.2.20:53", true},
	    {NET_USER, "hostfwd=::8022-:22", true},
	    {NET_USER, "hostfwd=tcp::22", false},
	    {NET_USER, "hostfwd=tcp::22-:0", false},
	    {NET_USER, "hostfwd=tcp::65536-:22", false},
	    {NET_USER, "hostfwd=sctp::22-:22", false},
	    {NET_USER, "hostfwd=tcp:home:22-:22", false},
	    {NET_USER, "guestfwd=tcp:10.0.2.100:80-cmd:cat", false},
	    {NET_USER, "ipv4=off,ipv6=off", false},
	    {NET_USER, "colour=red", false},
	    {NET_TAP, "ifname=tap7,script=no,downscript=no,vhost=off", true},
	    {NET_TAP, "ifname=tap7", false},
	    {NET_TAP, "ifname=tap7,script=/etc/qemu-ifup", false},
	    {NET_TAP, "ifname=tap7,script=no,vhost=on", false},
	    {NET_TAP, "ifname=a-name-that-is-too-long,script=no", false},
	    {NET_TAP, "fd=12345", false},
	    {NET_STREAM, "addr.type=unix,addr.path=/x", true},
	    {NET_STREAM, "addr.type=inet,addr.host=localhost", false},
	    {NET_STREAM, "addr.type=pigeon", false},
	    {NET_STREAM, "", false},
	    {NET_SOCKET, "listen=:1234", true},
	    {NET_SOCKET, "connect=127.0.0.1:1234", true},
	    {NET_SOCKET, "connect=:1234", false},
	    {NET_SOCKET, "listen=:0", false},
	    {NET_SOCKET, "listen=:1,connect=x:2", false},
	    {NET_SOCKET, "mcast=230.0.0.1:1234", false},
	    {NET_SOCKET, "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_config c;
		char err[400] = "";
		int r = configure(&c, cases[i].kind, cases[i].text, err, sizeof(err));

		if ((r == 0) != cases[i].right || (r < 0 && r != -ENOENT && !*err)) {
			fprintf(stderr, "'%s': %d %s\n", cases[i].text, r, err);
			failures++;
		}
	}
}

// -- checksums

static uint16_t reference_sum(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static void test_checksum(void)
{
	uint8_t frame[1600];

	for (size_t size = 60; size < sizeof(frame); size += 7) {
		struct net_header h = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};

		for (size_t i = 0; i < size; i++)
			frame[i] = (uint8_t)(size % 3 ? rand() : 0xff);
		CHECK(net_finish_checksum(frame, size, &h));
		// With the checksum in it the whole sums up to all ones, once what was in its place is taken out again.
		frame[40] = frame[41] = 0;
		h.csum_offset = 6;
		CHECK(net_finish_checksum(frame, size, &h));
		CHECK(reference_sum(frame + 34, size - 34) == 0xffff);
	}
	for (unsigned at = 0; at < 65536; at += 251) {
		struct net_header h = {
		    .flags = NET_NEEDS_CSUM, .csum_start = (uint16_t)at, .csum_offset = (uint16_t)(at * 7)};

		CHECK(net_finish_checksum(frame, 60, &h) == (at < 60 && at + h.csum_offset + 2 <= 60));
	}
}

// -- the user-mode network

static const uint8_t our_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

static uint16_t checksum(const void *p, size_t n, uint32_t start)
{
	uint32_t s = start + reference_sum(p, n);

	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

static void put_ethernet(uint8_t *f, const uint8_t *to, uint16_t type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, our_mac, 6);
	f[12] = (uint8_t)(type >> 8);
	f[13] = (uint8_t)type;
}

static size_t put_ip(uint8_t *f, uint8_t protocol, uint32_t from, uint32_t to, size_t payload)
{
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = protocol, .saddr = htonl(from),
			   .daddr = htonl(to)};

	ip.tot_len = htons((uint16_t)(sizeof(ip) + payload));
	ip.check = checksum(&ip, sizeof(ip), 0);
	memcpy(f + 14, &ip, sizeof(ip));
	return 14 + sizeof(ip) + payload;
}

static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

// The first kept frame of this type and protocol (0: any), or NULL; the others are forgotten.
static uint8_t *take(uint16_t type, uint8_t protocol)
{
	for (unsigned i = 0; i < card.count; i++) {
		uint8_t *f = card.frame[i];

		if ((f[12] << 8 | f[13]) == type && (!protocol || f[23] == protocol)) {
			card.size[i] = 0;
			f[12] = 0;
			return f;
		}
	}
	return NULL;
}

static uint8_t *wait_for(uint16_t type, uint8_t protocol)
{
	uint8_t *f;

	while (!(f = take(type, protocol))) {
		card.count = 0;
		card.stop_after = 1;
		if (!run(3000))
			return NULL;
	}
	return f;
}

static bool arp(struct net *n, uint32_t of, uint8_t *mac)
{
	uint8_t f[60] = {0}, *answer;
	const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
	uint32_t us = htonl(0x0a00020f), them = htonl(of);

	put_ethernet(f, broadcast, 0x0806);
	memcpy(f + 14, head, 8);
	memcpy(f + 22, our_mac, 6);
	memcpy(f + 28, &us, 4);
	memcpy(f + 38, &them, 4);
	card.count = 0;
	CHECK(send_bytes(n, f, sizeof(f)) == 0);
	answer = wait_for(0x0806, 0);
	if (!answer || answer[21] != 2)
		return false;
	memcpy(mac, answer + 22, 6);
	return true;
}

static size_t put_dhcp_discover(uint8_t *f)
{
	const uint8_t options[] = {99, 130, 83, 99, 53, 1, 1, 255};
	struct udphdr udp = {.source = htons(68), .dest = htons(67), .len = htons(8 + 300)};
	size_t n;

	memset(f, 0, 400);
	put_ethernet(f, broadcast, 0x0800);
	n = put_ip(f, IPPROTO_UDP, 0, 0xffffffff, 8 + 300);
	memcpy(f + 34, &udp, 8);
	memcpy(f + 42, (const uint8_t[]){1, 1, 6, 0, 1, 2, 3, 4}, 8);
	memcpy(f + 42 + 28, our_mac, 6);
	memcpy(f + 42 + 236, options, sizeof(options));
	return n;
}

static void test_dhcp(struct net *n)
{
	uint8_t f[400], *answer;

	card.count = 0;
	CHECK(send_bytes(n, f, put_dhcp_discover(f)) == 0);
	answer = wait_for(0x0800, IPPROTO_UDP);
	CHECK(answer != NULL);
	if (!answer)
		return;
	CHECK(!memcmp(answer + 42 + 4, (const uint8_t[]){1, 2, 3, 4}, 4));
	CHECK(!memcmp(answer + 42 + 16, (const uint8_t[]){10, 0, 2, 15}, 4));
}

struct connection {
	struct net *net;
	uint8_t router[6];
	uint16_t port;
	uint32_t seq, ack;
};

// Leave the checksum to the network, as a guest with offload does.
static void send_tcp(struct connection *c, uint8_t flags, const void *data, size_t n)
{
	uint8_t f[2048] = {0};
	struct tcphdr tcp = {.source = htons(22), .dest = htons(c->port), .seq = htonl(c->seq), .ack_seq = htonl(c->ack),
			     .doff = 5, .window = htons(30000)};
	uint8_t pseudo[12] = {10, 0, 2, 15, 10, 0, 2, 2, 0, 6, (uint8_t)((20 + n) >> 8), (uint8_t)(20 + n)};
	struct iovec one = {f, 0};
	struct net_frame frame = {.iov = &one, .count = 1,
				  .hdr = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}};

	tcp.check = htons(reference_sum(pseudo, sizeof(pseudo)));
	memcpy(f + 34, &tcp, 20);
	f[47] = flags;
	memcpy(f + 54, data, n);
	put_ethernet(f, c->router, 0x0800);
	one.iov_len = put_ip(f, IPPROTO_TCP, 0x0a00020f, 0x0a000202, 20 + n);
	CHECK(net_send(c->net, &frame) == 0);
	net_flush(c->net);
	c->seq += (uint32_t)n + ((flags & (TH_SYN | TH_FIN)) != 0);
}

// Its payload's size, the payload at *data. Answers nothing.
static size_t get_tcp(struct connection *c, uint8_t want, const uint8_t **data)
{
	for (;;) {
		const uint8_t *f = wait_for(0x0800, IPPROTO_TCP);
		uint32_t seq;
		size_t head, size;

		if (!f)
			return 0;
		head = (size_t)(f[46] >> 4) * 4;
		size = (size_t)(f[16] << 8 | f[17]) - 20 - head;
		memcpy(&seq, f + 38, 4);
		if (want == TH_SYN)
			c->ack = ntohl(seq);
		if ((f[47] & want) != want || (want == TH_PUSH && !size) || ntohl(seq) != c->ack)
			continue;
		c->port = (uint16_t)(f[34] << 8 | f[35]);
		c->ack = ntohl(seq) + (uint32_t)size + ((f[47] & (TH_SYN | TH_FIN)) != 0);
		*data = f + 34 + head;
		return size + ((f[47] & (TH_SYN | TH_FIN)) != 0);
	}
}

static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	close(fd);
	return ntohs(a.sin_port);
}

static int connect_to(int port)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
	return fd;
}

static ssize_t await_bytes(int fd, void *to, size_t n)
{
	for (int i = 0; i < 100; i++) {
		ssize_t r = recv(fd, to, n, 0);

		if (r >= 0 || errno != EAGAIN)
			return r;
		card.stop_after = KEPT + 1;
		run(20);
	}
	return -1;
}

static void test_forward(struct net *n, int port)
{
	struct connection c = {.net = n, .seq = 1000};
	const uint8_t *data = NULL;
	char text[32] = "";
	int fd;

	CHECK(arp(n, 0x0a000202, c.router));
	fd = connect_to(port);
	card.count = 0;
	CHECK(get_tcp(&c, TH_SYN, &data) == 1);
	send_tcp(&c, TH_SYN | TH_ACK, "", 0);
	CHECK(send(fd, "hello", 5, 0) == 5);
	CHECK(get_tcp(&c, TH_PUSH, &data) == 5 && !memcmp(data, "hello", 5));
	send_tcp(&c, TH_ACK | TH_PUSH, "world", 5);
	CHECK(await_bytes(fd, text, sizeof(text)) == 5 && !strcmp(text, "world"));
	close(fd);
	CHECK(get_tcp(&c, TH_FIN, &data) >= 1);
	send_tcp(&c, TH_ACK | TH_FIN, "", 0);
}

// -- gathering

static struct net *gathered_by;
static struct net_gather gather;
static struct { size_t size; struct net_header hdr; uint8_t frame[8192]; } big;

static bool take_big(void *opaque, const struct net_frame *f)
{
	big.size = net_frame_size(f);
	big.hdr = f->hdr;
	if (big.size <= sizeof(big.frame))
		net_frame_copy(f, big.frame);
	card.count++;
	return true;
}

// One segment of a connection, its checksum aside. What net_gather_add says.
static bool segment(uint32_t seq, uint8_t flags, size_t n, uint16_t port)
{
	static uint8_t f[2048];
	struct tcphdr tcp = {.source = htons(80), .dest = htons(port), .seq = htonl(seq), .ack_seq = htonl(5), .doff = 5,
			     .window = htons((uint16_t)(100 + seq))};

	memset(f, 0, sizeof(f));
	put_ethernet(f, our_mac, 0x0800);
	memcpy(f + 34, &tcp, 20);
	f[47] = flags;
	for (size_t i = 0; i < n; i++)
		f[54 + i] = (uint8_t)(seq + i);
	return net_gather_add(gathered_by, &gather, f, put_ip(f, IPPROTO_TCP, 0x0a000202, 0x0a00020f, 20 + n));
}

static void check_big(unsigned count, size_t payload)
{
	uint8_t pseudo[12] = {10, 0, 2, 2, 10, 0, 2, 15, 0, 6, (uint8_t)((20 + payload) >> 8), (uint8_t)(20 + payload)};
	uint32_t sum = reference_sum(pseudo, sizeof(pseudo));

	CHECK(card.count == count && big.size == 54 + payload);
	CHECK(big.frame[16] == (uint8_t)((40 + payload) >> 8) && big.frame[17] == (uint8_t)(40 + payload));
	CHECK(reference_sum(big.frame + 14, 20) == 0xffff);
	for (size_t i = 0; i < payload; i++)
		if (big.frame[54 + i] != (uint8_t)(1000 + i)) {
			CHECK(!"payload");
			break;
		}
	if (!(big.hdr.flags & NET_NEEDS_CSUM))
		return;
	CHECK(big.hdr.segment == 1 && big.hdr.segment_size == 1000 && big.hdr.header_size == 54);
	CHECK(net_finish_checksum(big.frame, big.size, &big.hdr));
	sum += reference_sum(big.frame + 34, 20 + payload);
	CHECK((sum & 0xffff) + (sum >> 16) == 0xffff);
}

static void test_gather(void)
{
	gathered_by = attach(make(NET_USER, ""));
	if (!gathered_by)
		return;
	net_attach(gathered_by, &(struct net_card){.receive = take_big});
	CHECK(segment(1000, TH_ACK, 1000, 7) && segment(2000, TH_ACK, 1000, 7) && card.count == 0);
	CHECK(segment(3000, TH_ACK | TH_PUSH, 1000, 7)); // the last of a batch
	check_big(1, 3000);
	CHECK(big.hdr.flags == NET_NEEDS_CSUM && big.frame[47] == (TH_ACK | TH_PUSH));
	CHECK(segment(1000, TH_ACK, 1000, 7) && segment(2000, TH_ACK, 501, 7)); // a short one is the last, and odd
	check_big(2, 1501);
	CHECK(segment(1000, TH_ACK, 1000, 7) && segment(5000, TH_ACK, 1000, 7)); // not the next one
	check_big(3, 1000);
	CHECK(big.hdr.flags == NET_CHECKED);
	net_gather_flush(gathered_by, &gather);
	CHECK(card.count == 4);
	CHECK(segment(1000, TH_ACK, 1000, 7) && segment(2000, TH_ACK, 1000, 8) && card.count == 5); // another connection
	CHECK(!segment(3000, TH_ACK | TH_FIN, 1000, 8) && !segment(3000, TH_ACK, 0, 8) && !segment(3000, TH_SYN, 9, 8));
	net_gather_flush(gathered_by, &gather);
	net_gather_flush(gathered_by, &gather);
	CHECK(card.count == 6);
	net_close(gathered_by);
}

static void test_user(void)
{
	struct net_config c;
	struct net *n, *second = NULL;
	char text[200], err[400] = "";
	uint8_t mac[6];
	int port = free_port();

	snprintf(text, sizeof(text), "hostfwd=tcp:127.0.0.1:%d-:22", port);
	n = attach(make(NET_USER, text));
	CHECK(n != NULL);
	if (!n)
		return;
	CHECK(n->offers & NET_SEGMENT);
	CHECK(arp(n, 0x0a000202, mac) && arp(n, 0x0a000203, mac));
	test_dhcp(n);
	test_forward(n, port);
	CHECK(configure(&c, NET_USER, text, err, sizeof(err)) == 0);
	CHECK(net_open(&second, &loop, &c, err, sizeof(err)) == -EADDRINUSE && strstr(err, "cannot listen"));
	CHECK(n->stats.dropped == 0);
	net_close(n);
	n = attach(make(NET_USER, text)); // the port is free again
	CHECK(n != NULL);
	net_close(n);
}

// A card without room gets its frames later.
static void test_room(void)
{
	struct net *n = attach(make(NET_USER, ""));
	uint8_t f[400];

	if (!n)
		return;
	card.no_room = true;
	CHECK(send_bytes(n, f, put_dhcp_discover(f)) == 0);
	run(50);
	CHECK(card.count == 0);
	card.no_room = false;
	net_card_ready(n);
	CHECK(card.count > 0 && take(0x0800, IPPROTO_UDP));
	net_close(n);
}

// -- stream sockets

static int connect_unix(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void test_stream(void)
{
	char path[] = "/tmp/ringer-net-XXXXXX", text[200], err[400] = "";
	uint8_t wire[2 * (4 + 100)] = {0}, got[300];
	struct net_config c;
	struct net *n, *second = NULL;
	int fd;

	CHECK(mkdtemp(path) != NULL);
	snprintf(text, sizeof(text), "server=on,addr.type=unix,addr.path=%s/s", path);
	n = attach(make(NET_STREAM, text));
	CHECK(n && !n->up);
	if (!n)
		return;
	CHECK(configure(&c, NET_STREAM, text, err, sizeof(err)) == 0);
	CHECK(net_open(&second, &loop, &c, err, sizeof(err)) == -EADDRINUSE && strstr(err, "cannot listen on"));
	while (run(50)) // it looked whether anybody listens there, and hung up
		;
	fd = connect_unix(strstr(text, "/tmp"));
	CHECK(run(1000) && card.up);

	// Two frames, cut in the middle of the second one's length.
	wire[3] = wire[107] = 100;
	wire[4] = 1;
	wire[108] = 2;
	CHECK(send(fd, wire, 106, 0) == 106);
	CHECK(run(1000) && card.count == 1 && card.size[0] == 100 && card.frame[0][0] == 1);
	CHECK(send(fd, wire + 106, sizeof(wire) - 106, 0) > 0);
	CHECK(run(1000) && card.count == 2 && card.size[1] == 100 && card.frame[1][0] == 2);

	// No room: nothing is lost, and the order stays.
	card.no_room = true;
	CHECK(send(fd, wire, sizeof(wire), 0) > 0);
	run(50);
	CHECK(card.count == 2);
	card.no_room = false;
	net_card_ready(n);
	CHECK(card.count == 4 && card.frame[2][0] == 1 && card.frame[3][0] == 2);

	CHECK(send_bytes(n, wire + 4, 60) == 0);
	CHECK(recv(fd, got, sizeof(got), 0) == 64 && got[3] == 60 && got[4] == 1);

	// A peer that does not read: sends are refused, and it is said when they would not be.
	while (send_bytes(n, wire + 4, 100) == 0)
		;
	CHECK(!card.sendable);
	while (recv(fd, got, sizeof(got), 0) > 0)
		;
	card.stop_after = KEPT + 1;
	run(50);
	CHECK(card.sendable);

	// A length that is none ends the connection, and the next one is taken.
	memset(wire, 0xff, 4);
	CHECK(send(fd, wire, 4, 0) == 4);
	CHECK(run(1000) && !card.up);
	close(fd);
	fd = connect_unix(strstr(text, "/tmp"));
	CHECK(run(1000) && card.up);
	close(fd);
	net_close(n);
	CHECK(rmdir(path) == 0); // the socket's name is gone
}

static void test_tcp(void)
{
	char text[200];
	struct net *a, *b;
	uint8_t f[100] = {9};
	int port = free_port();

	snprintf(text, sizeof(text), "listen=127.0.0.1:%d", port);
	a = make(NET_SOCKET, text);
	snprintf(text, sizeof(text), "connect=127.0.0.1:%d", port);
	b = attach(make(NET_SOCKET, text));
	CHECK(a && b);
	if (!a || !b)
		return;
	run(50);
	CHECK(a->up && b->up);
	CHECK(send_bytes(a, f, sizeof(f)) == 0 && run(1000) && card.size[0] == 100 && card.frame[0][0] == 9);
	net_close(a);
	CHECK(run(1000) && !card.up);
	net_close(b);
}

// A tap interface takes rights that a build machine may not give; what it says then is a line.
static void test_tap(void)
{
	struct net_config c;
	struct net *n = NULL;
	char err[400] = "";
	int r;

	CHECK(configure(&c, NET_TAP, "script=no", err, sizeof(err)) == 0);
	r = net_open(&n, &loop, &c, err, sizeof(err));
	if (r < 0) {
		CHECK(*err && !strchr(err, '\n'));
		printf("no tap interface here: %s\n", err);
		return;
	}
	attach(n);
	CHECK(n->raw && (n->offers & NET_MERGED));
	net_guest_takes(n, TUN_F_CSUM | TUN_F_TSO4);
	net_close(n);
}

int main(void)
{
	CHECK(loop_init(&loop) == 0 && loop_timer_add(&loop, &alarm_timer, on_alarm, NULL) == 0);
	test_properties();
	test_checksum();
	test_user();
	test_gather();
	test_room();
	test_stream();
	test_tcp();
	test_tap();
	loop_timer_remove(&loop, &alarm_timer);
	loop_destroy(&loop);
	return failures != 0;
}
