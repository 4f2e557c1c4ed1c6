// SPDX-License-Identifier: MIT
//
// Frames: their size, a copy in one piece, and the Internet checksum that a guest has left to its network card. All
// that the header says is looked at against the frame's size before it is used.
#include <string.h>

#include "io/net.h"

size_t net_frame_size(const struct net_frame *f)
{
	size_t n = 0;

	for (unsigned i = 0; i < f->count; i++)
		n += f->iov[i].iov_len;
	return n;
}

void net_frame_copy(const struct net_frame *f, uint8_t *to)
{
	for (unsigned i = 0; i < f->count; i++) {
		memcpy(to, f->iov[i].iov_base, f->iov[i].iov_len);
		to += f->iov[i].iov_len;
	}
}

// The ones' complement sum does not care about byte order, so whole words are added as they lie in memory.
static uint16_t sum(const uint8_t *p, size_t n)
{
	uint64_t total = 0, word;
	uint8_t last[8] = {0};

	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		total += word;
		total += total < word;
	}
	memcpy(last, p, n);
	memcpy(&word, last, sizeof(word));
	total += word;
	total += total < word;
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

bool net_finish_checksum(uint8_t *frame, size_t size, const struct net_header *hdr)
{
	size_t at = (size_t)hdr->csum_start + hdr->csum_offset;
	uint16_t value;

	if (!(hdr->flags & NET_NEEDS_CSUM))
		return true;
	if (hdr->csum_start >= size || at + sizeof(value) > size)
		return false;
	value = (uint16_t)~sum(frame + hdr->csum_start, size - hdr->csum_start);
	if (!value)
		value = 0xffff; // zero would mean "none" in UDP; in TCP both are the same number
	memcpy(frame + at, &value, sizeof(value));
	return true;
}
