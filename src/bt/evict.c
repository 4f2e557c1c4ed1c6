// SPDX-License-Identifier: MIT
//
// The translation cache in segments. When one is full, another is emptied and filled; what was in it and is still in
// use is translated again. Each segment has ranges of its own in all tables of records, so that their numbers become
// free together.
//
// There are two pools of them, of which one at a time is at hand (tc_turn): base code comes in thousands of units that
// run a few times, and shall not push out hot ones, which cost ten times as much to make and thousands of passes to
// find.
// Hot code goes by age. Of base code any segment may go, rather one with more dead units: programs that are run again
// and again, and are larger than the pool, would find nothing of theirs if it were always the oldest.
//
// A unit may get code in another segment than its own (an entry for indirect branches, a way to another unit), of the
// same pool. It is marked then, and loses that code with that segment.
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

static void close_segment(struct bt *b)
{
	b->segments[b->segment].ntus = b->ntus;
	b->segments[b->segment].nexits = b->nexits;
	b->segments[b->segment].nentries = b->nentries;
}

bool tc_has_room(const struct bt *b)
{
	uint32_t n = b->segment + 1, room = tc_room(b);

	return b->hot + room <= b->hot_end && b->cold + room <= b->cold_end &&
	       b->ntus + 1 < n * TUS_SEGMENT && b->nhots + 1 < n * HOTS_SEGMENT &&
	       b->nexits + 4 * TU_INSNS_MAX < n * EXITS_SEGMENT &&
	       b->nsites + 4 * TU_INSNS_MAX < n * SITES_SEGMENT && b->ninsns + TU_INSNS_MAX < n * INSNS_SEGMENT &&
	       b->nrelocs + 8 * TU_INSNS_MAX < n * RELOCS_SEGMENT &&
	       b->nmaps + NEW_MAPS * MAP_BYTES_MAX < n * MAPS_SEGMENT &&
	       b->base.nmaps + 2 * TRACE_INSNS < n * BASE_MAPS_SEGMENT;
}

// -- pools ------------------------------------------------------------------------------------------------------------

static enum pool_name pool_of(const struct bt *b, unsigned segment)
{
	return segment < b->pool[POOL_HOT].first ? POOL_BASE : POOL_HOT;
}

static unsigned count_segments(uint32_t size, unsigned max)
{
	return MIN(MAX(size / TC_SEGMENT_MIN, 1), max);
}

// What is behind the shared part of base code: half of it is for base units.
static void lay_out(struct bt *b)
{
	struct pool *base = &b->pool[POOL_BASE], *hot = &b->pool[POOL_HOT];
	uint32_t start = b->base.cold_end, size = b->tc_size - start;
	uint32_t part = (uint32_t)align_down(MAX(size / 2, TC_SEGMENT_MIN), PAGE_SIZE);

	*base = (struct pool){.start = start, .n = count_segments(part, BASE_SEGMENTS)};
	base->size = part / base->n;
	*hot = (struct pool){.start = start + part, .first = base->n,
		.n = count_segments(size - part, TC_SEGMENTS - BASE_SEGMENTS)};
	hot->size = (size - part) / hot->n;
	b->nsegments = base->n + hot->n;
}

// The pool at hand becomes this one.
static void turn_to(struct bt *b, enum pool_name pool)
{
	struct pool *r = &b->pool[b->pool_now];

	if (pool == b->pool_now)
		return;
	close_segment(b);
	*r = (struct pool){r->start, r->size, r->first, r->n, b->segment, b->next_share, b->hot, b->cold, b->hot_end,
		b->cold_end,
		b->ntus, b->nhots, b->nexits, b->nsites, b->nentries, b->ninsns, b->nmaps, b->nrelocs, b->base.nmaps};
	r = &b->pool[b->pool_now = pool];
	b->segment = r->segment;
	b->next_share = r->next_share;
	b->hot = r->hot;
	b->cold = r->cold;
	b->hot_end = r->hot_end;
	b->cold_end = r->cold_end;
	b->ntus = r->ntus;
	b->nhots = r->nhots;
	b->nexits = r->nexits;
	b->nsites = r->nsites;
	b->nentries = r->nentries;
	b->ninsns = r->ninsns;
	b->nmaps = r->nmaps;
	b->nrelocs = r->nrelocs;
	b->base.nmaps = r->nbmaps;
}

// To the one for units of this tier.
void tc_turn(struct bt *b, enum tier tier)
{
	turn_to(b, tier == TIER_BASE ? POOL_BASE : POOL_HOT);
}

// To the one that a unit is in: base code that could only be made hot stands among base code.
void tc_turn_to_unit(struct bt *b, const struct tu *t)
{
	turn_to(b, pool_of(b, (unsigned)(t - b->tu - 1) / TUS_SEGMENT));
}

// The unit has more code, perhaps in another segment than its own.
void tc_note_late(struct bt *b, const uint8_t *code, struct tu *t)
{
	const struct pool *p = &b->pool[b->pool_now];
	uint32_t at = (uint32_t)(code - b->tc) - p->start, segment = (uint32_t)(t - b->tu - 1) / TUS_SEGMENT;

	if (at < p->n * p->size && at / p->size != segment - p->first)
		t->late = b->segments[segment].late = true;
}

// How much of a segment is hot code: as it was in the last one of the pool, within limits.
static uint32_t hot_share(const struct bt *b)
{
	uint32_t size = b->pool[b->pool_now].size, used = b->hot - b->segments[b->segment].hot;
	uint32_t cold = b->cold - b->hot_end, share = size / 8 * (b->pool_now == POOL_BASE ? 6 : 5);
	uint32_t least = MAX(size / 16, 2 * EMIT_ROOM);

	if (used + cold > size / 2)
		share = (uint32_t)((uint64_t)size * used / (used + cold));
	return (uint32_t)align_down(MIN(MAX(share, least), size - least), 64);
}

// The half that is full goes on in the upper part of what the other has left, if that is worth it.
static bool take_from_other(struct bt *b)
{
	uint32_t hot_left = b->hot_end - b->hot, cold_left = b->cold_end - b->cold, room = tc_room(b);

	if (!b->next_share)
		b->next_share = hot_share(b);
	if (hot_left < room && cold_left >= 4 * room && b->cold > b->hot) { // owner.c: hot code ascends
		b->hot = (uint32_t)align_up(b->cold + cold_left / 2, 64);
		b->hot_end = b->cold_end;
		b->cold_end = b->hot;
	} else if (cold_left < room && hot_left >= 4 * room) {
		b->cold = (uint32_t)align_up(b->hot + hot_left / 2, 64);
		b->cold_end = b->hot_end;
		b->hot_end = b->cold;
	} else {
		return false;
	}
	b->wants_room = false;
	return tc_has_room(b);
}

// Begin to fill a segment of the pool at hand, which is empty.
static void open_segment(struct bt *b, unsigned segment)
{
	const struct pool *r = &b->pool[b->pool_now];
	uint32_t start = r->start + (segment - r->first) * r->size;
	uint32_t share = b->next_share ? b->next_share : hot_share(b);

	b->next_share = 0;
	b->segment = segment;
	b->hot = start;
	b->segments[segment].hot = b->hot;
	b->segments[segment].nlive = 0;
	b->hot_end = b->cold = start + share;
	b->cold_end = start + r->size;
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

static void drop_late(struct bt *b, unsigned segment)
{
	const struct pool *p = &b->pool[b->pool_now];
	uint32_t start = p->start + (segment - p->first) * p->size;

	for (unsigned s = p->first; s < p->first + p->n; s++) {
		struct range units = units_of(b, s);

		if (s == segment || !b->segments[s].late)
			continue;
		for (uint32_t i = units.from; i < units.to; i++)
			if (b->tu[i].late && !b->tu[i].dead)
				tc_drop_late(b, &b->tu[i], start, start + p->size);
	}
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
	drop_late(b, segment);
	b->segments[segment].late = false;
	site_forget(b, segment ? segment * ENTRIES_SEGMENT : SITE_HEADS, b->segments[segment].nentries);
	if (in(units, b->last_unit))
		b->last_unit = 0;
	tc_forget_calls(v);
	code_drop_vpages(b);
	b->st->tc_evictions++;
}

// There is so much more, or less, in the segment of this unit that is not dead.
void tc_count_live(struct bt *b, const struct tu *t, int n)
{
	b->segments[(unsigned)(t - b->tu - 1) / TUS_SEGMENT].nlive += (uint32_t)n;
}

// Of two segments of base code taken at random, the one of which less is lost.
static unsigned less_live(const struct bt *b)
{
	const struct pool *p = &b->pool[POOL_BASE];
	unsigned now = b->segment - p->first, dice = (unsigned)(__builtin_ia32_rdtsc() >> 6);
	unsigned one = p->first + (now + 1 + dice % (p->n - 1)) % p->n;
	unsigned other = p->first + (now + 1 + dice / p->n % (p->n - 1)) % p->n;

	return b->segments[other].nlive < b->segments[one].nlive ? other : one;
}

static bool mostly_dead(const struct bt *b, unsigned segment)
{
	struct range units = units_of(b, segment);

	return b->segments[segment].nlive < (units.to - units.from) / 8;
}

// Who makes code and throws it away stays in two segments of base code, and in the host's caches.
static unsigned next_segment(const struct bt *b)
{
	const struct pool *p = &b->pool[b->pool_now];
	unsigned now = b->segment - p->first, next = p->first + (now + 1) % p->n, before = b->base_before;
	struct range units = units_of(b, next);

	if (b->pool_now == POOL_BASE && before != b->segment && before < p->n && mostly_dead(b, before))
		return before;
	return b->pool_now != POOL_BASE || p->n < 3 || units.from == units.to ? next : less_live(b);
}

// What is not used of the segment at hand, of the cache and of the tables. When the segment is left, nothing will be
// written there until it is opened again; when it is opened, that is all of it, and it fills slowly.
static void release_rest(struct vcpu *v)
{
	const struct bt *b = bt_of(v);
	const struct {
		const void *table;
		uint32_t size, from, segment;
	} rest[] = {
		{b->tu, sizeof(*b->tu), b->ntus, TUS_SEGMENT},
		{b->hot_tu, sizeof(*b->hot_tu), b->nhots, HOTS_SEGMENT},
		{b->exit, sizeof(*b->exit), b->nexits, EXITS_SEGMENT},
		{b->site, sizeof(*b->site), b->nsites, SITES_SEGMENT},
		{b->insn, sizeof(*b->insn), b->ninsns, INSNS_SEGMENT},
		{b->vop, sizeof(*b->vop), b->ninsns, INSNS_SEGMENT},
		{b->map, sizeof(*b->map), b->nmaps, MAPS_SEGMENT},
		{b->reloc, sizeof(*b->reloc), b->nrelocs, RELOCS_SEGMENT},
		{b->base.bmap, sizeof(*b->base.bmap), b->base.nmaps, BASE_MAPS_SEGMENT},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rest); i++) {
		const char *table = rest[i].table;

		vmm_release(v, table + (uint64_t)rest[i].from * rest[i].size,
			    table + (uint64_t)(b->segment + 1) * rest[i].segment * rest[i].size, false);
	}
	vmm_release(v, b->tc_rw + b->hot, b->tc_rw + b->hot_end, true);
	vmm_release(v, b->tc_rw + b->cold, b->tc_rw + b->cold_end, true);
}

// Go on in another segment of the pool at hand, when the present one is full. One that fills at once again keeps its
// memory.
void tc_make_room(struct vcpu *v)
{
	enum { SLOWLY = 1 << 30 };
	struct bt *b = bt_of(v);
	unsigned next = next_segment(b);
	uint64_t now = __builtin_ia32_rdtsc();

	if (take_from_other(b))
		return;
	close_segment(b);
	if (b->pool_now == POOL_BASE)
		b->base_before = b->segment;
	release_rest(v);
	empty_segment(v, next);
	open_segment(b, next);
	if (now - b->opened > SLOWLY)
		release_rest(v);
	b->opened = now;
}

// Somebody found none, in this pool or in the other.
void tc_make_wanted_room(struct vcpu *v)
{
	struct bt *b = bt_of(v);

	turn_to(b, b->pool_wanted);
	tc_make_room(v);
}

void tc_want_room(struct bt *b)
{
	b->wants_room = true;
	b->pool_wanted = b->pool_now;
}

static void forget_page(struct bt *b, gpa_t gpa)
{
	b->page_head[gpa >> PAGE_SHIFT] = 0;
	if (!shadow_runs(bt_vcpu(b), gpa))
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
	lay_out(b);
	for (unsigned s = 0; s < b->nsegments; s++)
		b->segments[s] = (struct segment){.ntus = s * TUS_SEGMENT + 1, .nexits = s * EXITS_SEGMENT + 1};
	b->pool_now = POOL_HOT;
	b->segment = b->pool[POOL_HOT].first;
	b->hot = b->cold = b->hot_end = b->next_share = 0;
	open_segment(b, b->segment);
	turn_to(b, POOL_BASE);
	open_segment(b, b->segment);
}
