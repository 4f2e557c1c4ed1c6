// SPDX-License-Identifier: MIT
//
// The translation cache in segments. They are filled one after the other, in a ring; the one that is come to is emptied
// first, so what goes is always the oldest part, and what is still in use is translated again. Each segment has ranges
// of its own in all tables of records, so that their numbers become free together.
//
// A unit may get code in a younger segment than its own (an entry for indirect branches, a way by the table); never in
// an older one. So code dies no earlier than the unit it serves.
//
// Only from the run loop, or the translator before it numbers anything: no unit is running.
#include "base/string.h"
#include "bt/bt.h"

struct range {
	uint32_t from, to;
};

static bool in(struct range r, uint32_t n)
{
	return n >= r.from && n < r.to;
}

static struct range units_of(const struct bt *b, unsigned segment)
{
	uint32_t first = segment * TUS_SEGMENT + 1;

	return (struct range){first, segment == b->segment ? b->ntus : b->segments[segment].ntus};
}

static struct range exits_of(const struct bt *b, unsigned segment)
{
	uint32_t first = segment * EXITS_SEGMENT + 1;

	return (struct range){first, segment == b->segment ? b->nexits : b->segments[segment].nexits};
}

bool tc_has_room(const struct bt *b)
{
	uint32_t n = b->segment + 1;

	return b->hot + EMIT_ROOM <= b->hot_end && b->cold + EMIT_ROOM <= b->cold_end &&
	       b->ntus + 1 < n * TUS_SEGMENT && b->nhots + 1 < n * HOTS_SEGMENT && b->nexits + 4 * TU_INSNS_MAX < n * EXITS_SEGMENT &&
	       b->nsites + 4 * TU_INSNS_MAX < n * SITES_SEGMENT && b->ninsns + TU_INSNS_MAX < n * INSNS_SEGMENT &&
	       b->nrelocs + 8 * TU_INSNS_MAX < n * RELOCS_SEGMENT && b->nmaps + 6 * TU_INSNS_MAX < n * MAPS_SEGMENT &&
	       b->base.nmaps + 2 * TRACE_INSNS < n * BASE_MAPS_SEGMENT;
}

static uint32_t segment_size(const struct bt *b)
{
	return (b->tc_size - b->base.cold_end) / b->nsegments;
}

// How much of a segment is hot code: as it was in the last one, within limits.
static uint32_t hot_share(const struct bt *b)
{
	uint32_t size = segment_size(b), used = b->hot - b->segments[b->segment].hot;
	uint32_t cold = b->cold - b->hot_end, share = size / 2;

	if (used + cold > size / 2)
		share = (uint32_t)((uint64_t)size * used / (used + cold));
	return (uint32_t)align_down(MIN(MAX(share, size / 4), size - size / 4), 64);
}

// The half that is full goes on in the upper part of what the other has left, if that is worth it.
static bool take_from_other(struct bt *b)
{
	uint32_t hot_left = b->hot_end - b->hot, cold_left = b->cold_end - b->cold;

	if (!b->next_share)
		b->next_share = hot_share(b);
	if (hot_left < EMIT_ROOM && cold_left >= 4 * EMIT_ROOM && b->cold > b->hot) { // owner_in: hot code ascends
		b->hot = (uint32_t)align_up(b->cold + cold_left / 2, 64);
		b->hot_end = b->cold_end;
		b->cold_end = b->hot;
	} else if (cold_left < EMIT_ROOM && hot_left >= 4 * EMIT_ROOM) {
		b->cold = (uint32_t)align_up(b->hot + hot_left / 2, 64);
		b->cold_end = b->hot_end;
		b->hot_end = b->cold;
	} else {
		return false;
	}
	b->wants_room = false;
	return tc_has_room(b);
}

// Begin to fill a segment, which is empty.
void tc_open_segment(struct bt *b, unsigned segment)
{
	uint32_t start = b->base.cold_end + segment * segment_size(b);
	uint32_t share = b->next_share ? b->next_share : b->hot ? hot_share(b) : segment_size(b) / 2;

	b->next_share = 0;
	b->segment = segment;
	b->hot = start;
	b->segments[segment].hot = b->hot;
	b->hot_end = b->cold = start + share;
	b->cold_end = start + segment_size(b);
	b->ntus = segment * TUS_SEGMENT + 1; // number 0 means none
	b->nhots = segment * HOTS_SEGMENT + 1;
	b->nexits = segment * EXITS_SEGMENT + 1;
	b->nsites = segment * SITES_SEGMENT + 1;
	b->nentries = segment ? segment * ENTRIES_SEGMENT : SITE_HEADS;
	b->ninsns = segment * INSNS_SEGMENT + 1;
	b->nmaps = segment * MAPS_SEGMENT;
	b->base.nmaps = segment * BASE_MAPS_SEGMENT;
	b->nrelocs = segment * RELOCS_SEGMENT;
	b->wants_room = false;
}

static void close_segment(struct bt *b)
{
	b->segments[b->segment].ntus = b->ntus;
	b->segments[b->segment].nexits = b->nexits;
	b->segments[b->segment].nentries = b->nentries;
}

// Exits of the range no longer lead to the unit.
static void drop_incoming(struct bt *b, struct tu *t, struct range exits)
{
	uint32_t *p = &t->incoming;

	while (*p) {
		struct exit *x = &b->exit[*p];

		if (in(exits, *p)) {
			x->target = 0;
			*p = x->next;
		} else {
			p = &x->next;
		}
	}
}

static void drop_links(struct bt *b, struct range exits)
{
	for (uint32_t i = exits.from; i < exits.to; i++)
		if (b->exit[i].target)
			drop_incoming(b, &b->tu[b->exit[i].target], exits);
	if (in(exits, b->link_exit))
		b->link_exit = 0;
}

static void empty_segment(struct vcpu *v, unsigned segment)
{
	struct bt *b = bt_of(v);
	struct range units = units_of(b, segment), exits = exits_of(b, segment);

	if (units.from >= units.to)
		return; // not come to before
	for (uint32_t i = units.from; i < units.to; i++) {
		struct tu *t = &b->tu[i];

		if (t->dead)
			continue;
		code_unwatch(b, t);
		tc_detach(b, t);
		b->st->tu_evicted++;
	}
	drop_links(b, exits);
	site_forget(b, segment ? segment * ENTRIES_SEGMENT : SITE_HEADS, b->segments[segment].nentries);
	if (in(units, b->last_unit))
		b->last_unit = 0;
	tc_forget_calls(v);
	code_drop_vpages(b);
	b->st->tc_evictions++;
}

// Go on in the next segment, when the present one is full.
void tc_make_room(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	unsigned next = (b->segment + 1) % b->nsegments;

	if (take_from_other(b))
		return;
	close_segment(b);
	empty_segment(v, next);
	tc_open_segment(b, next);
}

static void forget_page(struct bt *b, gpa_t gpa)
{
	b->page_head[gpa >> PAGE_SHIFT] = 0;
	peers_forget_code(b, gpa);
}

static void forget_pages(struct bt *b, struct range units)
{
	for (uint32_t i = units.from; i < units.to; i++) {
		forget_page(b, b->tu[i].gpa);
		if (tu_straddles(&b->tu[i]))
			forget_page(b, tu_gpa2(&b->tu[i]));
	}
}

// Throw away what is in all segments.
void tc_empty_segments(struct bt *b)
{
	for (unsigned s = 0; s < b->nsegments; s++)
		forget_pages(b, units_of(b, s));
	for (unsigned s = 0; s < b->nsegments; s++)
		b->segments[s] = (struct segment){.ntus = s * TUS_SEGMENT + 1, .nexits = s * EXITS_SEGMENT + 1};
	b->hot = b->next_share = 0;
	tc_open_segment(b, 0);
}

// Units of a segment are laid out in the order of their numbers.
static struct tu *owner_in(struct bt *b, struct range units, uint32_t host)
{
	while (units.from < units.to) {
		uint32_t mid = units.from + (units.to - units.from) / 2;
		struct tu *t = &b->tu[mid];

		if (host < t->start)
			units.to = mid;
		else if (host >= t->start + t->code_size)
			units.from = mid + 1;
		else
			return t;
	}
	return NULL;
}

struct tu *tc_owner(struct bt *b, const uint8_t *host)
{
	const uint8_t *first = b->tc + b->base.cold_end;

	if (host < first || host >= first + b->nsegments * segment_size(b))
		return NULL;
	return owner_in(b, units_of(b, (unsigned)(host - first) / segment_size(b)), (uint32_t)(host - b->tc));
}
