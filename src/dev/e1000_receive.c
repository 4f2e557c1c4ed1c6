// SPDX-License-Identifier: MIT
//
// See dev/e1000.h: which frames the card takes, and the receive ring ("Receive Packet Filtering", "Receive Descriptor
// Format"). A frame is given to the guest whole or not at all: the descriptors it needs must be there.
#include <string.h>

#include "dev/e1000.h"

enum { LENGTH = 8, SUM = 10, STATUS = 12, ERRORS = 13, SPECIAL = 14 }; // bytes of a descriptor
enum { DONE = BIT(0), EOP = BIT(1), IGNORE_SUM = BIT(2), TAG_TAKEN = BIT(3), TCP_CHECKED = BIT(5),
	IP_CHECKED = BIT(6) };
enum { RCTL_EN = BIT(1), UNICAST = BIT(3), MULTICAST = BIT(4), LONG = BIT(5), OFFSET_SHIFT = 12, BROADCAST = BIT(15),
	SIZE_SHIFT = 16, FILTER_TAGS = BIT(18), SIZE_TIMES_16 = BIT(25), STRIP_FCS = BIT(26),
	SUM_OFFLOAD = BIT(9) | BIT(8) };
enum { ADDRESSES = 12, TAG = 4, FCS = 4, MINIMUM = 60, LONGEST = 1522, LONG_MAX = 16384 };
#define ADDRESS_VALID BIT(31)

static bool is_own(struct e1000 *e, const uint8_t *to)
{
	for (unsigned i = 0; i < E1000_ADDRESSES; i++) {
		uint32_t low = *e1000_reg(e, E1000_RA + 8 * i), high = *e1000_reg(e, E1000_RA + 8 * i + 4);
		uint64_t mac = low | (uint64_t)high << 32;

		if ((high & ADDRESS_VALID) && !memcmp(to, &mac, 6))
			return true;
	}
	return false;
}

// The table of 4096 bits, asked with twelve bits of the address: which, RCTL says.
static bool is_in_table(struct e1000 *e, const uint8_t *to)
{
	static const uint8_t shift[] = {4, 3, 2, 0};
	unsigned bits = (to[4] | (unsigned)to[5] << 8) >> shift[*e1000_reg(e, E1000_RCTL) >> OFFSET_SHIFT & 3] & 0xfff;

	return *e1000_reg(e, E1000_MTA + bits / 32 * 4) >> bits % 32 & 1;
}

static bool wants_address(struct e1000 *e, const uint8_t *to)
{
	static const uint8_t all[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint32_t rctl = *e1000_reg(e, E1000_RCTL);

	if (!memcmp(to, all, sizeof(all)) && (rctl & BROADCAST))
		return true;
	if (to[0] & 1 ? rctl & MULTICAST : rctl & UNICAST)
		return true;
	return is_own(e, to) || ((to[0] & 1) && is_in_table(e, to));
}

struct incoming {
	uint8_t bytes[LONG_MAX + FCS];
	uint32_t size;    // with the check sequence, if the guest sees it
	bool tag_taken, checked;
	uint16_t tag;
};

// As the card would put it into memory. False: it does not take it.
static bool take_frame(struct e1000 *e, const struct net_frame *f, struct incoming *in)
{
	uint32_t rctl = *e1000_reg(e, E1000_RCTL);
	size_t size = net_frame_size(f);
	uint16_t tag;

	if (size < ADDRESSES + 2 || size > (rctl & LONG ? LONG_MAX : LONGEST - FCS))
		return false;
	net_frame_copy(f, in->bytes);
	if (!wants_address(e, in->bytes))
		return false;
	in->checked = f->hdr.flags & NET_CHECKED;
	in->tag_taken = false;
	tag = (uint16_t)(in->bytes[14] << 8 | in->bytes[15]);
	if (size >= ADDRESSES + TAG + 2u && (in->bytes[12] << 8 | in->bytes[13]) == (int)*e1000_reg(e, E1000_VET)) {
		if ((rctl & FILTER_TAGS) && !(*e1000_reg(e, E1000_VFTA + (tag & 0xfff) / 32 * 4) >> (tag & 31) & 1))
			return false;
		if (*e1000_reg(e, E1000_CTRL) & E1000_CTRL_VME) {
			memmove(in->bytes + ADDRESSES, in->bytes + ADDRESSES + TAG, size - ADDRESSES - TAG);
			size -= TAG;
			in->tag_taken = true;
			in->tag = tag;
		}
	}
	if (size < MINIMUM) { // on a cable it would have been padded
		memset(in->bytes + size, 0, MINIMUM - size);
		size = MINIMUM;
	}
	if (!(rctl & STRIP_FCS)) {
		memset(in->bytes + size, 0, FCS);
		size += FCS;
	}
	in->size = (uint32_t)size;
	return true;
}

static uint32_t buffer_size(uint32_t rctl)
{
	uint32_t size = 2048u >> (rctl >> SIZE_SHIFT & 3);

	return rctl & SIZE_TIMES_16 && size < 2048 ? size * 16 : size;
}

static uint8_t *buffer_of(struct e1000 *e, const uint8_t *d, uint32_t size)
{
	uint64_t at;

	memcpy(&at, d, sizeof(at));
	return mem_host(e->mem, at, size);
}

static void put_descriptor(struct e1000 *e, uint8_t *d, const struct incoming *in, uint32_t part, bool last)
{
	bool sums = *e1000_reg(e, E1000_RXCSUM) & SUM_OFFLOAD;
	uint8_t status = DONE;

	if (last)
		status |= EOP | (in->tag_taken ? TAG_TAKEN : 0) | (sums && in->checked ? TCP_CHECKED | IP_CHECKED : IGNORE_SUM);
	e1000_written(e, d, E1000_DESCRIPTOR);
	memcpy(d + LENGTH, &(uint16_t){(uint16_t)part}, 2);
	memset(d + SUM, 0, 2);
	d[ERRORS] = 0;
	memcpy(d + SPECIAL, &(uint16_t){last && in->tag_taken ? in->tag : 0}, 2);
	__atomic_store_n(d + STATUS, status, __ATOMIC_RELEASE); // the driver looks at this one first
}

static void count_frame(struct e1000 *e, const struct incoming *in)
{
	static const uint8_t all[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	e1000_count(e, E1000_GPRC, 1);
	e1000_count(e, E1000_TPR, 1);
	e1000_count(e, E1000_GORCL, in->size);
	e1000_count(e, E1000_TORL, in->size);
	if (!memcmp(in->bytes, all, sizeof(all)))
		e1000_count(e, E1000_BPRC, 1);
	else if (in->bytes[0] & 1)
		e1000_count(e, E1000_MPRC, 1);
}

bool e1000_receive(struct e1000 *e, const struct net_frame *f)
{
	uint32_t rctl = *e1000_reg(e, E1000_RCTL), ring = e1000_ring_size(e, E1000_RDBAL), each = buffer_size(rctl);
	uint32_t *head = e1000_reg(e, E1000_RDH), tail = *e1000_reg(e, E1000_RDT), needs;
	struct incoming in;

	if (!(rctl & RCTL_EN) || !take_frame(e, f, &in))
		return true;
	needs = (in.size + each - 1) / each;
	if (!ring || *head >= ring || tail >= ring || (tail + ring - *head) % ring < needs) {
		e1000_count(e, E1000_RNBC, 1);
		return false;
	}
	for (uint32_t done = 0; done < in.size; *head = (*head + 1) % ring) {
		uint32_t part = MIN(each, in.size - done);
		uint8_t *d = e1000_descriptor(e, E1000_RDBAL, *head), *to = d ? buffer_of(e, d, part) : NULL;

		if (!d)
			return true; // the ring is not in memory
		if (to) { // else it is lost, as on a bus without memory there
			e1000_written(e, to, part);
			memcpy(to, in.bytes + done, part);
		}
		done += part;
		put_descriptor(e, d, &in, part, done == in.size);
	}
	count_frame(e, &in);
	return true;
}
