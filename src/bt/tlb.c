// SPDX-License-Identifier: MIT
//
// The software TLB: for each kind of access rights (supervisor, supervisor with EFLAGS.AC, user) a table for reads and
// one for writes, direct-mapped, of 4 KiB entries. An entry exists only where the access may go straight to RAM: a
// write entry implies that the guest's D bit is set and that no translated code lies on the page. A log of filled
// entries makes a flush cost what was used.
//
// Kernel code that reaches user addresses, and global pages, are told apart by the entry's kind: a CR3 write keeps
// global ones.
#include "base/string.h"
#include "bt/bt.h"
#include "cpu/vmem.h"

static const uint64_t EDGE = 1 << 20; // much more than a merged check of 32-bit code reaches from its register

static unsigned region_hash(gva_t gva, unsigned shift)
{
	return (unsigned)(((gva >> shift) + shift) * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static void region_add(struct region_set *r, gva_t gva, unsigned shift)
{
	unsigned h = region_hash(gva, shift);

	r->bits[h >> 6] |= BIT64(h & 63);
	r->any = true;
}

static bool region_has(const struct region_set *r, gva_t gva, unsigned shift)
{
	unsigned h = region_hash(gva, shift);

	return r->bits[h >> 6] >> (h & 63) & 1;
}

static void region_clear(struct region_set *r)
{
	if (r->any)
		memset(r, 0, sizeof(*r));
}

static uint64_t large_hash(gva_t gva, unsigned shift)
{
	return (gva >> shift) * UINT64_C(0x9e3779b97f4a7c15) >> 48 & (LARGE_BITS - 1);
}

static void large_add(struct large_set *s, gva_t gva, unsigned shift)
{
	uint64_t h = large_hash(gva, shift);

	s->bits[h >> 6] |= BIT64(h & 63);
	s->any = true;
}

static bool large_has(const struct large_set *s, gva_t gva, unsigned shift)
{
	uint64_t h = large_hash(gva, shift);

	return s->any && s->bits[h >> 6] >> (h & 63) & 1;
}

static void large_clear(struct large_set *s)
{
	if (s->any)
		memset(s, 0, sizeof(*s));
}

static void large_clear_all(struct bt *b, bool global)
{
	for (unsigned half = 0; half < 2; half++) {
		large_clear(&b->large[half][global]);
		large_clear(&b->huge[half][global]);
	}
}

void tlb_init(struct bt *b)
{
	for (unsigned x = 0; x < TLB_INDEXES; x++) {
		for (unsigned i = 0; i < TLB_SIZE; i++) {
			b->tlb_r[x].e[i].tag = tlb_invalid_tag(i);
			b->tlb_w[x].e[i].tag = tlb_invalid_tag(i);
		}
	}
	for (unsigned x = 0; x < 2; x++)
		for (unsigned i = 0; i < CODE_FETCH; i++)
			b->fetch[x][i].va = 1;
	code_forget_near(b);
}

static void flush_entry(struct tlb *t, unsigned i)
{
	t->e[i].tag = tlb_invalid_tag(i);
}

static void flush_log(struct tlb *t, bool global)
{
	struct tlb_log *log = &t->log[global];
	unsigned kind = global ? TLB_GLOBAL : 0;

	if (log->n > TLB_LOG) {
		for (unsigned i = 0; i < TLB_SIZE; i++)
			if ((t->kind[i] & TLB_GLOBAL) == kind)
				flush_entry(t, i);
	} else {
		for (unsigned k = 0; k < log->n; k++)
			if ((t->kind[log->slot[k]] & TLB_GLOBAL) == kind)
				flush_entry(t, log->slot[k]);
	}
	log->n = 0;
}

static void flush_table(struct tlb *t, bool global)
{
	flush_log(t, false);
	if (global)
		flush_log(t, true);
}

static void flush_fetch(struct bt *b, bool global)
{
	for (unsigned x = 0; x < 2; x++)
		for (unsigned i = 0; i < CODE_FETCH; i++)
			if (global || !b->fetch[x][i].global)
				b->fetch[x][i].va = 1;
}

// All non-global translations, or all. What the run loop knows of code follows.
void tlb_flush(struct vcpu *v, bool global)
{
	struct bt *b = bt_of(v);

	for (unsigned x = 0; x < TLB_INDEXES; x++) {
		flush_table(&b->tlb_r[x], global);
		flush_table(&b->tlb_w[x], global);
	}
	site_flush(b, global);
	if (global) {
		space_drop_all(b);
		shadow_flush(v);
	}
	large_clear_all(b, false);
	if (global)
		large_clear_all(b, true);
	region_clear(&b->user_code);
	flush_fetch(b, global);
	code_forget_near(b);
	tc_forget_calls(v);
	footing_release_all(b);
	if (global || b->nonglobal)
		code_check_vpages(v, 0, 64, global);
	b->st->tlb_flushes++;
	vmm_trace(v, LOG_MMU, "mmu: flush of %s, cr3 %lx\n", global ? "everything" : "all but global pages", v->cr3);
}

enum { REGION_STEP = 64 };

static bool has_large(const uint8_t *kind)
{
	const uint64_t LARGE_IN_8 = TLB_LARGE * UINT64_C(0x0101010101010101), *w = (const uint64_t *)kind;

	return (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) & LARGE_IN_8;
}

// All that pages larger than 4 KiB have within the 2^shift bytes around the address: at least 4 MiB.
static void flush_region(struct tlb *t, gva_t gva, unsigned shift)
{
	unsigned slots = (unsigned)MIN(UINT64_C(1) << (shift - PAGE_SHIFT), TLB_SIZE);
	unsigned first = gva >> PAGE_SHIFT & (TLB_SIZE - 1) & ~(slots - 1);

	for (unsigned at = first; at < first + slots; at += REGION_STEP) {
		if (!has_large(&t->kind[at]))
			continue;
		for (unsigned i = at; i < at + REGION_STEP; i++)
			if (t->kind[i] & TLB_LARGE && (t->e[i].tag ^ gva) >> shift == 0)
				flush_entry(t, i);
	}
}

static void note_large(struct bt *b, gva_t gva, uint64_t size, bool global)
{
	struct large_set *large = &b->large[gva >> 63][global];

	if (size > 4 << 20) {
		large_add(&b->huge[gva >> 63][global], gva, 30);
	} else if (size > PAGE_SIZE) {
		large_add(large, align_down(gva, size), 21);
		large_add(large, align_down(gva, size) + size / 2, 21);
	}
}

// How much a flush of one address may concern: its page, or all that a large page may have covered. (4 MiB pages: 22.)
static unsigned flush_shift(const struct bt *b, gva_t gva)
{
	const struct large_set *large = b->large[gva >> 63], *huge = b->huge[gva >> 63];

	if (large_has(&huge[0], gva, 30) || large_has(&huge[1], gva, 30))
		return 30;
	return large_has(&large[0], gva, 21) || large_has(&large[1], gva, 21) ? 22 : PAGE_SHIFT;
}

static void flush_fetch_page(struct bt *b, gva_t gva, bool large)
{
	unsigned i = gva >> PAGE_SHIFT & (CODE_FETCH - 1);

	if (large)
		flush_fetch(b, true);
	else
		b->fetch[0][i].va = b->fetch[1][i].va = 1;
}

void tlb_flush_page(struct vcpu *v, gva_t gva)
{
	struct bt *b = bt_of(v);
	unsigned i = gva >> PAGE_SHIFT & (TLB_SIZE - 1);
	uint64_t page = align_down(gva, PAGE_SIZE);
	unsigned shift = flush_shift(b, gva);

	for (unsigned x = 0; x < TLB_INDEXES; x++) {
		if (b->tlb_r[x].e[i].tag == page)
			flush_entry(&b->tlb_r[x], i);
		if (b->tlb_w[x].e[i].tag == page)
			flush_entry(&b->tlb_w[x], i);
		if (shift > PAGE_SHIFT) {
			flush_region(&b->tlb_r[x], gva, shift);
			flush_region(&b->tlb_w[x], gva, shift);
		}
	}
	site_flush_page(b, gva, shift);
	flush_fetch_page(b, gva, shift > PAGE_SHIFT);
	code_forget_near(b);
	if (gva >> 63 || b->nonglobal || (page >= b->low_code[0] && page <= b->low_code[1]) || shift > PAGE_SHIFT)
		code_check_vpages(v, gva, shift, true);
	if (shift > PAGE_SHIFT || region_has(&b->user_code, gva, PAGE_SHIFT)) {
		footing_release_at(b, gva, shift);
		tc_forget_calls(v);
	}
	b->st->tlb_flush_pages++;
	vmm_trace(v, LOG_MMU, "mmu: flush of %lx\n", gva);
}

static void drop_write(struct bt *b, unsigned slot, uint64_t host)
{
	for (unsigned x = 0; x < TLB_INDEXES; x++)
		if (b->tlb_w[x].e[slot].host == host)
			flush_entry(&b->tlb_w[x], slot);
}

void tlb_drop_writes(struct bt *b, gpa_t page)
{
	uint64_t host = (uint64_t)mem_host(&b->sh->config.mem, page, PAGE_SIZE);
	struct page_writes *w = &b->page_writes[page >> PAGE_SHIFT];

	if (!host) // ROM
		return;
	if (w->n > ARRAY_SIZE(w->slot)) {
		for (unsigned i = 0; i < TLB_SIZE; i++)
			drop_write(b, i, host);
		for (unsigned i = 0; i < SITE_HASH; i++)
			site_drop_writes(b, i, host);
	}
	for (unsigned i = 0; i < w->n && w->n <= ARRAY_SIZE(w->slot); i++) {
		drop_write(b, w->slot[i], host);
		site_drop_writes(b, w->slot[i], host);
	}
	site_drop_large_writes(b, host);
	w->n = 0;
}

void tlb_note_write(struct bt *b, gva_t gva, gpa_t gpa)
{
	struct page_writes *w = &b->page_writes[gpa >> PAGE_SHIFT];
	uint16_t slot = gva >> PAGE_SHIFT & (TLB_SIZE - 1);

	for (unsigned i = 0; i < MIN(w->n, ARRAY_SIZE(w->slot)); i++)
		if (w->slot[i] == slot)
			return;
	if (w->n < ARRAY_SIZE(w->slot))
		w->slot[w->n] = slot;
	if (w->n <= ARRAY_SIZE(w->slot))
		w->n++;
}

// A write entry comes back only if no code has been translated from its page meanwhile.
void tlb_restore(struct bt *b, const struct space_entry *e)
{
	bool write = e->table & 1;
	struct tlb *t = write ? &b->tlb_w[e->table / 2] : &b->tlb_r[e->table / 2];
	gpa_t gpa = e->host - ZONE_RAM;

	if (write)
		peers_claim_write(b, gpa);
	if (write && code_is_watched(b, gpa))
		return;
	t->e[e->slot] = (struct tlb_entry){e->tag, e->host};
	t->kind[e->slot] = e->kind;
	if (e->kind & TLB_LARGE)
		note_large(b, e->tag, e->kind & TLB_HUGE ? 1 << 30 : 4 << 20, false);
	if (t->log[0].n < TLB_LOG)
		t->log[0].slot[t->log[0].n] = e->slot;
	if (t->log[0].n <= TLB_LOG)
		t->log[0].n++;
	if (write)
		tlb_note_write(b, e->tag, gpa);
}

void tlb_note_user_code(struct bt *b, gva_t page)
{
	region_add(&b->user_code, page, PAGE_SHIFT);
}

// Is it where 32-bit code looks that goes a little beyond its address space?
static bool is_edge(gva_t gva)
{
	return gva >= -EDGE || gva - BIT64(32) < EDGE;
}

// Before such code runs: pages of the larger space go.
void tlb_drop_edges(struct vcpu *v)
{
	bt_of(v)->edges = false;
	for (gva_t gva = 0; gva < EDGE; gva += PAGE_SIZE) {
		tlb_flush_page(v, gva - EDGE);
		tlb_flush_page(v, gva + BIT64(32));
	}
}

void tlb_fill(struct bt *b, struct tlb *t, gva_t gva, const struct mmu_walk *w, uint8_t *host)
{
	unsigned i = gva >> PAGE_SHIFT & (TLB_SIZE - 1);
	struct tlb_log *log = &t->log[w->global];

	t->e[i].tag = align_down(gva, PAGE_SIZE);
	t->e[i].host = (uint64_t)host;
	t->kind[i] = (w->global ? TLB_GLOBAL : 0) | (w->page_size > PAGE_SIZE ? TLB_LARGE : 0) |
		     (w->page_size > 4 << 20 ? TLB_HUGE : 0);
	note_large(b, gva, w->page_size, w->global);
	b->edges |= is_edge(gva);
	if (log->n < TLB_LOG)
		log->slot[log->n] = (uint16_t)i;
	if (log->n <= TLB_LOG)
		log->n++;
}

// Where the code at pc lies in guest-physical memory. Raises what the fetch raises.
bool code_gpa(struct vcpu *v, uint64_t pc, gpa_t *gpa, bool *global)
{
	struct bt *b = bt_of(v);
	bool user = v->cpl == 3;
	struct code_fetch *f = &b->fetch[user][pc >> PAGE_SHIFT & (CODE_FETCH - 1)];
	struct mmu_walk w;

	if (f->va != align_down(pc, PAGE_SIZE)) {
		if (!is_canonical(v, pc))
			vcpu_raise(v, VEC_GP, 0);
		if (!mmu_walk(v, pc, VMEM_FETCH | (user ? VMEM_USER : 0), &w))
			vcpu_raise_pf(v, pc, w.error);
		note_large(b, pc, w.page_size, w.global);
		if (user)
			region_add(&b->user_code, pc, PAGE_SHIFT);
		*f = (struct code_fetch){align_down(pc, PAGE_SIZE), align_down(w.gpa, PAGE_SIZE), w.global};
	}
	*gpa = f->gpa | (pc & PAGE_OFFSET);
	*global = f->global;
	return true;
}
