// SPDX-License-Identifier: MIT
//
// An entry per check site, in favoured units (sample.c): a TLB entry of one place in the code, at a constant address,
// so that no time goes on computing where to look. It holds the page that this site has accessed last, filled from the
// address-indexed software TLB by bt_stub_site; of a large page as much as may be. All that an entry of the TLB
// promises (tlb.c) it promises too, for the table it was filled from, which is its site's for good; so whatever is
// flushed there is flushed here.
//
// To find what a flush concerns, valid entries hang on rings: by a hash of their page's number, global ones apart;
// large ones apart, for reading and for writing. The first entries' info are the rings' heads.
//
// A site that goes to ever new pages is better off with the address-indexed look-up: its unit is translated anew, with
// the place of that instruction marked (guilty).
#include "base/string.h"
#include "bt/bt.h"

enum {
	HEADS_LARGE = SITE_HASH,   // in each half of the heads: the pages' rings, then large ones for reading, for writing
	HEADS_HALF = 1 << SITE_HALF_SHIFT,
	MEDIUM_SHIFT = 16, LARGE_SHIFT = 21,
};

_Static_assert(offsetof(struct bt, entry) == SITE_ENTRY_AT - BT_OFFSET &&
	       offsetof(struct bt, entry_info) == SITE_INFO_AT - BT_OFFSET && sizeof(struct site_entry) == 32 &&
	       sizeof(struct site_info) == 32 && offsetof(struct site_info, prev) == SITE_INFO_PREV &&
	       offsetof(struct site_info, table) == SITE_INFO_TABLE &&
	       offsetof(struct site_info, retry) == SITE_INFO_RETRY &&
	       offsetof(struct site_info, limit) == SITE_INFO_LIMIT &&
	       offsetof(struct site_info, refills) == SITE_INFO_REFILLS && offsetof(struct tlb, kind) == SITE_TLB_KIND &&
	       offsetof(struct bt, site_refills) == SITE_REFILLS_AT - BT_OFFSET &&
	       offsetof(struct bt, site_apart) == SITE_APART_AT - BT_OFFSET &&
	       offsetof(struct site_info, apart) == SITE_INFO_APART && TLB_SIZE == SITE_TLB_SIZE,
	       "ORDER SITE: bt/slots.h");

static struct site_info *info_at(struct bt *b, uint32_t at)
{
	return &b->entry_info[at / sizeof(struct site_info)];
}

static void ring_remove(struct bt *b, struct site_info *x)
{
	info_at(b, x->next)->prev = x->prev;
	info_at(b, x->prev)->next = x->next;
}

static void ring_add(struct bt *b, uint32_t head, uint32_t at)
{
	struct site_info *h = info_at(b, head), *x = info_at(b, at);

	x->next = h->next;
	x->prev = head;
	info_at(b, h->next)->prev = at;
	h->next = at;
}

static void make_invalid(struct bt *b, uint32_t at)
{
	struct site_entry *e = &b->entry[at / sizeof(struct site_entry)];
	struct site_info *x = info_at(b, at);

	e->limit = e->host = 0;
	ring_remove(b, x);
	x->next = x->prev = at;
}

// The translation cache has been emptied, and with it all sites.
void site_forget_all(struct bt *b)
{
	for (uint32_t i = 0; i < SITE_HEADS; i++)
		b->entry_info[i].next = b->entry_info[i].prev = i * (uint32_t)sizeof(struct site_info);
	memset(b->guilty, 0, sizeof(b->guilty));
}

static unsigned guilty_slot(uint64_t pc)
{
	return (unsigned)(pc * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

// These entries' units are gone.
void site_forget(struct bt *b, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		make_invalid(b, i * (uint32_t)sizeof(struct site_info));
}

// An entry for a new site, by number; 0: it is to use the address-indexed form.
uint32_t site_entry_new(struct bt *b, uint32_t site, uint64_t pc, uint32_t table, unsigned size)
{
	uint32_t n = b->nentries, at = n * (uint32_t)sizeof(struct site_info);

	if (n == (b->segment + 1) * ENTRIES_SEGMENT || b->guilty[guilty_slot(pc)] || size > PAGE_SIZE)
		return 0;
	b->nentries++;
	b->entry[n] = (struct site_entry){0};
	b->entry_info[n] = (struct site_info){.next = at, .prev = at, .table = table, .site = site,
		.addend = X86_REG_NONE,
		.limit = (uint16_t)(PAGE_SIZE + 1 - size), .refills = SITE_REFILLS_START};
	return n;
}

// -- filling ------------------------------------------------------------------------------------------------------

static bool nothing_watched(struct bt *b, gpa_t gpa, uint64_t size)
{
	for (gpa_t p = gpa; p < gpa + size; p += PAGE_SIZE) {
		peers_claim_write(b, p);
		if (code_is_watched(b, p))
			return false;
	}
	return true;
}

// How much around a page that the guest maps as part of a large one may be entered at once.
static unsigned widest(struct bt *b, const struct tlb_entry *e, bool write)
{
	static const uint8_t shifts[] = {LARGE_SHIFT, MEDIUM_SHIFT};
	gpa_t gpa = e->host - ZONE_RAM;

	for (unsigned i = write; i < ARRAY_SIZE(shifts); i++) { // for writing, less has to be asked
		uint64_t size = UINT64_C(1) << shifts[i];

		if (mem_host(&b->sh->config.mem, align_down(gpa, size), size) &&
		    !debugger_watches(&b->sh->debugger, align_down(e->tag, size), size, write) &&
		    (!write || nothing_watched(b, align_down(gpa, size), size)))
			return shifts[i];
	}
	return PAGE_SHIFT;
}

// From an entry of the TLB that has just been found or filled.
void site_fill(struct bt *b, uint32_t entry, const struct tlb_entry *from, uint8_t kind)
{
	struct site_entry *e = &b->entry[entry];
	struct site_info *x = &b->entry_info[entry];
	const struct site *s = &b->site[x->site];
	bool write = s->access & X86_WRITE;
	unsigned shift = kind & TLB_LARGE && !x->constant ? widest(b, from, write) : PAGE_SHIFT;
	uint64_t size = UINT64_C(1) << shift;
	uint32_t head = kind & TLB_GLOBAL ? HEADS_HALF : 0;

	b->low_global_sites |= kind & TLB_GLOBAL && !(from->tag >> 63);
	e->tag = align_down(from->tag, size);
	e->limit = size + 1 - s->size;
	e->host = align_down(from->host, size);
	e->addend = e->host - e->tag;
	head += shift > PAGE_SHIFT ? HEADS_LARGE + (uint32_t)write : (unsigned)(from->tag >> PAGE_SHIFT & (SITE_HASH - 1));
	ring_remove(b, x);
	ring_add(b, head * (uint32_t)sizeof(*x), entry * (uint32_t)sizeof(*x));
	b->site_refills++;
}

// Have entries been filled so often lately that it costs?
static bool too_many_refills(struct bt *b, uint32_t now)
{
	enum { PERIOD = 1000 };
	uint32_t ticks = now - b->refills_since;
	bool many = b->site_refills - b->refills_then > ticks;

	if (ticks > PERIOD) {
		b->refills_then = b->site_refills;
		b->refills_since = now;
	}
	return many;
}

// An entry must be filled anew: is it worth it? False: the site is to become address-indexed. Asked once in
// SITE_REFILLS_MAX times.
bool site_is_worth(struct bt *b, uint32_t entry)
{
	enum { OFTEN = SITE_REFILLS_MAX, SELDOM = 8000 * SITE_REFILLS_MAX };
	struct site_info *x = &b->entry_info[entry];
	uint32_t now = site_clock(), own = now - x->since;

	if (!b->entry[entry].limit) // it has been flushed
		return true;
	if (x->refills && ++x->refills)
		return true;
	x->refills = SITE_REFILLS_START;
	x->since = now;
	return own > SELDOM || (own > OFTEN && !too_many_refills(b, now));
}

// The page of a merged check cannot be entered.
void site_failed(struct bt *b, uint32_t entry)
{
	enum { FAILURES = 8 };

	if (++b->entry_info[entry].failures == FAILURES)
		b->entry_info[entry].apart = SITE_APART_ALWAYS;
}

void site_mark_guilty(struct bt *b, uint64_t pc)
{
	b->guilty[guilty_slot(pc)] = 1;
	b->st->site_guilty++;
}

// -- flushing -----------------------------------------------------------------------------------------------------

static void flush_ring(struct bt *b, uint32_t head)
{
	struct site_info *h = &b->entry_info[head];

	while (h->next != head * sizeof(*h))
		make_invalid(b, h->next);
}

void site_flush(struct bt *b, bool global)
{
	for (uint32_t i = 0; i < (global ? SITE_HEADS : HEADS_HALF); i++)
		flush_ring(b, i);
	b->st->site_refills = b->site_refills;
	b->st->site_apart = b->site_apart;
}

static void flush_in_ring(struct bt *b, uint32_t head, gva_t gva, unsigned shift)
{
	uint32_t end = head * (uint32_t)sizeof(struct site_info), next;

	for (uint32_t at = info_at(b, end)->next; at != end; at = next) {
		next = info_at(b, at)->next;
		if ((b->entry[at / sizeof(struct site_entry)].tag ^ gva) >> shift == 0)
			make_invalid(b, at);
	}
}

// The 2^shift bytes around gva: a page, or as much as a large one may have covered.
void site_flush_page(struct bt *b, gva_t gva, unsigned shift)
{
	bool global = gva >> 63 || b->low_global_sites;

	for (uint32_t half = 0; half < (global ? SITE_HEADS : HEADS_HALF); half += HEADS_HALF) {
		if (shift == PAGE_SHIFT) {
			flush_in_ring(b, half + (gva >> PAGE_SHIFT & (SITE_HASH - 1)), gva, shift);
			continue;
		}
		for (uint32_t i = 0; i < SITE_HASH + 2; i++)
			flush_in_ring(b, half + i, gva, shift);
	}
}

static bool writes(const struct bt *b, uint32_t at)
{
	return b->site[b->entry_info[at / sizeof(struct site_info)].site].access & X86_WRITE;
}

static void drop_in_ring(struct bt *b, uint32_t head, uint64_t host, uint64_t size)
{
	uint32_t end = head * (uint32_t)sizeof(struct site_info), next;

	for (uint32_t at = info_at(b, end)->next; at != end; at = next) {
		const struct site_entry *e = &b->entry[at / sizeof(struct site_entry)];

		next = info_at(b, at)->next;
		if (host - e->host < size && writes(b, at))
			make_invalid(b, at);
	}
}

// Entries for writing to the page at host, filled from this slot of the TLB.
void site_drop_writes(struct bt *b, unsigned slot, uint64_t host)
{
	drop_in_ring(b, slot & (SITE_HASH - 1), host, PAGE_SIZE);
	drop_in_ring(b, HEADS_HALF + (slot & (SITE_HASH - 1)), host, PAGE_SIZE);
}

void site_drop_large_writes(struct bt *b, uint64_t host)
{
	drop_in_ring(b, HEADS_LARGE + 1, host, UINT64_C(1) << LARGE_SHIFT);
	drop_in_ring(b, HEADS_HALF + HEADS_LARGE + 1, host, UINT64_C(1) << LARGE_SHIFT);
}

// A unit has moved to another address: what its sites know is of the old one.
void site_flush_unit(struct bt *b, const struct tu *t)
{
	const struct hot_tu *h = hot_of(b, t);

	site_forget(b, h->first_entry, h->first_entry + h->nentries);
}
