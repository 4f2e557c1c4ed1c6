// SPDX-License-Identifier: MIT
//
// Accesses that the software TLB (tlb.c) has no entry for: the guest's tables are walked, and the access is let go on -
// with an entry now, or this once - or it is the guest's fault, or the careful form's business. And host addresses for
// C.
#include "base/string.h"
#include "bt/bt.h"
#include "cpu/vmem.h"

// An access across two pages that lie side by side in RAM, and may be used as they are, needs no bounce buffer: the
// host address of the first page. Beyond the end of the address space the segment has a say.
static uint8_t *spans_plain_ram(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x, bool write)
{
	unsigned access = (write ? VMEM_WRITE : VMEM_READ) | (x == TLB_USER ? VMEM_USER : 0);
	gva_t second = vmem_advance(v, align_down(gva, PAGE_SIZE), PAGE_SIZE);
	struct bt *b = bt_of(v);
	struct mmu_walk w, w2;

	if (s->masked || (s->align && gva & (s->align - 1)) || !is_canonical(v, gva) || !is_canonical(v, second) ||
	    second < gva || s->size > PAGE_SIZE || debugger_watches(&b->sh->debugger, gva, s->size, write))
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
	if (!is_canonical(v, gva))
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
	tlb_fill(b, write ? &b->tlb_w[x] : &b->tlb_r[x], gva, &w, page);
	vmm_trace(v, LOG_MMU, "mmu: %s of %lx to %lx in a page of %lx%s\n", write ? "write" : "read", gva, w.gpa,
		  w.page_size, w.global ? ", global" : "");
	if (write && w.gpa >> PAGE_SHIFT < GFNS_MAX)
		tlb_note_write(b, gva, w.gpa);
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
		if (write && !fault && is_canonical(v, gva))
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
