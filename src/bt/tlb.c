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

static void flush_region(struct tlb *t, gva_t gva, unsigned shift)
{
	const uint64_t LARGE_IN_8 = TLB_LARGE * UINT64_C(0x0101010101010101);
	uint64_t pages = MIN(UINT64_C(1) << (shift - PAGE_SHIFT), TLB_SIZE), first = gva >> PAGE_SHIFT & ~(pages - 1);

	for (uint64_t p = first; p < first + pages; p++) {
		unsigned i = p & (TLB_SIZE - 1);

		if (p % 8 == 0 && !(*(const uint64_t *)&t->kind[i] & LARGE_IN_8))
			p += 7; // none of eight
		else if (t->kind[i] & TLB_LARGE && (t->e[i].tag ^ gva) >> shift == 0)
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

static void note_write(struct bt *b, gva_t gva, gpa_t gpa)
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
		note_write(b, e->tag, gpa);
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

static void fill(struct bt *b, struct tlb *t, gva_t gva, const struct mmu_walk *w, uint8_t *host)
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

static bool canonical(const struct vcpu *v, gva_t gva)
{
	return !vcpu_long_mode(v) || vcpu_canonical(v, gva);
}

// An access across two pages that lie side by side in RAM, and may be used as they are, needs no bounce buffer: the
// host address of the first page.
static uint8_t *spans_plain_ram(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x, bool write)
{
	unsigned access = (write ? VMEM_WRITE : VMEM_READ) | (x == TLB_USER ? VMEM_USER : 0);
	gva_t second = vmem_advance(v, align_down(gva, PAGE_SIZE), PAGE_SIZE);
	struct bt *b = bt_of(v);
	struct mmu_walk w, w2;

	if (s->masked || (s->align && gva & (s->align - 1)) || !canonical(v, gva) || !canonical(v, second) ||
	    s->size > PAGE_SIZE || debugger_watches(&b->sh->debugger, gva, s->size, write))
		return NULL;
	if (!mmu_walk(v, gva, access, &w) || !mmu_walk(v, second, access, &w2) ||
	    w2.gpa != align_down(w.gpa, PAGE_SIZE) + PAGE_SIZE)
		return NULL;
	if (write) {
		peers_claim_write(b, w.gpa);
		peers_claim_write(b, w2.gpa);
	}
	if (write && (code_is_watched(b, w.gpa) || code_is_watched(b, w2.gpa)))
		return NULL;
	return mem_host(&b->sh->config.mem, align_down(w.gpa, PAGE_SIZE), 2 * PAGE_SIZE);
}

// Can nothing but #PF come of this access? Not if something else might have come first (alignment, a limit), or if the
// check was for more than the instruction at hand.
static bool plain_fault(const struct tu *t, const struct site *s, gva_t gva)
{
	return (t->mode & MODE_CODE) == MODE_CODE64 && !s->merged && !s->masked && s->size <= 64 &&
	       !s->waits && !(s->align && gva & (s->align - 1));
}

static _Noreturn void leave_page_fault(struct vcpu *v, const struct site *s, gva_t gva, uint32_t error)
{
	recover_site(v, s);
	v->count_left += s->left - 1; // the faulting instruction counts, as everywhere
	v->fault = (struct vcpu_fault){.vector = VEC_PF, .pending = true, .has_error = true, .error = error, .cr2 = gva};
	bt_leave(LEAVE_FAULT);
}

// Fill the entry for gva, if the access may go straight to RAM: the host address of its page. Else NULL.
// *fault: the guest's page tables forbid it, with that error code in *error.
static uint8_t *learn(struct vcpu *v, enum tlb_index x, gva_t gva, bool write, bool *fault, uint32_t *error)
{
	struct bt *b = bt_of(v);
	unsigned access = (write ? VMEM_WRITE : VMEM_READ) | (x == TLB_USER ? VMEM_USER : 0) |
			  (x == TLB_KERNEL ? VMEM_IMPLICIT : 0); // whatever EFLAGS.AC says
	struct mmu_walk w;
	uint8_t *page;

	*fault = false;
	if (!canonical(v, gva))
		return NULL;
	*fault = !mmu_walk(v, gva, access, &w);
	*error = w.error;
	if (*fault)
		return NULL;
	page = mem_data(&b->sh->config.mem, align_down(w.gpa, PAGE_SIZE), PAGE_SIZE);
	if (page && write)
		peers_claim_write(b, w.gpa);
	if (!page)
		device_note(b, gva, x, w.gpa, write);
	if (!page || (write && code_is_watched(b, w.gpa)) ||
	    debugger_watches(&b->sh->debugger, align_down(gva, PAGE_SIZE), PAGE_SIZE, write))
		return NULL;
	fill(b, write ? &b->tlb_w[x] : &b->tlb_r[x], gva, &w, page);
	vmm_trace(v, LOG_MMU, "mmu: %s of %lx to %lx in a page of %lx%s\n", write ? "write" : "read", gva, w.gpa,
		  w.page_size, w.global ? ", global" : "");
	if (write && w.gpa >> PAGE_SHIFT < GFNS_MAX)
		note_write(b, gva, w.gpa);
	return page;
}

static enum tlb_index index_of_mode(uint32_t mode)
{
	return mode & MODE_USER ? TLB_USER : mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL;
}

// Where in RAM an access in this mode goes, or NULL if it must go the long way or will fault.
uint8_t *tlb_host(struct vcpu *v, gva_t gva, unsigned size, bool write, uint32_t mode)
{
	struct bt *b = bt_of(v);
	enum tlb_index x = index_of_mode(mode);
	const struct tlb_entry *e = &(write ? &b->tlb_w[x] : &b->tlb_r[x])->e[gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
	uint32_t error;
	uint8_t *page;
	bool fault;

	if ((gva & PAGE_OFFSET) + size > PAGE_SIZE)
		return NULL;
	page = e->tag == align_down(gva, PAGE_SIZE) ? (uint8_t *)e->host : learn(v, x, gva, write, &fault, &error);
	return page ? page + (gva & PAGE_OFFSET) : NULL;
}

uint8_t *vcpu_ram_host(struct vcpu *v, gva_t gva, enum vmem_access access)
{
	uint32_t mode = access & VMEM_USER ? MODE_USER : access & VMEM_IMPLICIT ? 0 : bt_of(v)->mode_now & MODE_AC;

	if (access & VMEM_FETCH || (access & VMEM_READ && access & VMEM_WRITE))
		return NULL;
	return tlb_host(v, gva, 1, access & VMEM_WRITE, mode);
}

static struct tlb *table_of(struct bt *b, const struct site *s)
{
	enum tlb_index x = index_of_mode(b->tu[s->tu].mode);

	return s->access & X86_WRITE ? &b->tlb_w[x] : &b->tlb_r[x];
}

// The access is right, but has no entry: the check is done, with what follows from it in the site's registers.
static const uint8_t *pass_once(struct vcpu *v, const struct site *s, gva_t gva, const uint8_t *page, uint8_t addend)
{
	uint64_t *host = (uint64_t *)((char *)v + SLOT_HOST_REGS);

	host[HOST_T0] = gva & PAGE_OFFSET;
	host[HOST_T1] = (uint64_t)page;
	if (addend != X86_REG_NONE)
		host[addend] = (uint64_t)page - align_down(gva, PAGE_SIZE);
	return bt_of(v)->tc + s->done;
}

static bool crosses(const struct site *s, gva_t gva)
{
	return (gva & PAGE_OFFSET) + s->size > PAGE_SIZE;
}

// 32-bit code adds small displacements in 64 bits: what leaves the address space wraps around (TRICKS: zero above).
static bool wraps(const struct tu *t, gva_t gva)
{
	return gva >> 32 && (t->mode & MODE_CODE) != MODE_CODE64;
}

// A check of this address failed. Fill the entry, or leave for the careful form, or for a fault. Returns the host page;
// for an access that goes on into the next one, which is next to it in RAM too, the first of them. That and a write
// beside code are right for this once and fill nothing. NULL: a merged check is to go on apart.
uint8_t *tlb_learn(struct vcpu *v, const struct site *s, gva_t gva)
{
	struct bt *b = bt_of(v);
	const struct tu *tu = &b->tu[s->tu];
	enum tlb_index x = index_of_mode(tu->mode);
	bool write = s->access & X86_WRITE, fault = false;
	uint32_t error;
	uint8_t *page;

	b->st->tlb_misses++;
	if (wraps(tu, gva)) {
		page = NULL;
	} else if (crosses(s, gva)) {
		page = s->merged ? NULL : spans_plain_ram(v, s, gva, x, write);
	} else {
		page = write ? code_write_near(v, gva, s->size, x, true) : device_load(v, s, gva, x);
		if (!page && write)
			page = device_write(v, s, gva, x);
		if (!page)
			page = learn(v, x, gva, write, &fault, &error);
		if (page)
			return page;
		if (fault && plain_fault(tu, s, gva))
			leave_page_fault(v, s, gva, error);
		if (write && !fault && canonical(v, gva))
			page = code_write_near(v, gva, s->size, x, false);
		if (write && !page && !fault)
			page = device_store(v, s, gva, x);
		if (page)
			return page;
	}
	if (page || (s->merged && !(tu->mode & MODE_ALONE)))
		return page;
	recover_site(v, s); // the careful form finds out what it is: MMIO, watched, crossing, or a true fault
	v->count_left += s->left;
	bt_leave(LEAVE_CAREFUL);
}

// The same of the address in T0, for a hot unit. Returns where it goes on: the check is tried again, or a merged one
// takes the way behind its number.
static const uint8_t *missed(struct vcpu *v, const struct site *s, uint8_t addend, const uint8_t *ra)
{
	gva_t gva = ((uint64_t *)((char *)v + SLOT_HOST_REGS))[HOST_T0], page_gva = align_down(gva, PAGE_SIZE);
	struct bt *b = bt_of(v);
	unsigned slot = gva >> PAGE_SHIFT & (TLB_SIZE - 1);
	const struct tlb_entry *e = &table_of(b, s)->e[slot];
	uint64_t was = e->tag;
	const uint8_t *page = tlb_learn(v, s, gva);
	bool filled = e->tag == page_gva;

	if (!page)
		return ra + 4;
	if (filled && was != page_gva && was != tlb_invalid_tag(slot))
		sample_conflict(b, &b->tu[s->tu]);
	return filled && !crosses(s, gva) ? b->tc + s->retry : pass_once(v, s, gva, page, addend);
}

// From an inline look-up by address: T0 is the address xor the tag of the entry that T1 points to.
const uint8_t *bt_tlb_miss(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	const struct site *s = &b->site[*(const uint32_t *)ra];
	uint64_t *host = (uint64_t *)((char *)v + SLOT_HOST_REGS);

	host[HOST_T0] ^= table_of(b, s)->e[host[HOST_T1] >> 4 & (TLB_SIZE - 1)].tag;
	return missed(v, s, X86_REG_NONE, ra);
}

static void make_address_indexed(struct bt *b, const struct site *s)
{
	struct tu *t = &b->tu[s->tu];

	site_mark_guilty(b, t->pc + (uint64_t)(int64_t)s->guest);
	if (!t->dead)
		sample_remake(b, t);
}

// From bt_stub_site, if it cannot fill the site's entry by itself: the address is in T0.
const uint8_t *bt_site_miss(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	uint32_t entry = *(const uint32_t *)ra / sizeof(struct site_info);
	const struct site *s = &b->site[b->entry_info[entry].site];
	gva_t gva = ((uint64_t *)((char *)v + SLOT_HOST_REGS))[HOST_T0];
	unsigned slot = gva >> PAGE_SHIFT & (TLB_SIZE - 1);
	struct tlb *t = table_of(b, s);
	bool known = t->e[slot].tag == align_down(gva, PAGE_SIZE);
	const uint8_t *on = b->tc + s->retry;

	b->st->site_misses++;
	if (!site_is_worth(b, entry))
		make_address_indexed(b, s);
	if (!known)
		on = missed(v, s, b->entry_info[entry].addend, ra);
	if (on == ra + 4)
		site_failed(b, entry);
	if (on == b->tc + s->retry)
		site_fill(b, entry, &t->e[slot], t->kind[slot]);
	if (known && (gva ^ b->entry[entry].tag) >= b->entry[entry].limit)
		on = missed(v, s, b->entry_info[entry].addend, ra);
	return on;
}

// Where the code at pc lies in guest-physical memory. Raises what the fetch raises.
bool code_gpa(struct vcpu *v, uint64_t pc, gpa_t *gpa, bool *global)
{
	struct bt *b = bt_of(v);
	bool user = v->cpl == 3;
	struct code_fetch *f = &b->fetch[user][pc >> PAGE_SHIFT & (CODE_FETCH - 1)];
	struct mmu_walk w;

	if (f->va != align_down(pc, PAGE_SIZE)) {
		if (!canonical(v, pc))
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
