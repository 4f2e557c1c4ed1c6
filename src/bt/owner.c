// SPDX-License-Identifier: MIT
//
// Whose code is it: from an address in the translation cache to the unit. Each block of the cache has the number of the
// first unit of its segment that has hot code in it; from there on units stand in the order of their numbers, so that
// a few records are looked at. What is left of an earlier filling of the segment is known by the record it leads to:
// that is not there yet, or stands elsewhere now.
#include "bt/bt.h"

static bool is_in_block(const struct tu *t, uint32_t block)
{
	return t->start >> OWNER_SHIFT <= block && block <= (t->start + t->code_size - 1) >> OWNER_SHIFT;
}

// The unit's hot code stands in the cache.
void tc_note_owner(struct bt *b, const struct tu *t)
{
	uint32_t id = (uint32_t)(t - b->tu), block = t->start >> OWNER_SHIFT;

	if ((id - 1) % TUS_SEGMENT && is_in_block(t - 1, block))
		block++;
	for (; is_in_block(t, block); block++)
		b->owner[block] = id;
}

static struct tu *owner_in(struct bt *b, unsigned segment, uint32_t at)
{
	uint32_t from = segment * TUS_SEGMENT + 1;
	uint32_t to = segment == b->segment ? b->ntus : b->segments[segment].ntus;
	uint32_t i = b->owner[at >> OWNER_SHIFT];

	if (i < from || i >= to || !is_in_block(&b->tu[i], at >> OWNER_SHIFT))
		return NULL;
	while (i < to && b->tu[i].start + b->tu[i].code_size <= at)
		i++;
	return i < to && b->tu[i].start <= at ? &b->tu[i] : NULL;
}

struct tu *tc_owner(struct bt *b, const uint8_t *host)
{
	uint64_t at = (uint64_t)(host - b->tc);

	for (unsigned i = 0; i < POOLS; i++) {
		const struct pool *r = &b->pool[i];

		if (at - r->start < r->n * r->size)
			return owner_in(b, r->first + (unsigned)(at - r->start) / r->size, (uint32_t)at);
	}
	return NULL;
}
