// SPDX-License-Identifier: MIT
//
// virtio-net (Virtio 1.x, "Network Device"): one pair of queues and the control queue. Frames go from guest memory to
// the back-end without a stop where it takes them in pieces; checksums and segmentation are the guest's to leave undone
// as far as the back-end can do without or finish them.
//
// While frames are taken from the send queue the driver is not asked to kick, so a burst costs one doorbell; what a
// burst brings in is one interrupt. Between batches the lock is let go for a moment: the back-end's other half waits
// for it.
#include "virtio/net.h"

#include <linux/virtio_net.h>
#include <sched.h>
#include <string.h>

enum { RX, TX, CONTROL, QUEUES };
enum { HEADER = sizeof(struct virtio_net_hdr_v1), MERGE_MAX = 64, SEND_BATCH = 64 };

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
static bool fill(struct virtio_net *v, const struct net_frame *f, struct merge *m)
{
	struct virtq *q = &v->dev.queue[RX];
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
	struct virtio_net *v = opaque;
	struct virtq *q = &v->dev.queue[RX];
	struct merge m;

	if (!virtio_running(&v->dev) || !q->enabled || net_frame_size(f) < ETH_HLEN || f->iov->iov_len < ETH_ALEN ||
	    !virtio_net_wants(v, f->iov->iov_base))
		return true;
	if (!fill(v, f, &m))
		return !virtio_running(&v->dev);
	if (!m.count) {
		v->net->stats.dropped++;
		return true;
	}
	put_header(&m, f, virtio_has(&v->dev, VIRTIO_NET_F_GUEST_CSUM));
	virtq_push_all(q, m.count, m.head, m.written);
	return true;
}

static void net_received(void *opaque)
{
	struct virtio_net *v = opaque;

	virtq_signal(&v->dev.queue[RX]);
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
static bool send_chain(struct virtio_net *v, struct virtio_chain *c)
{
	struct net_frame f = {0};

	if (virtio_chain_read(c, 0, &f.hdr, sizeof(f.hdr)) < sizeof(f.hdr) || !v->net)
		return true;
	f.count = skip_header(c, &f.iov);
	return !f.count || !header_is_agreed(&v->dev, &f.hdr) || net_send(v->net, &f) == 0;
}

static bool send_batch(struct virtio_net *v)
{
	struct virtq *q = &v->dev.queue[TX];

	for (int i = 0; i < SEND_BATCH; i++) {
		struct virtio_chain c = {.iov = v->out, .room = VIRTQ_SEGMENTS_MAX};

		if (!virtq_pop(q, &c))
			return false;
		if (!send_chain(v, &c)) {
			virtq_unpop(q, c.head);
			v->blocked = true;
			return false;
		}
		virtq_push(q, c.head, 0);
	}
	return true;
}

static void send_frames(struct virtio_net *v)
{
	bool more = !v->blocked && !v->sending;

	while (more) {
		more = send_batch(v) && !v->blocked;
		virtq_signal(&v->dev.queue[TX]);
		if (v->net)
			net_flush(v->net);
		if (!more)
			break;
		v->sending = true;
		pthread_mutex_unlock(&v->dev.lock);
		sched_yield();
		pthread_mutex_lock(&v->dev.lock);
		v->sending = false;
	}
}

static void net_sendable(void *opaque)
{
	struct virtio_net *v = opaque;

	v->blocked = false;
	send_frames(v);
}

// -- the device

static void net_kick(struct virtio_device *d, unsigned q)
{
	struct virtio_net *v = container_of(d, struct virtio_net, dev);

	if (q == TX)
		send_frames(v);
	else if (q == CONTROL)
		virtio_net_control(v, &d->queue[CONTROL]);
	else if (v->net)
		net_card_ready(v->net);
}

static void net_started(struct virtio_device *d)
{
	virtio_net_set_offloads(container_of(d, struct virtio_net, dev), d->features);
}

static void net_reset(struct virtio_device *d)
{
	struct virtio_net *v = container_of(d, struct virtio_net, dev);

	v->blocked = false;
	virtio_net_reset_filter(v);
	virtio_net_set_offloads(v, 0);
}

static void net_link(void *opaque, bool up)
{
	struct virtio_net *v = opaque;

	v->space.status = up ? VIRTIO_NET_S_LINK_UP : 0;
	virtio_config_changed(&v->dev);
}

static void net_enter_card(void *opaque)
{
	pthread_mutex_lock(&((struct virtio_net *)opaque)->dev.lock);
}

static void net_leave_card(void *opaque)
{
	pthread_mutex_unlock(&((struct virtio_net *)opaque)->dev.lock);
}

static void net_destroy(struct virtio_device *d)
{
	struct virtio_net *v = container_of(d, struct virtio_net, dev);

	if (v->net)
		net_attach(v->net, NULL);
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

void virtio_net_init(struct virtio_net *v, const struct mem *mem, struct net *net, const struct virtio_net_options *o)
{
	const struct net_card card = {.enter = net_enter_card, .leave = net_leave_card, .receive = net_receive,
				      .received = net_received, .sendable = net_sendable, .link = net_link, .opaque = v};

	virtio_init(&v->dev, &net_class, mem, QUEUES);
	v->dev.offered |= offers(net, o);
	v->dev.config = &v->space;
	v->dev.config_size = sizeof(v->space);
	v->space.status = net && net->up ? VIRTIO_NET_S_LINK_UP : 0;
	v->space.max_pairs = 1;
	v->space.mtu = o->mtu;
	memcpy(v->space.mac, o->mac, sizeof(o->mac));
	v->net = net;
	virtio_net_reset_filter(v);
	if (net)
		net_attach(net, &card);
}
