// SPDX-License-Identifier: MIT
//
// Where in a hot unit's code its instructions are that can raise a host exception: noted in full while it is made, kept
// in three or four bytes each, as there are very many and a fault looks at one unit's. What a record has in common with
// the one before it is not kept: registers that are in memory, the recipe. The first byte says what follows.
#include "base/string.h"
#include "bt/bt.h"

enum {
	HAS_FLAGS = 7, HAS_SAVED_AX = BIT(3), HAS_HOMED = BIT(4), HAS_RECIPE = BIT(5), HAS_REST = BIT(6), HAS_WIDE = BIT(7),
};

static uint8_t *put(uint8_t *to, const void *value, unsigned size)
{
	memcpy(to, value, size);
	return to + size;
}

static const uint8_t *get(const uint8_t *from, void *value, unsigned size)
{
	memcpy(value, from, size);
	return from + size;
}

static uint8_t *encode(uint8_t *to, const struct insn_map *m, const struct insn_map *last)
{
	int host = m->host - last->host, guest = m->guest - last->guest;
	bool wide = host < 0 || host > UINT8_MAX || guest != (int8_t)guest;
	unsigned has = m->flags | (m->saved_ax ? HAS_SAVED_AX : 0) | (m->homed != last->homed ? HAS_HOMED : 0) |
		       (m->recipe != last->recipe ? HAS_RECIPE : 0) | (m->left || m->ahead ? HAS_REST : 0) |
		       (wide ? HAS_WIDE : 0);

	*to++ = (uint8_t)has;
	if (wide) {
		to = put(to, &m->host, sizeof(m->host));
		to = put(to, &m->guest, sizeof(m->guest));
	} else {
		*to++ = (uint8_t)host;
		*to++ = (uint8_t)guest;
	}
	to = has & HAS_HOMED ? put(to, &m->homed, sizeof(m->homed)) : to;
	to = has & HAS_RECIPE ? put(to, &m->recipe, sizeof(m->recipe)) : to;
	if (has & HAS_REST) {
		*to++ = m->left;
		*to++ = (uint8_t)m->ahead;
	}
	return to;
}

// m: the record before it, which it becomes.
static const uint8_t *decode(const uint8_t *from, struct insn_map *m)
{
	unsigned has = *from++;

	m->flags = has & HAS_FLAGS;
	m->saved_ax = has & HAS_SAVED_AX;
	m->left = 0;
	m->ahead = 0;
	if (has & HAS_WIDE) {
		from = get(from, &m->host, sizeof(m->host));
		from = get(from, &m->guest, sizeof(m->guest));
	} else {
		m->host = (uint16_t)(m->host + *from++);
		m->guest = (int16_t)(m->guest + (int8_t)*from++);
	}
	from = has & HAS_HOMED ? get(from, &m->homed, sizeof(m->homed)) : from;
	from = has & HAS_RECIPE ? get(from, &m->recipe, sizeof(m->recipe)) : from;
	if (has & HAS_REST) {
		m->left = *from++;
		m->ahead = (signed char)*from++;
	}
	return from;
}

void insn_map_keep(struct bt *b, struct tu *t)
{
	bool counts = ((const struct vcpu *)((const char *)b - BT_OFFSET))->counts;
	struct insn_map last = {0};
	uint8_t *to = b->map + b->nmaps, *start = to;

	for (unsigned i = 0; i < b->nnew_maps; i++) {
		struct insn_map *m = &b->new_map[i];

		if (m->flags != FLAGS_RECIPE)
			m->recipe = last.recipe; // of no use
		if (!counts)
			m->left = 0;
		to = encode(to, m, &last);
		last = *m;
	}
	t->nmaps = (uint16_t)(to - start);
	b->nmaps += t->nmaps;
	ASSERT(to - start <= UINT16_MAX && b->nmaps <= (b->segment + 1) * MAPS_SEGMENT);
}

// The last one at or before this offset in the unit's code. False: there is none.
bool insn_map_find(const struct bt *b, const struct tu *t, uint32_t host, struct insn_map *m)
{
	const uint8_t *from = b->map + t->first_map, *end = from + t->nmaps;
	struct insn_map next = {0};
	bool found = false;

	while (from < end) {
		from = decode(from, &next);
		if (next.host > host)
			break;
		*m = next;
		found = true;
	}
	return found;
}
