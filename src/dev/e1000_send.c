// SPDX-License-Identifier: MIT
//
// See dev/e1000.h: the transmit ring ("Transmit Descriptor Ring Structure", "TCP Segmentation"). Descriptors put a
// frame together; with the last of it checksums are put in, a segmentation is cut, and it goes to the network. All
// offsets that contexts name are looked at against the frame.
#include <string.h>

#include "dev/e1000.h"

enum { LENGTH = 8, COMMAND = 11, STATUS = 12, OPTIONS = 13, SPECIAL = 14, CSO = 10, CSS = 13 }; // bytes of a descriptor
enum { EOP = BIT(0), INSERT = BIT(2), SEGMENT = BIT(2), REPORT = BIT(3), EXTENDED = BIT(5), TAGGED = BIT(6),
	DONE = BIT(0) };
enum { TYPE_SHIFT = 20, TYPE_CONTEXT = 0, TYPE_DATA = 1, LENGTH_MASK = 0xfffff, IP_SUM = BIT(0), TCP_SUM = BIT(1) };
enum { IS_TCP = BIT(0), IS_IPV4 = BIT(1), ADDRESSES = 12, TAG = 4, MINIMUM = 14, FCS = 4, TCP_FIN_PUSH = 0x09,
	TCTL_EN = BIT(1) };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static void put_be(uint8_t *p, unsigned size, uint32_t value)
{
	for (unsigned i = size; i--; value >>= 8)
		p[i] = (uint8_t)value;
}

static uint32_t get_be(const uint8_t *p, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value = value << 8 | p[i];
	return value;
}

// False: the network has no room; it will say when.
static bool to_network(struct e1000 *e, uint8_t *frame, size_t size)
{
	const struct e1000_sending *s = &e->sending;
	uint8_t tag[TAG];
	const struct iovec whole = {frame, size};
	const struct iovec tagged[] = {{frame, ADDRESSES}, {tag, TAG}, {frame + ADDRESSES, size - ADDRESSES}};
	struct net_frame f = {.iov = s->tagged ? tagged : &whole, .count = s->tagged ? ARRAY_SIZE(tagged) : 1};
	size_t all = size + (s->tagged ? TAG : 0) + FCS;

	put_be(tag, 2, *e1000_reg(e, E1000_VET));
	put_be(tag + 2, 2, s->tag);
	if (e->net && net_send(e->net, &f) < 0)
		return false;
	e1000_count(e, E1000_GPTC, 1);
	e1000_count(e, E1000_TPT, 1);
	e1000_count(e, E1000_GOTCL, all);
	e1000_count(e, E1000_TOTL, all);
	return true;
}

static void insert_sum(uint8_t *frame, size_t size, uint16_t from, uint16_t at, uint16_t end)
{
	const struct net_header h = {.flags = NET_NEEDS_CSUM, .csum_start = from, .csum_offset = (uint16_t)(at - from)};

	if (at >= from)
		net_finish_checksum(frame, end && end < size ? end + 1u : size, &h);
}

static void insert_sums(const struct e1000_context *c, uint8_t options, uint8_t *frame, size_t size)
{
	if (options & IP_SUM)
		insert_sum(frame, size, c->ip_start, c->ip_at, c->ip_end);
	if (options & TCP_SUM)
		insert_sum(frame, size, c->tcp_start, c->tcp_at, c->tcp_end);
}

// -- segmentation

static bool is_sound(const struct e1000_context *c, size_t size)
{
	unsigned tcp_least = c->tcp ? 20 : 8, ip_least = c->ipv4 ? 20 : 40;

	return c->mss && c->header >= MINIMUM && c->header < size && c->ip_start + ip_least <= c->tcp_start &&
	       c->tcp_start + tcp_least <= c->header && c->tcp_at >= c->tcp_start && c->tcp_at + 2u <= c->header &&
	       (!c->ipv4 || (c->ip_at >= c->ip_start && c->ip_at + 2u <= c->header));
}

// The header of the segment that begins at byte `at` of the payload, with so much of it.
static void put_header(const struct e1000_sending *s, const struct e1000_context *c, uint8_t *h, uint32_t at,
		       uint32_t part)
{
	bool last = c->header + at + part == s->size;
	uint32_t ip = c->header - c->ip_start + part, tcp = c->header - c->tcp_start + part, sum;
	uint8_t *ip_header = h + c->ip_start, *tcp_header = h + c->tcp_start;

	memcpy(h, s->bytes, c->header);
	if (c->ipv4) {
		put_be(ip_header + 2, 2, ip);
		put_be(ip_header + 4, 2, get_be(ip_header + 4, 2) + at / c->mss);
	} else {
		put_be(ip_header + 4, 2, ip - 40);
	}
	if (c->tcp) {
		put_be(tcp_header + 4, 4, get_be(tcp_header + 4, 4) + at);
		tcp_header[13] &= last ? 0xff : (uint8_t)~TCP_FIN_PUSH;
	} else {
		put_be(tcp_header + 4, 2, tcp);
	}
	sum = get_be(h + c->tcp_at, 2) + tcp; // the driver leaves the length out of the pseudo header
	put_be(h + c->tcp_at, 2, (sum & 0xffff) + (sum >> 16));
}

static bool transmit_segments(struct e1000 *e)
{
	struct e1000_sending *s = &e->sending;
	const struct e1000_context *c = &e->segmentation;
	uint8_t frame[UINT8_MAX + UINT16_MAX];

	if (!is_sound(c, s->size))
		return true; // a driver's error: it goes nowhere
	while (c->header + s->sent < s->size) {
		uint32_t part = MIN((uint32_t)c->mss, s->size - c->header - s->sent);

		put_header(s, c, frame, s->sent, part);
		memcpy(frame + c->header, s->bytes + c->header + s->sent, part);
		insert_sums(c, s->options, frame, c->header + part);
		if (!to_network(e, frame, c->header + part))
			return false;
		s->sent += part;
	}
	e1000_count(e, E1000_TSCTC, 1);
	return true;
}

static bool transmit(struct e1000 *e)
{
	struct e1000_sending *s = &e->sending;

	if (s->too_large || s->size < MINIMUM)
		return true;
	if (s->segments)
		return transmit_segments(e);
	insert_sums(&e->context, s->options, s->bytes, s->size);
	s->options = 0; // once, if it has to wait
	return to_network(e, s->bytes, s->size);
}

// -- descriptors

static void set_context(struct e1000 *e, const uint8_t *d)
{
	uint8_t command = d[COMMAND];
	struct e1000_context *c = command & SEGMENT ? &e->segmentation : &e->context;

	*c = (struct e1000_context){.ip_start = d[0], .ip_at = d[1], .ip_end = get16(d + 2), .tcp_start = d[4],
		.tcp_at = d[5], .tcp_end = get16(d + 6), .header = d[13], .mss = get16(d + 14),
		.ipv4 = command & IS_IPV4, .tcp = command & IS_TCP};
}

static void add_bytes(struct e1000 *e, gpa_t at, uint32_t size)
{
	struct e1000_sending *s = &e->sending;
	const void *from = mem_host(e->mem, at, size);

	if (!from || size > sizeof(s->bytes) - s->size) {
		s->too_large = true;
		return;
	}
	memcpy(s->bytes + s->size, from, size);
	s->size += size;
}

static void add_data(struct e1000 *e, const uint8_t *d)
{
	struct e1000_sending *s = &e->sending;
	bool extended = d[COMMAND] & EXTENDED;

	if (!s->begun) {
		s->size = s->sent = 0;
		s->begun = true;
		s->too_large = s->tagged = false;
		s->segments = extended && (d[COMMAND] & SEGMENT);
		s->options = extended ? d[OPTIONS] & (IP_SUM | TCP_SUM) : 0;
	}
	add_bytes(e, get32(d) | (uint64_t)get32(d + 4) << 32,
		  extended ? get32(d + LENGTH) & LENGTH_MASK : get16(d + LENGTH));
	if (!(d[COMMAND] & EOP))
		return;
	if ((d[COMMAND] & TAGGED) && (*e1000_reg(e, E1000_CTRL) & E1000_CTRL_VME)) {
		s->tagged = true;
		s->tag = get16(d + SPECIAL);
	}
	if (!extended && (d[COMMAND] & INSERT) && !s->too_large)
		insert_sum(s->bytes, s->size, d[CSS], d[CSO], 0);
	s->complete = true;
}

// False: it has to wait.
static bool process(struct e1000 *e, uint8_t *d)
{
	bool extended = d[COMMAND] & EXTENDED;
	unsigned type = get32(d + LENGTH) >> TYPE_SHIFT & 15;

	if (extended && type == TYPE_CONTEXT)
		set_context(e, d);
	else if ((!extended || type == TYPE_DATA) && !e->sending.complete)
		add_data(e, d);
	if (e->sending.complete) {
		if (!transmit(e))
			return false;
		e->sending.complete = e->sending.begun = false;
	}
	if (d[COMMAND] & REPORT) {
		e1000_written(e, d, E1000_DESCRIPTOR);
		d[STATUS] |= DONE;
	}
	return true;
}

void e1000_send(struct e1000 *e)
{
	uint32_t size = e1000_ring_size(e, E1000_TDBAL), *head = e1000_reg(e, E1000_TDH), tail = *e1000_reg(e, E1000_TDT);
	uint32_t causes = 0;

	for (uint32_t i = 0; i < size && *head < size && *head != tail && (*e1000_reg(e, E1000_TCTL) & TCTL_EN); i++) {
		uint8_t *d = e1000_descriptor(e, E1000_TDBAL, *head);

		if (e->blocked || !d)
			break;
		e->blocked = !process(e, d);
		if (e->blocked)
			break;
		causes |= d[COMMAND] & REPORT ? E1000_TXDW : 0;
		*head = (*head + 1) % size;
	}
	if (e->net)
		net_flush(e->net);
	if (*head == tail && size)
		causes |= E1000_TXQE;
	if (causes)
		e1000_raise(e, causes);
}
