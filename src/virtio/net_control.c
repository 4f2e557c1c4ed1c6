// SPDX-License-Identifier: MIT
//
// virtio-net's control queue (Virtio 1.x, "Control Virtqueue"): which frames the driver wants to see, the card's
// address, how many pairs of queues it uses, and offloads switched while it runs. A command is a class, a number and
// data; the answer is one byte. A list of addresses that is too long for us makes the card take all of that kind.
#include "virtio/net.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>

enum { COMMAND = 2 /* class and number */, COUNT = 4, MACS = ETH_ALEN };

void virtio_net_reset_filter(struct virtio_net *v)
{
	v->filter = (struct virtio_net_filter){.promiscuous = true};
}

static bool listed(const uint8_t (*macs)[MACS], unsigned n, const uint8_t *mac)
{
	for (unsigned i = 0; i < n; i++)
		if (!memcmp(macs[i], mac, MACS))
			return true;
	return false;
}

bool virtio_net_wants(const struct virtio_net *v, const uint8_t *frame)
{
	static const uint8_t broadcast[MACS] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const struct virtio_net_filter *f = &v->filter;

	if (f->promiscuous)
		return true;
	if (!memcmp(frame, broadcast, MACS))
		return !f->no_broadcast;
	if (frame[0] & 1)
		return !f->no_multicast &&
		       (f->all_multicast || listed(f->mac + f->unicasts, f->macs - f->unicasts, frame));
	return !f->no_unicast &&
	       (f->all_unicast || !memcmp(frame, v->space.mac, MACS) || listed(f->mac, f->unicasts, frame));
}

static bool receive_mode(struct virtio_net *v, uint8_t command, bool on)
{
	bool *const modes[] = {
	    [VIRTIO_NET_CTRL_RX_PROMISC] = &v->filter.promiscuous,
	    [VIRTIO_NET_CTRL_RX_ALLMULTI] = &v->filter.all_multicast,
	    [VIRTIO_NET_CTRL_RX_ALLUNI] = &v->filter.all_unicast,
	    [VIRTIO_NET_CTRL_RX_NOMULTI] = &v->filter.no_multicast,
	    [VIRTIO_NET_CTRL_RX_NOUNI] = &v->filter.no_unicast,
	    [VIRTIO_NET_CTRL_RX_NOBCAST] = &v->filter.no_broadcast,
	};

	if (command >= ARRAY_SIZE(modes))
		return false;
	*modes[command] = on;
	return true;
}

// One of the two tables at *at. False: it is not whole.
static bool read_table(const struct virtio_chain *c, uint64_t *at, struct virtio_net_filter *f, bool *overflow)
{
	uint32_t n;

	if (virtio_chain_read(c, *at, &n, COUNT) < COUNT || n > (c->read_size - *at - COUNT) / MACS)
		return false;
	*at += COUNT;
	if (n > VIRTIO_NET_MACS - f->macs) {
		*overflow = true;
	} else {
		virtio_chain_read(c, *at, f->mac[f->macs], n * MACS);
		f->macs += n;
	}
	*at += (uint64_t)n * MACS;
	return true;
}

static bool set_tables(struct virtio_net *v, const struct virtio_chain *c)
{
	struct virtio_net_filter f = v->filter;
	bool too_many_unicast = false, too_many_multicast = false;
	uint64_t at = COMMAND;

	f.macs = 0;
	if (!read_table(c, &at, &f, &too_many_unicast))
		return false;
	f.unicasts = f.macs;
	if (!read_table(c, &at, &f, &too_many_multicast))
		return false;
	f.all_unicast = too_many_unicast;
	f.all_multicast |= too_many_multicast;
	v->filter = f;
	return true;
}

void virtio_net_set_offloads(struct virtio_net *v, uint64_t features)
{
	static const struct {
		unsigned feature, offload;
	} map[] = {{VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM},
		   {VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
		   {VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
		   {VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN}};
	unsigned offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (features & BIT64(map[i].feature))
			offloads |= map[i].offload;
	if (!(offloads & TUN_F_CSUM) || !(v->pair[0].net && (v->pair[0].net->offers & NET_MERGED)))
		offloads &= TUN_F_CSUM;
	for (unsigned i = 0; i < v->space.max_pairs; i++)
		if (v->pair[i].net)
			net_guest_takes(v->pair[i].net, offloads);
}

static bool set_offloads(struct virtio_net *v, const struct virtio_chain *c)
{
	uint64_t wanted;

	if (!virtio_has(&v->dev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    virtio_chain_read(c, COMMAND, &wanted, sizeof(wanted)) < sizeof(wanted) || (wanted & ~v->dev.features))
		return false;
	virtio_net_set_offloads(v, wanted);
	return true;
}

static bool set_pairs(struct virtio_net *v, const struct virtio_chain *c)
{
	uint16_t pairs;

	if (!virtio_has(&v->dev, VIRTIO_NET_F_MQ) || virtio_chain_read(c, COMMAND, &pairs, sizeof(pairs)) < sizeof(pairs) ||
	    !pairs || pairs > v->space.max_pairs)
		return false;
	v->active = pairs;
	return true;
}

static bool obey(struct virtio_net *v, const struct virtio_chain *c)
{
	uint8_t command[COMMAND + 1];
	size_t n = virtio_chain_read(c, 0, command, sizeof(command));
	bool has_value = n == sizeof(command);

	if (n < COMMAND)
		return false;
	switch (command[0]) {
	case VIRTIO_NET_CTRL_RX:
		return has_value && receive_mode(v, command[1], command[COMMAND]);
	case VIRTIO_NET_CTRL_MAC:
		if (command[1] == VIRTIO_NET_CTRL_MAC_TABLE_SET)
			return set_tables(v, c);
		return command[1] == VIRTIO_NET_CTRL_MAC_ADDR_SET && c->read_size >= COMMAND + MACS &&
		       virtio_chain_read(c, COMMAND, v->space.mac, MACS) == MACS;
	case VIRTIO_NET_CTRL_MQ:
		return command[1] == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && set_pairs(v, c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return command[1] == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && set_offloads(v, c);
	}
	return false;
}

void virtio_net_control(struct virtio_net *v, struct virtq *q)
{
	struct virtio_chain c = {.iov = v->out, .room = VIRTQ_SEGMENTS_MAX};

	while (virtq_pop(q, &c)) {
		uint8_t answer = obey(v, &c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

		virtq_push(q, c.head, (uint32_t)virtio_chain_write(&c, 0, &answer, sizeof(answer)));
	}
	virtq_signal(q);
}
