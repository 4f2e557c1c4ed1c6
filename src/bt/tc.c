// SPDX-License-Identifier: MIT
//
// The translation cache: where units live, how they are found, chained and thrown away. Nothing is freed singly, but
// by segments (evict.c), or all at once. A retired unit stays as dead code that nothing leads to. Never writable and
// executable at once: units are written through the twin mapping, at `delta` from where they run.
#include "base/string.h"
#include "bt/base.h"

void bt_stub_exit(void);
void bt_stub_ind(void);
void bt_stub_flags(void);
void bt_stub_miss(void);
void bt_stub_base_miss(void);
void bt_stub_at(void);
void bt_stub_careful(void);
void bt_stub_site(void);
void bt_stub_commit(void);
void bt_stub_ret(void);
void bt_stub_sys(void);
void bt_stub_ret_empty(void);

static void *carve(char **at, size_t size)
{
	void *p = *at;

	*at += align_up(size, 4096);
	return p;
}

// The pieces behind struct bt, in the vCPU's private lazily mapped memory.
void tc_init(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	char *at = (char *)b + align_up(sizeof(*b), 4096);
	uint64_t *slot = (uint64_t *)v;

	b->tu = carve(&at, TC_SEGMENTS * TUS_SEGMENT * sizeof(struct tu));
	b->hot_tu = carve(&at, TC_SEGMENTS * HOTS_SEGMENT * sizeof(struct hot_tu));
	b->exit = carve(&at, (TC_SEGMENTS * EXITS_SEGMENT + BASE_EXITS_MAX) * sizeof(struct exit));
	b->site = carve(&at, TC_SEGMENTS * SITES_SEGMENT * sizeof(struct site));
	b->insn = carve(&at, (TC_SEGMENTS * INSNS_SEGMENT + BASE_INSNS_MAX) * sizeof(struct x86_insn));
	b->vop = carve(&at, (TC_SEGMENTS * INSNS_SEGMENT + BASE_INSNS_MAX) * sizeof(struct vector_op));
	b->map = carve(&at, TC_SEGMENTS * MAPS_SEGMENT);
	b->reloc = carve(&at, TC_SEGMENTS * RELOCS_SEGMENT * sizeof(struct reloc));
	b->recipe = carve(&at, RECIPES_MAX * sizeof(struct recipe));
	b->footing = carve(&at, FOOTINGS_MAX * sizeof(struct footing));
	b->family = carve(&at, FOOTINGS_MAX * sizeof(struct family));
	b->page_head = carve(&at, GFNS_MAX * sizeof(uint32_t));
	b->page_writes = carve(&at, GFNS_MAX * sizeof(struct page_writes));
	b->owner = carve(&at, (b->sh->config.tc_size >> OWNER_SHIFT) * sizeof(uint32_t));
	ASSERT(at <= (char *)v + ZONE_VCPU_TC);
	b->tc = (const uint8_t *)v + ZONE_VCPU_TC;
	b->tc_rw = (uint8_t *)v + ZONE_VCPU_TC_RW;
	b->delta = b->tc - b->tc_rw;
	b->tc_size = (uint32_t)b->sh->config.tc_size;
	if (b->sh->config.stress & STRESS_TINY_TC)
		b->tc_size = MIN(b->tc_size, 2u << 20);
	slot[SLOT_STUB_EXIT / 8] = (uint64_t)bt_stub_exit;
	slot[SLOT_STUB_IND / 8] = (uint64_t)bt_stub_ind;
	slot[SLOT_RECIPES / 8] = (uint64_t)b->recipe;
	slot[SLOT_STUB_FLAGS / 8] = (uint64_t)bt_stub_flags;
	slot[SLOT_STUB_MISS / 8] = (uint64_t)bt_stub_miss;
	slot[SLOT_STUB_SITE / 8] = (uint64_t)bt_stub_site;
	slot[SLOT_STUB_BASE_MISS / 8] = (uint64_t)bt_stub_base_miss;
	slot[SLOT_STUB_AT / 8] = (uint64_t)bt_stub_at;
	slot[SLOT_STUB_CAREFUL / 8] = (uint64_t)bt_stub_careful;
	slot[SLOT_STUB_COMMIT / 8] = (uint64_t)bt_stub_commit;
	slot[SLOT_STUB_RET / 8] = (uint64_t)bt_stub_ret;
	slot[SLOT_STUB_SYS / 8] = (uint64_t)bt_stub_sys;
	slot[SLOT_SELF / 8] = (uint64_t)v;
	slot[SLOT_CALLS_BASE / 8] = (uint64_t)v + ZONE_VCPU_CALLS + ZONE_VCPU_CALLS_SIZE - 64;
	slot[SLOT_STUB_EMPTY / 8] = *(uint64_t *)slot[SLOT_CALLS_BASE / 8] = (uint64_t)bt_stub_ret_empty;
	tc_flush(v);
}

// No return address that lies on the stack of calls may be used any more.
void tc_forget_calls(struct vcpu *v)
{
	uint64_t *slot = (uint64_t *)v;

	slot[SLOT_CALLS / 8] = slot[SLOT_CALLS_FLOOR / 8] = slot[SLOT_CALLS_USER / 8] = slot[SLOT_CALLS_BASE / 8];
}

// A chain's head is a unit's number and marks, one for each page (by hash) that has a unit in the chain, so that who
// asks for what is not there mostly need not look at any. Marks stay until the chain is empty.
enum { HEAD_UNIT = BIT(20) - 1, MARK_SHIFT = 20, MARKS = 12 };

// Not by pc: all units of one piece of code are in one chain, wherever it is mapped (move.c). Addresses of a page have
// chains that lie side by side.
static uint32_t *head_of(const struct bt *b, gpa_t gpa, uint32_t mode, uint32_t *mark)
{
	uint64_t h = (gpa >> PAGE_SHIFT ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15);

	*mark = BIT(MARK_SHIFT + (h >> 32 & 0xff) % MARKS);
	return (uint32_t *)(uintptr_t)&b->hash[((h >> 40) + (gpa & PAGE_OFFSET)) & (TU_HASH - 1)];
}

static void itab_flush(struct bt *b, unsigned mode_id)
{
	struct itab *it = &b->itab[mode_id];
	const uint8_t *miss = base_lookup_of(b, mode_id);

	if (it->nlog <= ITAB_LOG)
		for (unsigned i = 0; i < it->nlog; i++)
			it->e[it->log[i]] = miss;
	else
		for (unsigned i = 0; i < ITAB_SIZE; i++)
			it->e[i] = miss;
	it->nlog = 0;
}

// Throw all units away. Only from the run loop (or the translator before it numbers anything): no unit is running.
void tc_flush(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	struct emit e;

	memset(b->hash, 0, sizeof(b->hash));
	base_flush(b);
	tc_empty_segments(b);
	for (unsigned i = 0; i < b->nmodes; i++)
		itab_flush(b, i);
	footing_flush(b);
	memset(b->recipe, 0, b->nrecipes ? RECIPES_MAX * sizeof(struct recipe) : 0);
	b->nrecipes = 0;
	b->nvpages = b->nonglobal = 0;
	memset(b->vpage_head, 0, sizeof(b->vpage_head));
	b->vpages_overflow = false;
	memset(b->device_met, 0, sizeof(b->device_met));
	b->link_exit = 0;
	tc_forget_calls(v);
	e = (struct emit){b->tc_rw + TC_STUB_SITE, b->tc_rw + LOOKUPS_AT, b->delta, (uint64_t)v, 0, 0};
	emit_jmp_state(&e, SLOT_STUB_SITE);
	site_forget_all(b);
	b->nmodes = 0;
	b->flush_tc = false;
	b->st->tc_flushes++;
}

// A small number for a mode: the indirect table that its units use.
unsigned tc_mode_id(struct bt *b, uint32_t mode)
{
	mode &= ~(uint32_t)MODE_APART;
	for (unsigned i = 0; i < b->nmodes; i++)
		if (b->modes[i] == mode)
			return i;
	if (b->nmodes == MODES_MAX)
		vcpu_nyi((struct vcpu *)((char *)b - BT_OFFSET), "more translation modes than tables");
	b->modes[b->nmodes] = mode;
	for (unsigned i = 0; i < ITAB_SIZE && !b->itab[b->nmodes].e[i]; i++) // first use
		b->itab[b->nmodes].e[i] = base_lookup_of(b, b->nmodes);
	base_name_mode(b, b->nmodes);
	return b->nmodes++;
}

// First of the units that may have this physical address and mode: the others by hash_next.
uint32_t tc_chain(const struct bt *b, gpa_t gpa, uint32_t mode)
{
	uint32_t mark;

	return *head_of(b, gpa, mode, &mark) & HEAD_UNIT;
}

// Code in a segment with a base or a limit depends on both: branches wrap around within 64 KiB, and end at the limit.
bool tc_same_cs(const struct bt *b, const struct tu *t, uint32_t base, uint32_t limit)
{
	return !(t->mode & MODE_CS) || (hot_of(b, t)->cs_base == base && hot_of(b, t)->cs_limit == limit);
}

struct tu *tc_find(struct bt *b, uint64_t pc, gpa_t gpa, uint32_t mode)
{
	const struct x86_seg *cs = &((struct vcpu *)((char *)b - BT_OFFSET))->seg[X86_CS];
	uint32_t mark, *head = head_of(b, gpa, mode, &mark), last = 0;

	if (!(*head & mark))
		return NULL;
	for (uint32_t i = *head & HEAD_UNIT; i; last = i, i = b->tu[i].hash_next) {
		struct tu *t = &b->tu[i];

		if (t->pc != pc || t->gpa != gpa || t->mode != mode || !tc_same_cs(b, t, (uint32_t)cs->base, cs->limit))
			continue;
		if (last) { // to the front: it is likely to be asked for again
			b->tu[last].hash_next = t->hash_next;
			t->hash_next = *head & HEAD_UNIT;
			*head = (*head & ~(uint32_t)HEAD_UNIT) | i;
		}
		return t;
	}
	return NULL;
}

struct tu *tc_new_tu(struct bt *b)
{
	return &b->tu[b->ntus];
}

void tc_insert(struct bt *b, struct tu *t)
{
	uint32_t mark, *head = head_of(b, t->gpa, t->mode, &mark);

	t->hash_next = *head & HEAD_UNIT;
	*head = (*head & ~(uint32_t)HEAD_UNIT) | mark | (uint32_t)(t - b->tu);
}

// TC offset of the rel32, or 0 if it cannot be chained.
static uint32_t patch_of(const struct exit *x)
{
	if (!x->base)
		return x->place;
	return x->kind == EXIT_DIRECT ? x->place + 1 : 0;
}

// Where the exit leads when it is taken.
static uint32_t leads_to(const struct bt *b, const struct exit *x)
{
	uint32_t at = patch_of(x);
	int32_t rel;

	memcpy(&rel, b->tc_rw + at, sizeof(rel));
	return at + 4 + (uint32_t)rel;
}

// Code of the unit that stands in this part of the cache is about to go, before the unit does.
void tc_drop_late(struct bt *b, struct tu *t, uint32_t from, uint32_t to)
{
	struct hot_tu *h = hot_of(b, t);

	for (uint32_t i = t->first_exit; i < t->first_exit + t->nexits; i++)
		if (b->exit[i].target && leads_to(b, &b->exit[i]) - from < to - from)
			tc_unlink(b, i);
	if (h->indirect_entry && h->indirect_entry - from < to - from) {
		tc_leave_tables(b, t);
		h->indirect_entry = 0;
	}
}

void tc_link(struct bt *b, struct exit *x, struct tu *t)
{
	const uint8_t *to, *plain;

	if (!patch_of(x) || x->target || b->tu[x->tu].dead || t->dead)
		return;
	tc_turn_to_unit(b, &b->tu[x->tu]);
	if (x->flags_noted && !t->entry_noted)
		t->entry_noted = (uint32_t)(base_flags_entry(b, t) - b->tc);
	plain = b->tc + (x->flags_noted ? t->entry_noted : t->entry);
	if (t->footing == b->tu[x->tu].footing || x->guard)
		to = plain;
	else
		to = emit_guard(b, x, t);
	if (to && t->tier == TIER_BASE && b->tu[x->tu].tier == TIER_HOT)
		to = base_counted_link(b, x, to);
	if (to && t->tier == TIER_HOT && b->tu[x->tu].tier == TIER_BASE && t->mode & MODE_MAPPED)
		to = base_trusted_link(b, x, to);
	if (!to) {
		tc_want_room(b);
		return;
	}
	if (to != plain)
		tc_note_late(b, to, &b->tu[x->tu]);
	if (x->guard)
		emit_set_guard(b, x, t->footing == b->tu[x->tu].footing ? 0 : t->footing);
	emit_patch32(b->tc_rw + patch_of(x), b->delta, to);
	if (x->base && !x->calls)
		b->tc_rw[x->place] = 0xe9;
	if (t->footing != b->tu[x->tu].footing)
		t->crosses = b->tu[x->tu].crosses = true;
	x->target = (uint32_t)(t - b->tu) & EXIT_TU;
	x->next = t->incoming;
	t->incoming = (uint32_t)(x - b->exit);
	b->st->tc_chained++;
}

// Base: a jump while it is linked, else a call.
static void unset_exit(struct bt *b, struct exit *x)
{
	emit_patch32(b->tc_rw + patch_of(x), b->delta, b->tc + x->unlinked);
	if (x->base)
		b->tc_rw[x->place] = 0xe8;
	x->target = 0;
}

void tc_unlink(struct bt *b, uint32_t exit)
{
	struct exit *x = &b->exit[exit];
	uint32_t *p = &b->tu[x->target].incoming;

	while (*p != exit)
		p = &b->exit[*p].next;
	*p = x->next;
	unset_exit(b, x);
}

void tc_unlink_incoming(struct bt *b, struct tu *t)
{
	for (uint32_t i = t->incoming, next; i; i = next) {
		struct exit *x = &b->exit[i];

		next = x->next;
		unset_exit(b, x);
	}
	t->incoming = 0;
}

static void hash_remove(struct bt *b, struct tu *t)
{
	uint32_t mark, *head = head_of(b, t->gpa, t->mode, &mark), i = *head & HEAD_UNIT;

	if (&b->tu[i] == t) {
		*head = t->hash_next ? (*head & ~(uint32_t)HEAD_UNIT) | t->hash_next : 0;
		return;
	}
	while (&b->tu[b->tu[i].hash_next] != t)
		i = b->tu[i].hash_next;
	b->tu[i].hash_next = t->hash_next;
}

// No indirect branch leads to it by its present address.
void tc_leave_tables(struct bt *b, struct tu *t)
{
	unsigned mode_id;

	if (t->tier == TIER_BASE)
		base_leave_lookup(b, t);
	if (!hot_of(b, t)->indirect_entry) // single instructions have no table
		return;
	mode_id = tc_mode_id(b, t->mode);
	b->itab[mode_id].e[itab_index(t->pc)] = base_lookup_of(b, mode_id); // with all others of the same hash
}

// Who comes to it comes by the run loop.
void tc_isolate(struct bt *b, struct tu *t)
{
	tc_unlink_incoming(b, t);
	tc_leave_tables(b, t);
}

void tc_remove(struct bt *b, struct tu *t)
{
	hash_remove(b, t);
	tc_leave_tables(b, t);
}

void tc_detach(struct bt *b, struct tu *t)
{
	t->dead = true;
	tc_count_live(b, t, -1);
	tc_remove(b, t);
	tc_unlink_incoming(b, t);
	footing_leave(b, t);
	if (b->link_exit && b->exit[b->link_exit].tu == (uint32_t)(t - b->tu))
		b->link_exit = 0;
}

// Returns on their way to it go by the table: its JNE becomes a JMP.
static void close_landings(struct bt *b, const struct tu *t)
{
	if (t->tier == TIER_BASE) {
		base_close_landings(b, t);
		return;
	}
	for (uint32_t i = t->first_exit; i < t->first_exit + t->nexits; i++)
		if (b->exit[i].kind == EXIT_LANDING)
			memcpy(b->tc_rw + b->exit[i].place - 2, (const uint8_t[]){0x90, 0xe9}, 2);
}

// Nothing may lead to the unit any more: there is, or will be, another in its place.
void tc_take_off(struct bt *b, struct tu *t)
{
	if (t->dead)
		return;
	tc_detach(b, t);
	close_landings(b, t);
}

// The same, because the guest's code has changed.
void tc_retire(struct bt *b, struct tu *t)
{
	if (t->dead)
		return;
	base_note_retired(b, t);
	tc_take_off(b, t);
	b->st->tu_retired++;
}

// -- indirect tables --------------------------------------------------------------------------------------------------

enum { CHAIN_MAX = 4 };

// Is it in the chain that begins with unit i, and how long is that?
static bool chained(const struct bt *b, uint32_t i, const struct tu *t, unsigned *n)
{
	for (*n = 0; i && *n < CHAIN_MAX; i = hot_of(b, &b->tu[i])->itab_next, ++*n)
		if (&b->tu[i] == t)
			return true;
	return false;
}

// Who comes to an indirect entry with another's address goes on to that of the next unit with the same hash.
void itab_set(struct bt *b, struct tu *t)
{
	unsigned mode_id = tc_mode_id(b, t->mode), i = itab_index(t->pc), n = 0;
	struct itab *it = &b->itab[mode_id];
	struct hot_tu *h = hot_of(b, t);
	bool used = it->e[i] != base_lookup_of(b, mode_id);

	if (t->tier == TIER_BASE) {
		base_enter_lookup(b, t);
		return;
	}
	tc_turn_to_unit(b, t);
	if (!h->indirect_entry && !tc_has_room(b)) {
		tc_want_room(b);
		return;
	}
	if (used && chained(b, it->tu[i], t, &n))
		return;
	if (!h->indirect_entry)
		emit_indirect_entry(b, t);
	h->itab_next = used && n < CHAIN_MAX ? it->tu[i] : 0;
	tc_note_late(b, b->tc + h->indirect_entry, t);
	emit_patch32(b->tc_rw + h->indirect_other, b->delta, h->itab_next ? it->e[i] : base_lookup_of(b, mode_id));
	it->e[i] = b->tc + h->indirect_entry;
	it->tu[i] = (uint32_t)(t - b->tu);
	if (it->nlog < ITAB_LOG)
		it->log[it->nlog] = (uint16_t)i;
	it->nlog++;
}

void itab_flush_all(struct bt *b)
{
	for (unsigned i = 0; i < b->nmodes; i++)
		itab_flush(b, i);
	base_forget_all(b);
}
