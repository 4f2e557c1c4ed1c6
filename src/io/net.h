// SPDX-License-Identifier: MIT
//
// Networks: what stands behind a network card. A struct net is one back-end (a user-mode network, a tap interface, a
// socket), made from a struct net_config, which is read from QEMU's spelling one property at a time. Card and back-end
// hand each other Ethernet frames, each with the virtio header that says what of its checksum and segmentation is left
// to be done; a back-end that does not offer NET_SEGMENT is never given a frame that is to be segmented, and what a
// back-end cannot carry unfinished is finished in net.c.
//
// The card sends from any thread, the back-end receives in the event loop; both only with the card's lock held, which
// back-ends take with net_enter(). A frame may arrive while one is being sent. What blocks says so: a card without room
// is asked again after net_card_ready(), a back-end without room calls sendable().
#ifndef IO_NET_H
#define IO_NET_H

#include <net/ethernet.h>
#include <netinet/in.h>
#include <sys/uio.h>

#include "host/loop.h"

enum { NET_FRAME_MAX = 65536 + 64, // with Ethernet header; a frame to be segmented fills an IP datagram
       NET_FORWARDS_MAX = 64, NET_SEARCH_MAX = 16 };

enum net_kind { NET_USER, NET_TAP, NET_STREAM, NET_SOCKET, NET_KINDS };

struct net_forward { // hostfwd=
	bool udp;
	struct in_addr host, guest; // guest 0: the first address DHCP gives
	uint16_t host_port, guest_port;
};

struct net_user_config {
	bool restricted, no_ipv4, no_ipv6;
	struct in_addr network, mask, host, dns, dhcp_start; // 0: derived from the network
	char hostname[34], domain[256], bootfile[256], tftp[256], tftp_name[65];
	unsigned forwards, searches;
	struct net_forward forward[NET_FORWARDS_MAX];
	char search[NET_SEARCH_MAX][256];
};

enum { NET_QUEUES = 8 };

struct net_tap_config {
	char ifname[16];
	int fd[NET_QUEUES]; // of each queue; -1: open one
	unsigned queues;    // queues=, or how many there are in fds=
	bool no_script, header;
};

struct net_address {
	enum { NET_ADDRESS_NONE, NET_ADDRESS_INET, NET_ADDRESS_UNIX, NET_ADDRESS_FD } type;
	char host[256], port[32], path[108];
	int fd;
};

struct net_stream_config {
	struct net_address address;
	bool server;
};

struct net_config {
	enum net_kind kind;
	bool taken; // else the place is free
	char id[64];
	union {
		struct net_user_config user;
		struct net_tap_config tap;
		struct net_stream_config stream; // NET_SOCKET too
	};
};

// What is left to be done: the first ten bytes of virtio's header, as the host's tap interfaces have it too.
struct net_header {
	uint8_t flags, segment; // enum net_flags; 0: nothing to be segmented, else virtio's number for how
	uint16_t header_size, segment_size, csum_start, csum_offset;
};
enum net_flags { NET_NEEDS_CSUM = 1, NET_CHECKED = 2 /* the checksum has been looked at, and is right */ };

struct net_frame {
	const struct iovec *iov;
	unsigned count;
	struct net_header hdr;
};

// The card's side. All but enter are called with its lock held.
struct net_card {
	void (*enter)(void *opaque); // take the lock
	void (*leave)(void *opaque);
	bool (*receive)(void *opaque, const struct net_frame *f); // false: no room now
	void (*received)(void *opaque); // the last of a batch: a good moment for an interrupt
	void (*sendable)(void *opaque); // after a net_send that was refused
	void (*link)(void *opaque, bool up);
	void *opaque;
};

enum net_offers { // of a back-end
	NET_CHECKSUM = BIT(0), // frames whose checksum is not finished; net.c does it where the back-end does not
	NET_SEGMENT = BIT(1),  // TCP frames larger than the MTU, from the guest
	NET_MERGED = BIT(2),   // ... and to the guest, if net_guest_takes says so
};

struct net;
struct net_class {
	const char *name;
	size_t size; // of the back-end's struct, whose first member is struct net
	// "": the value alone stands first. 0 or -EINVAL with a line in err; -ENOENT: no such property.
	int (*prop)(struct net_config *c, const char *key, const char *value, char *err, size_t errlen);
	int (*check)(struct net_config *c, char *err, size_t errlen); // all properties are read; may be NULL
	int (*open)(struct net *n, const struct net_config *c, char *err, size_t errlen);
	unsigned (*queues)(const struct net_config *c); // each is opened; NULL: there is one
	void (*queue)(struct net_config *c, unsigned i); // c is to be that of queue i alone
	void (*close)(struct net *n); // after an open that failed, too
	int (*send)(struct net *n, const struct net_frame *f); // 0: taken or dropped; -EAGAIN: sendable() will be called
	void (*flush)(struct net *n); // after the last send of a batch; may be NULL
	void (*card_ready)(struct net *n); // may be NULL
	void (*guest_takes)(struct net *n, unsigned offloads); // may be NULL
};

struct net_stats {
	uint64_t sent, sent_bytes, received, received_bytes, dropped; // frames; as the guest sees it
};

struct net_pending;
struct net {
	const struct net_class *class;
	struct net *next; // of a network with several queues: the next one's
	struct loop *loop;
	struct net_card card;
	unsigned offers; // enum net_offers; set by open
	bool raw; // by open: takes frames with their header as they are; else each is made whole, and one piece
	bool up; // what the card sees: the back-end has a link, and nobody has cut it
	bool no_link, cut;
	unsigned guest_offloads; // TUN_F_*: what the guest takes unfinished
	struct net_stats stats;
	struct net_pending *pending, **pending_end; // frames that found no room, for back-ends that cannot wait
	unsigned pending_count;
	uint8_t *whole; // net_send's frame in one piece
};

// By QEMU's name, or NULL. net_kind_class gives all, for help.
const struct net_class *net_kind_class(enum net_kind kind);
int net_kind_find(const char *name); // or -ENOENT
void net_config_init(struct net_config *c, enum net_kind kind);

// 0 or a negative errno with a line in err that names what is wrong; nothing is left behind.
int net_open(struct net **n, struct loop *l, const struct net_config *c, char *err, size_t errlen);
void net_close(struct net *n); // NULL is fine
void net_cut(struct net *n, bool cut); // an operator pulls the cable, of all queues

// For the card.
void net_attach(struct net *n, const struct net_card *card); // card NULL: detach
int net_send(struct net *n, const struct net_frame *f);
void net_flush(struct net *n);
void net_card_ready(struct net *n); // the card has room again
void net_guest_takes(struct net *n, unsigned offloads); // TUN_F_CSUM, TUN_F_TSO4, ...

// For back-ends: around all that they do in the event loop.
void net_enter(struct net *n);
void net_leave(struct net *n);

// For back-ends, entered. net_deliver keeps what finds no room (up to a limit, then drops); net_offer refuses it with
// -EAGAIN.
void net_deliver(struct net *n, const struct net_frame *f);
int net_offer(struct net *n, const struct net_frame *f);
void net_delivered(struct net *n);
void net_set_link(struct net *n, bool up);

// Pieces of properties (net_config.c).
int net_parse_bool(const char *key, const char *value, bool *to, char *err, size_t errlen);
int net_parse_text(const char *key, const char *value, char *to, size_t size, char *err, size_t errlen);
int net_parse_fd(const char *key, const char *value, int *to, char *err, size_t errlen);
int net_parse_port(const char *text, unsigned lowest, uint16_t *port);

// What is left of a frame's checksum (net_frame.c). False: the header points outside of it.
bool net_finish_checksum(uint8_t *frame, size_t size, const struct net_header *hdr);
size_t net_frame_size(const struct net_frame *f);
void net_frame_copy(const struct net_frame *f, uint8_t *to);

extern const struct net_class net_user_class, net_tap_class, net_stream_class, net_socket_class;

#endif
