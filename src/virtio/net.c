// SPDX-License-Identifier: MIT
//
// virtio-net (Virtio 1.x, "Network Device"): pairs of queues, as many as the back-end has, and the control queue.
// Frames go from guest memory to the back-end without a stop where it takes them in pieces; checksums and
// segmentation are the guest's to leave undone as far as the back-end can do without or finish them.
//
// While frames are taken from the send queue the driver is not asked to kick, so a burst costs one doorbell; what a
// burst brings in is one interrupt. Between batches the lock is let go for a moment: the back-end's other half waits
// for it.
#include "virtio/net.h"

#include <linux/virtio_net.h>
#include <sched.h>
#include <string.h>

enum { HEADER = sizeof(struct virtio_net_hdr_v1), MERGE_MAX = 64, SEND_BATCH = 64 };

static struct virtq *receive_queue(const struct virtio_net_pair *p)
{
	return &p->card->dev.queue[2 * (p->index < p->card->active ? p->index : 0)];
}

static struct virtq *send_queue(const struct virtio_net_pair *p)
{
	return &p->card->dev.queue[2 * p->index + 1];
}

// -- to the guest

struct merge { // the buffers that one frame has filled
	struct virtio_chain first;
	unsigned count;
	uint32_t head[MERGE_MAX];
	uint32_t written[MERGE_MAX];
};

// The frame's part from byte `from` into a chain, at byte `at` of it; how much found room.
static size_t copy_part(const struct net_frame *f, size_t from, struct virtio_chain *c, size_t at)
{
	size_t done = 0;

	for (unsigned i = 0; i < f->count; i++) {
		size_t n = f->iov[i].iov_len;

		if (from >= n) {
			from -= n;
			continue;
		}
		n -= from;
		if (virtio_chain_write(c, at + done, (const uint8_t *)f->iov[i].iov_base + from, n) < n)
			return (size_t)c->write_size - at;
		done += n;
		from = 0;
	}
	return done;
}

static void take_back(struct virtq *q, const struct merge *m)
{
	for (unsigned i = m->count; i--;)
		virtq_unpop(q, m->head[i]);
}

// Fill buffers with the frame. Nothing is visible to the driver yet. False: there is no room for it now.
static bool fill(struct virtio_net *v, struct virtq *q, const struct net_frame *f, struct merge *m)
{
	bool may_merge = virtio_has(&v->dev, VIRTIO_NET_F_MRG_RXBUF);
	size_t size = net_frame_size(f), done = 0;

	for (m->count = 0; !m->count || done < size; m->count++) {
		struct virtio_chain c = {.iov = v->in[m->count != 0], .room = VIRTQ_SEGMENTS_MAX};
		size_t at = m->count ? 0 : HEADER;

		if (m->count && (!may_merge || m->count == MERGE_MAX)) {
			take_back(q, m);
			m->count = 0; // it can never be received
			return true;
		}
		if (!virtq_pop(q, &c)) {
			take_back(q, m);
			return false;
		}
		if (c.write_size < at) {
			virtio_fail(&v->dev, "a receive buffer has no room for the header");
			return false;
		}
		m->written[m->count] = (uint32_t)(at + copy_part(f, done, &c, at));
		m->head[m->count] = c.head;
		done += m->written[m->count] - at;
		if (!m->count)
			m->first = c;
	}
	return true;
}

static void put_header(struct merge *m, const struct net_frame *f, bool checked)
{
	struct virtio_net_hdr_v1 h = {.num_buffers = (uint16_t)m->count};

	memcpy(&h, &f->hdr, sizeof(f->hdr));
	if (!checked)
		h.flags = 0;
	virtio_chain_write(&m->first, 0, &h, sizeof(h));
}

static bool net_receive(void *opaque, const struct net_frame *f)
{
	struct virtio_net_pair *p = opaque;
	struct virtio_net *v = p->card;
	struct virtq *q = receive_queue(p);
	struct merge m;

	if (!virtio_running(&v->dev) || !q->enabled || net_frame_size(f) < ETH_HLEN || f->iov->iov_len < ETH_ALEN ||
	    !virtio_net_wants(v, f->iov->iov_base))
		return true;
	if (!fill(v, q, f, &m))
		return !virtio_running(&v->dev);
	if (!m.count) {
		p->net->stats.dropped++;
		return true;
	}
	put_header(&m, f, virtio_has(&v->dev, VIRTIO_NET_F_GUEST_CSUM));
	virtq_push_all(q, m.count, m.head, m.written);
	return true;
}

static void net_received(void *opaque)
{
	virtq_signal(receive_queue(opaque));
}

// -- from the guest

// The segments behind the header. 0: there are none.
static unsigned skip_header(struct virtio_chain *c, const struct iovec **from)
{
	size_t skip = HEADER;
	unsigned i = 0;

	for (; i < c->readable && skip >= c->iov[i].iov_len; i++)
		skip -= c->iov[i].iov_len;
	if (i == c->readable)
		return 0;
	c->iov[i].iov_base = (uint8_t *)c->iov[i].iov_base + skip;
	c->iov[i].iov_len -= skip;
	*from = c->iov + i;
	return c->readable - i;
}

// What the header asks for must have been agreed on; anything else is a guest's error, and its frame goes nowhere.
static bool header_is_agreed(const struct virtio_device *d, const struct net_header *h)
{
	switch (h->segment & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		if (!virtio_has(d, VIRTIO_NET_F_HOST_TSO4))
			return false;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		if (!virtio_has(d, VIRTIO_NET_F_HOST_TSO6))
			return false;
		break;
	default:
		return false;
	}
	return !(h->flags & NET_NEEDS_CSUM) || virtio_has(d, VIRTIO_NET_F_CSUM);
}

// False: the back-end has no room; the chain is still the driver's.
static bool send_chain(struct virtio_net_pair *p, struct virtio_chain *c)
{
	struct net_frame f = {0};

	if (virtio_chain_read(c, 0, &f.hdr, sizeof(f.hdr)) < sizeof(f.hdr) || !p->net)
		return true;
	f.count = skip_header(c, &f.iov);
	return !f.count || !header_is_agreed(&p->card->dev, &f.hdr) || net_send(p->net, &f) == 0;
}

static bool send_batch(struct virtio_net_pair *p)
{
	struct virtq *q = send_queue(p);

	for (int i = 0; i < SEND_BATCH; i++) {
		struct virtio_chain c = {.iov = p->card->out, .room = VIRTQ_SEGMENTS_MAX};

		if (!virtq_pop(q, &c))
			return false;
		if (!send_chain(p, &c)) {
			virtq_unpop(q, c.head);
			p->blocked = true;
			return false;
		}
		virtq_push(q, c.head, 0);
	}
	return true;
}

static void send_frames(struct virtio_net_pair *p)
{
	bool more = !p->blocked && !p->sending;

	while (more) {
		more = send_batch(p) && !p->blocked;
		virtq_signal(send_queue(p));
		if (p->net)
			net_flush(p->net);
		if (!more)
			break;
		p->sending = true;
		pthread_mutex_unlock(&p->card->dev.lock);
		sched_yield();
		pthread_mutex_lock(&p->card->dev.lock);
		p->sending = false;
	}
}

static void net_sendable(void *opaque)
{
	struct virtio_net_pair *p = opaque;

	p->blocked = false;
	send_frames(p);
}

// -- the device

// The control queue follows the pairs that the driver has agreed on.
static unsigned control_queue(const struct virtio_net *v)
{
	return virtio_has(&v->dev, VIRTIO_NET_F_MQ) ? 2 * v->space.max_pairs : VIRTIO_NET_CONTROL;
}

static void net_kick(struct virtio_device *d, unsigned q)
{
	struct virtio_net *v = container_of(d, struct virtio_net, dev);
	struct virtio_net_pair *p = &v->pair[q / 2 % NET_QUEUES];

	if (q == control_queue(v))
		virtio_net_control(v, &d->queue[q]);
	else if (q >= 2 * v->space.max_pairs)
		return; // without multiqueue, the last one is nobody's
	else if (q & 1)
		send_frames(p);
	else
		for (unsigned i = 0; i < v->space.max_pairs; i++) // all that this queue receives for
			if (v->pair[i].net && receive_queue(&v->pair[i]) == &d->queue[q])
				net_card_ready(v->pair[i].net);
}

static void net_started(struct virtio_device *d)
{
	virtio_net_set_offloads(container_of(d, struct virtio_net, dev), d->features);
}

static void net_reset(struct virtio_device *d)
{
	struct virtio_net *v = container_of(d, struct virtio_net, dev);

	for (unsigned i = 0; i < v->space.max_pairs; i++)
		v->pair[i].blocked = false;
	v->active = 1;
	virtio_net_reset_filter(v);
	virtio_net_set_offloads(v, 0);
}

static void net_link(void *opaque, bool up)
{
	struct virtio_net *v = ((struct virtio_net_pair *)opaque)->card;

	v->space.status = up ? VIRTIO_NET_S_LINK_UP : 0;
	virtio_config_changed(&v->dev);
}

static void net_enter_card(void *opaque)
{
	pthread_mutex_lock(&((struct virtio_net_pair *)opaque)->card->dev.lock);
}

static void net_leave_card(void *opaque)
{
	pthread_mutex_unlock(&((struct virtio_net_pair *)opaque)->card->dev.lock);
}

static void net_destroy(struct virtio_device *d)
{
	struct virtio_net *v = container_of(d, struct virtio_net, dev);

	for (unsigned i = 0; i < v->space.max_pairs; i++)
		if (v->pair[i].net)
			net_attach(v->pair[i].net, NULL);
}

static const struct virtio_class net_class = {
	.name = "virtio-net", .id = VIRTIO_ID_NET, .pci_class = 0x020000, .in_order = true, .kick = net_kick,
	.started = net_started, .reset = net_reset, .destroy = net_destroy,
};

static uint64_t offers(const struct net *net, const struct virtio_net_options *o)
{
	uint64_t f = BIT64(VIRTIO_NET_F_MAC) | BIT64(VIRTIO_NET_F_STATUS) | BIT64(VIRTIO_NET_F_CTRL_VQ) |
		     BIT64(VIRTIO_NET_F_CTRL_RX) | BIT64(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT64(VIRTIO_NET_F_CTRL_MAC_ADDR);
	unsigned can = net && !o->no_offloads ? net->offers : 0;

	if (!o->no_merge)
		f |= BIT64(VIRTIO_NET_F_MRG_RXBUF);
	if (o->mtu)
		f |= BIT64(VIRTIO_NET_F_MTU);
	if (can & NET_CHECKSUM)
		f |= BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_GUEST_CSUM);
	if (can & NET_SEGMENT)
		f |= BIT64(VIRTIO_NET_F_HOST_TSO4) | BIT64(VIRTIO_NET_F_HOST_TSO6) | BIT64(VIRTIO_NET_F_HOST_ECN);
	if (can & NET_MERGED)
		f |= BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6) | BIT64(VIRTIO_NET_F_GUEST_ECN) |
		     BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	return f;
}

static void attach(struct virtio_net *v, struct net *net, unsigned index)
{
	struct virtio_net_pair *p = &v->pair[index];
	const struct net_card card = {.enter = net_enter_card, .leave = net_leave_card, .receive = net_receive,
				      .received = net_received, .sendable = net_sendable, .link = net_link, .opaque = p};

	*p = (struct virtio_net_pair){.card = v, .net = net, .index = index};
	if (net)
		net_attach(net, &card);
}

void virtio_net_init(struct virtio_net *v, const struct mem *mem, struct net *net, const struct virtio_net_options *o)
{
	unsigned pairs = 1;

	for (struct net *n = net; o->multiqueue && n && n->next && pairs < NET_QUEUES; n = n->next)
		pairs++;
	virtio_init(&v->dev, &net_class, mem, 2 * pairs + 1);
	v->dev.offered |= offers(net, o);
	if (pairs > 1)
		v->dev.offered |= BIT64(VIRTIO_NET_F_MQ);
	v->dev.config = &v->space;
	v->dev.config_size = sizeof(v->space);
	v->space.status = net && net->up ? VIRTIO_NET_S_LINK_UP : 0;
	v->space.max_pairs = (uint16_t)pairs;
	v->space.mtu = o->mtu;
	v->active = 1;
	memcpy(v->space.mac, o->mac, sizeof(o->mac));
	virtio_net_reset_filter(v);
	for (unsigned i = 0; i < pairs; i++, net = net ? net->next : NULL)
		attach(v, net, i);
}
