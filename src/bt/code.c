// SPDX-License-Identifier: MIT
//
// Coherency of translated code. A guest page that holds code of a live unit is watched: no write entry of the software
// TLB leads to it, so every write to it passes C. One to other 64-byte lines of the page than its units depend on is
// let through by the miss handler; others take the careful form (or come by vmem_write), and retire the units there.
// A page that is written again and again loses all its units, and is then written freely until it runs again. Where
// code is patched often, units keep account of the operands they have taken over as they are, and a new one is copied
// into them. Guest memory is never changed for this.
//
// And the mapping of code: direct links that leave a page are made for kernel code only; each such page is noted with
// its physical address, and whenever the guest flushes it the page tables are asked again.
#include "bt/bt.h"

// Writes to code, and writes beside it after one, with none made in between: the page is being written anew.
enum { HITS_MAX = 3, NEAR_MAX = 16 };
enum { PATCHED_MIN = 4 };

static uint64_t lines_of(unsigned first, unsigned end)
{
	return ~UINT64_C(0) << (first >> CODE_LINE_SHIFT) & ~UINT64_C(0) >> (63 - ((end - 1) >> CODE_LINE_SHIFT));
}

// -- pages ------------------------------------------------------------------------------------------------------------

static struct code_page *slot_of(struct bt *b, gpa_t gpa)
{
	return &b->code_page[gpa >> PAGE_SHIFT & (CODE_PAGES - 1)];
}

// Base code depends on nothing but its own bytes.
static uint64_t lines_of_unit(const struct bt *b, const struct tu *t)
{
	return t->hot ? hot_of(b, t)->lines : lines_of(t->first, t->end);
}

static uint64_t lines_of_node(const struct bt *b, uint32_t node)
{
	return node & 1 ? 1 : lines_of_unit(b, &b->tu[node >> 1]); // who straddles ends in the second page's first line
}

static struct code_page *page_of(struct bt *b, gpa_t gpa)
{
	struct code_page *p = slot_of(b, gpa);
	gpa_t page = align_down(gpa, PAGE_SIZE);

	if (p->gpa != page || p->stale) {
		if (p->gpa != page)
			p->hits = p->near = 0;
		p->gpa = page;
		p->stale = false;
		p->lines = 0;
		for (uint32_t n = b->page_head[gpa >> PAGE_SHIFT]; n; n = b->tu[n >> 1].page_next[n & 1])
			p->lines |= lines_of_node(b, n);
	}
	return p;
}

uint64_t code_lines(const struct bt *b, gpa_t gpa)
{
	const struct code_page *p = slot_of((struct bt *)(uintptr_t)b, gpa);

	return p->gpa == align_down(gpa, PAGE_SIZE) && !p->stale ? p->lines : ~UINT64_C(0);
}

static void watch_page(struct vcpu *v, struct tu *t, gpa_t gpa, unsigned which)
{
	struct bt *b = bt_of(v);
	struct code_page *p = slot_of(b, gpa);
	uint32_t *head;

	ASSERT(gpa >> PAGE_SHIFT < GFNS_MAX);
	head = &b->page_head[gpa >> PAGE_SHIFT];
	if (!*head) {
		page_of(b, gpa);
		tlb_drop_writes(b, align_down(gpa, PAGE_SIZE));
		shadow_watch(v, align_down(gpa, PAGE_SIZE));
	}
	t->page_next[which] = *head;
	*head = (uint32_t)(t - b->tu) << 1 | which;
	if (p->gpa == align_down(gpa, PAGE_SIZE)) {
		p->lines |= lines_of_node(b, *head);
		p->hits = p->near = 0;
	}
}

// Its translation depends on these bytes of its page.
void code_note_bytes(struct bt *b, struct tu *t, unsigned first, unsigned end)
{
	end = MIN(end, PAGE_SIZE);
	t->first = t->end ? MIN(t->first, (uint16_t)first) : (uint16_t)first;
	t->end = MAX(t->end, (uint16_t)end);
	hot_of(b, t)->lines |= lines_of(first, end);
}

void code_watch(struct vcpu *v, struct tu *t)
{
	watch_page(v, t, t->gpa, 0);
	if (tu_straddles(t))
		watch_page(v, t, tu_gpa2(t), 1);
}

static void unlist(struct bt *b, gpa_t gpa, uint32_t node)
{
	uint32_t *at = &b->page_head[gpa >> PAGE_SHIFT];
	struct code_page *p = slot_of(b, gpa);

	while (*at && *at != node)
		at = &b->tu[*at >> 1].page_next[*at & 1];
	if (*at)
		*at = b->tu[node >> 1].page_next[node & 1];
	if (!b->page_head[gpa >> PAGE_SHIFT] && !shadow_runs(bt_vcpu(b), gpa))
		peers_forget_code(b, gpa);
	if (p->gpa == align_down(gpa, PAGE_SIZE)) {
		p->stale = b->page_head[gpa >> PAGE_SHIFT];
		p->lines = 0;
	}
}

void code_unwatch(struct bt *b, struct tu *t)
{
	uint32_t n = (uint32_t)(t - b->tu) << 1;

	unlist(b, t->gpa, n);
	if (tu_straddles(t))
		unlist(b, tu_gpa2(t), n | 1);
}

// -- writes to code ---------------------------------------------------------------------------------------------------

static bool overlaps(const struct bt *b, uint32_t node, unsigned first, unsigned end)
{
	const struct tu *t = &b->tu[node >> 1];

	if (node & 1)
		return first < X86_INSN_MAX;
	return first < t->end && end > t->first && (!t->hot || hot_of(b, t)->lines & lines_of(first, end));
}

static uint8_t *patched(struct bt *b, gpa_t gpa)
{
	return &b->patched[(gpa >> PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> 52];
}

bool code_is_patched(const struct bt *b, gpa_t gpa)
{
	return *patched((struct bt *)(uintptr_t)b, gpa) >= PATCHED_MIN;
}

// Is it only an operand that the unit has taken over as it is? Where in the cache it stands then, else 0.
static uint32_t taken_operand(const struct bt *b, const struct tu *t, unsigned first, unsigned end)
{
	for (uint32_t i = t->first_reloc; i < t->first_reloc + t->nrelocs; i++) {
		const struct reloc *r = &b->reloc[i];
		unsigned from = r->upper & 0xffff, n = r->upper >> 16;

		if (r->at & RELOC_COPY && first >= from && end <= from + n)
			return (r->at & ~RELOC_COPY) + (first - from);
	}
	return 0;
}

static void give_operand(struct bt *b, uint32_t at, const void *bytes, unsigned size)
{
	__builtin_memcpy(b->tc_rw + at, bytes, size);
	b->st->code_patches++;
}

// The unit takes over what stands on the page now.
static bool copy_operand(struct bt *b, const struct tu *t, unsigned first, unsigned end)
{
	const uint8_t *page = mem_host(&b->sh->config.mem, align_down(t->gpa, PAGE_SIZE), PAGE_SIZE);
	uint32_t at = page ? taken_operand(b, t, first, end) : 0;

	if (at)
		give_operand(b, at, page + first, end - first);
	return at;
}

static void retire_written(struct bt *b, gpa_t gpa, unsigned first, unsigned end, bool keep)
{
	uint32_t next;

	for (uint32_t node = b->page_head[gpa >> PAGE_SHIFT]; node; node = next) {
		struct tu *t = &b->tu[node >> 1];

		next = t->page_next[node & 1];
		if (!overlaps(b, node, first, end) || (keep && !(node & 1) && copy_operand(b, t, first, end)))
			continue;
		code_unwatch(b, t);
		tc_retire(b, t);
	}
}

// Guest memory of a page with code has been written. What was translated from these bytes is void; of all the page if
// that goes on.
void code_written(struct vcpu *v, gpa_t gpa, unsigned size)
{
	struct bt *b = bt_of(v);
	unsigned first = gpa & PAGE_OFFSET;
	struct code_page *p = page_of(b, gpa);
	uint64_t copied = b->st->code_patches;

	if (p->hits >= HITS_MAX) {
		b->st->code_writes++;
		retire_written(b, gpa, 0, PAGE_SIZE, false);
		return;
	}
	if (!(p->lines & lines_of(first, first + size))) {
		b->st->code_near_writes++;
		return;
	}
	b->st->code_writes++;
	retire_written(b, gpa, first, first + size, true);
	p->hits += b->st->code_patches == copied;
	if (*patched(b, gpa) < PATCHED_MIN)
		++*patched(b, gpa);
}

void vcpu_ram_written(struct vcpu *v, gpa_t gpa, size_t size)
{
	struct bt *b = bt_of(v);

	while (size) {
		unsigned part = (unsigned)MIN(size, PAGE_SIZE - (gpa & PAGE_OFFSET));

		shadow_claim_write(v, gpa);
		if (code_is_here(b, gpa))
			code_written(v, gpa, part);
		peers_written(b, gpa, part);
		gpa += part;
		size -= part;
	}
}

// -- writes beside code -----------------------------------------------------------------------------------------------

static bool find_near(struct vcpu *v, struct near_write *n, gva_t gva, enum tlb_index x)
{
	struct bt *b = bt_of(v);
	struct mmu_walk w;

	if (!mmu_walk(v, gva, VMEM_WRITE | (x == TLB_USER ? VMEM_USER : 0), &w) || !code_is_watched(b, w.gpa) ||
	    debugger_watches(&b->sh->debugger, align_down(gva, PAGE_SIZE), PAGE_SIZE, true))
		return false;
	n->gpa = align_down(w.gpa, PAGE_SIZE);
	n->host = mem_host(&b->sh->config.mem, n->gpa, PAGE_SIZE);
	n->tag = align_down(gva, PAGE_SIZE) | x;
	return n->host;
}

// One more write beside the code of a page. True: it takes the careful form, and retires all of the page.
static bool is_written_anew(struct code_page *p)
{
	if (p->hits && ++p->near > NEAR_MAX)
		p->hits = HITS_MAX;
	return p->hits >= HITS_MAX;
}

// A write within a page, in a mode with software TLB x, that has no entry there: if the page holds code, but not where
// it is written, the host address of the page. known: only if this was asked before; else gva must be canonical.
uint8_t *code_write_near(struct vcpu *v, gva_t gva, unsigned size, enum tlb_index x, bool known)
{
	struct bt *b = bt_of(v);
	struct near_write *n = &b->near_write[gva >> PAGE_SHIFT & (NEAR_WRITES - 1)];
	unsigned first = gva & PAGE_OFFSET;
	struct code_page *p;

	if (n->tag != (align_down(gva, PAGE_SIZE) | x) && (known || !find_near(v, n, gva, x)))
		return NULL;
	peers_claim_write(b, n->gpa);
	if (b->smp && peers_code_elsewhere(b, n->gpa))
		return NULL;
	if (!code_is_here(b, n->gpa))
		return NULL;
	p = page_of(b, n->gpa);
	if (p->lines & lines_of(first, first + size) || is_written_anew(p))
		return NULL;
	b->st->code_near_writes++;
	return n->host;
}

// The same of a store to code, of which is known what it stores: the host address, if that is nothing but operands that
// units have taken over. They have the new ones then; the store itself is still to come. Not from a unit of the same
// page: the host's processor may have fetched what comes next.
uint8_t *code_write_operand(struct vcpu *v, gva_t gva, enum tlb_index x, const void *value, const struct site *s)
{
	struct bt *b = bt_of(v);
	const struct near_write *n = &b->near_write[gva >> PAGE_SHIFT & (NEAR_WRITES - 1)];
	unsigned first = gva & PAGE_OFFSET, end = first + s->size, found = 0;
	uint32_t at[4];

	if (b->smp || n->tag != (align_down(gva, PAGE_SIZE) | x) || !code_is_patched(b, n->gpa) ||
	    page_of(b, n->gpa)->hits >= HITS_MAX || !((b->tu[s->tu].gpa ^ n->gpa) >> PAGE_SHIFT))
		return NULL;
	for (uint32_t o = b->page_head[n->gpa >> PAGE_SHIFT]; o; o = b->tu[o >> 1].page_next[o & 1]) {
		if (!overlaps(b, o, first, end))
			continue;
		if (o & 1 || found == ARRAY_SIZE(at) || !(at[found++] = taken_operand(b, &b->tu[o >> 1], first, end)))
			return NULL;
	}
	while (found)
		give_operand(b, at[--found], value, s->size);
	b->st->code_writes++;
	return n->host;
}

void code_forget_near(struct bt *b)
{
	for (unsigned i = 0; i < NEAR_WRITES; i++)
		b->near_write[i].tag = ~UINT64_C(0);
	device_forget(b);
}
