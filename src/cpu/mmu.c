// SPDX-License-Identifier: MIT
//
// The guest's page tables, walked by the SDM's "4-Level Paging", "PAE Paging", "32-Bit Paging", "Access Rights" and
// "Page-Fault Exceptions". This is the path of every TLB miss and of every C access to guest memory: one pass down, one
// decision. The formats differ in descend() alone: PAE paging is the lower two levels of the 4-level format below four
// registers (mmu_load_pdptes), 32-bit paging has entries of four bytes.
//
// Entries come from guest RAM; a table outside RAM reads as all ones, as from an empty bus. Accessed and dirty bits are
// set only after the access has been allowed, each with a compare-and-exchange against the entry that was used: if the
// guest changed it meanwhile the walk starts again. Nothing is cached here; TLBs are bt/'s.
#include "cpu/system.h"
#include "cpu/vcpu.h"

enum { LEVELS = 5, PML4 = 3, LARGE_SHIFT = PAGE_SHIFT + 9 }; // the page table is level 0, PML5 level 4
#define LARGE_NARROW (UINT64_C(4) << 20)

enum { CPUID_PDPE1GB = BIT(26) /* 80000001 EDX */ };

struct path { // the entries used, leaf last
	void *host[LEVELS]; // NULL: not RAM
	gpa_t gpa[LEVELS];
	uint64_t value[LEVELS];
	int top, leaf; // levels
	bool narrow;   // entries have 32 bits
	uint64_t size; // of the page
	gpa_t page;
};

static __attribute__((noinline)) void fill_model(struct vcpu *v)
{
	v->mmu.reserved = PTE_ADDR & ~(BIT64(v->phys_bits) - 1);
	v->mmu.pages_1g = cpuid_query(v, 0x80000001, 0).edx & CPUID_PDPE1GB;
	v->mmu.valid = true;
}

uint64_t mmu_reserved_bits(struct vcpu *v)
{
	if (!v->mmu.valid)
		fill_model(v);
	return v->mmu.reserved;
}

static inline uint64_t page_size(int level)
{
	return BIT64(PAGE_SHIFT + 9 * level);
}

// Bits that must be 0 in a large page's entry: the address bits below the page, except bit 12, which is PAT.
static inline uint64_t large_reserved(int level)
{
	return (page_size(level) - 1) & PTE_ADDR & ~BIT64(12);
}

static inline bool is_leaf(uint64_t e, int level)
{
	return level == 0 || (e & PTE_PS && level < PML4);
}

static inline uint64_t reserved_in(const struct mmu_model *m, uint64_t always, uint64_t e, int level)
{
	if (level == 0 || !(e & PTE_PS))
		return always;
	if (level >= PML4 || (level == 2 && !m->pages_1g))
		return always | PTE_PS;
	return always | large_reserved(level);
}

static inline uint64_t *entry_host(const struct vcpu *v, gpa_t gpa)
{
	return mem_host(&v->shared->config.mem, gpa, sizeof(uint64_t));
}

// Address line 20, if it is held low.
static inline gpa_t gated(const struct vcpu *v, gpa_t gpa)
{
	return gpa & ~((gpa_t)v->a20_masked << 20);
}

// Down to the leaf. Returns 0 or the bits that tell why not: 0 there means not present, so -1 stands for success.
enum { FOUND = -1 };

static inline int descend_wide(const struct vcpu *v, gva_t gva, gpa_t table, int top, uint64_t always, struct path *p)
{
	always |= v->mmu.reserved | (v->efer & EFER_NXE ? 0 : PTE_NX);
	p->top = top;
	p->narrow = false;
	for (int level = top;; level--) {
		gpa_t gpa = gated(v, table + (gva >> (PAGE_SHIFT + 9 * level) & 511) * sizeof(uint64_t));
		uint64_t *host = entry_host(v, gpa);
		uint64_t e = host ? __atomic_load_n(host, __ATOMIC_RELAXED) : ~UINT64_C(0);

		if (!(e & PTE_P))
			return 0;
		if (e & reserved_in(&v->mmu, always, e, level))
			return PF_P | PF_RSVD;
		p->gpa[level] = gpa;
		p->host[level] = host;
		p->value[level] = e;
		if (is_leaf(e, level)) {
			p->leaf = level;
			p->size = page_size(level);
			p->page = e & PTE_ADDR & ~(p->size - 1);
			return FOUND;
		}
		table = e & PTE_ADDR;
	}
}

// Bits 62-52, which 4-level paging ignores, are reserved. The rights are those of the two lower levels.
static int descend_pae(const struct vcpu *v, gva_t gva, struct path *p)
{
	uint64_t pdpte = v->pae_pdpte[gva >> 30 & 3];

	if (!(pdpte & PTE_P))
		return 0;
	return descend_wide(v, gva, pdpte & PTE_ADDR, 1, BIT64(63) - BIT64(52), p);
}

// A 4 MiB page's entry has bits 39-32 of its address in 20-13 (PSE-36).
static int descend_narrow(const struct vcpu *v, gva_t gva, struct path *p)
{
	gpa_t table = v->cr3 & 0xfffff000;

	p->top = 1;
	p->narrow = true;
	for (int level = 1;; level--) {
		gpa_t gpa = gated(v, table + (gva >> (PAGE_SHIFT + 10 * level) & 1023) * sizeof(uint32_t));
		uint32_t *host = mem_host(&v->shared->config.mem, gpa, sizeof(uint32_t));
		uint32_t e = host ? __atomic_load_n(host, __ATOMIC_RELAXED) : ~0u;
		bool large = level && e & PTE_PS && v->cr4 & CR4_PSE;

		if (!(e & PTE_P))
			return 0;
		p->gpa[level] = gpa;
		p->host[level] = host;
		p->value[level] = e;
		if (!level || large) {
			p->leaf = level;
			p->size = large ? LARGE_NARROW : PAGE_SIZE;
			p->page = large ? (e & ~(LARGE_NARROW - 1)) | (gpa_t)(e >> 13 & 0xff) << 32 : e & 0xfffff000;
			return large && (e & BIT(21) || p->page & v->mmu.reserved) ? PF_P | PF_RSVD : FOUND;
		}
		table = e & 0xfffff000;
	}
}

static int descend_legacy(const struct vcpu *v, gva_t gva, struct path *p)
{
	return v->cr4 & CR4_PAE ? descend_pae(v, (uint32_t)gva, p) : descend_narrow(v, (uint32_t)gva, p);
}

static inline int descend(const struct vcpu *v, gva_t gva, struct path *p)
{
	if (!vcpu_long_mode(v))
		return descend_legacy(v, gva, p);
	return descend_wide(v, gva, v->cr3 & PTE_ADDR, v->cr4 & CR4_LA57 ? PML4 + 1 : PML4, 0, p);
}

// Protection keys (SDM, "Protection Keys"): PKRU speaks of user pages, PKRS of the others; of data only, in long mode.
static __attribute__((noinline)) bool key_denies(struct vcpu *v, const struct mmu_walk *w, enum vmem_access access)
{
	bool on = v->cr4 & (w->user ? CR4_PKE : CR4_PKS) && vcpu_long_mode(v);
	uint32_t bits = (w->user ? v->pkru : (uint32_t)v->pkrs) >> 2 * w->pkey;

	if (!on || access & VMEM_FETCH)
		return false;
	v->mmu.keys |= (uint16_t)BIT(w->pkey);
	return bits & 1 || (bits & 2 && access & VMEM_WRITE && (access & VMEM_USER || v->cr0 & CR0_WP));
}

// Does PKRU leave user data of this page's key alone? As in a walk, WRPKRU comes to matter for the key then.
bool mmu_key_is_open(struct vcpu *v, const struct mmu_walk *w)
{
	if (!(v->cr4 & CR4_PKE))
		return true;
	v->mmu.keys |= (uint16_t)BIT(w->pkey);
	return !(v->pkru >> 2 * w->pkey & 3);
}

// Rights of user and supervisor accesses (SDM, "Determination of Access Rights").
static inline bool allowed(const struct vcpu *v, const struct mmu_walk *w, enum vmem_access access)
{
	if (access & VMEM_USER) {
		if (!w->user)
			return false;
		return access & VMEM_FETCH ? w->exec : !(access & VMEM_WRITE) || w->write;
	}
	if (access & VMEM_FETCH)
		return w->exec && !(w->user && v->cr4 & CR4_SMEP);
	if (w->user && v->cr4 & CR4_SMAP && (access & VMEM_IMPLICIT || !(v->rflags & RFLAGS_AC)))
		return false;
	return !(access & VMEM_WRITE) || w->write || !(v->cr0 & CR0_WP);
}

static inline uint32_t error_code(const struct vcpu *v, enum vmem_access access, uint32_t why)
{
	if (access & VMEM_WRITE)
		why |= PF_W;
	if (access & VMEM_USER)
		why |= PF_U;
	if (access & VMEM_FETCH && ((v->efer & EFER_NXE && v->cr4 & CR4_PAE) || v->cr4 & CR4_SMEP))
		why |= PF_I;
	return why;
}

static __attribute__((noinline)) void note_mark(struct mmu_marks *m, void *entry, uint32_t bits)
{
	if (m->n < MMU_MARKS) {
		m->set[m->n].entry = entry;
		m->set[m->n].bits = bits;
	}
	m->n++;
}

static bool exchange_narrow(uint32_t *entry, uint32_t old, uint32_t next)
{
	return __atomic_compare_exchange_n(entry, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static bool exchange_wide(uint64_t *entry, uint64_t old, uint64_t next)
{
	return __atomic_compare_exchange_n(entry, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static bool set_bits(struct vcpu *v, const struct path *p, int level, uint32_t bits)
{
	uint64_t old = p->value[level];
	bool same;

	if ((old & bits) == bits || !p->host[level])
		return true;
	if (p->narrow)
		same = exchange_narrow(p->host[level], (uint32_t)old, (uint32_t)old | bits);
	else
		same = exchange_wide(p->host[level], old, old | bits);
	if (!same)
		return false;
	if (v->marks)
		note_mark(v->marks, p->host[level], bits & ~(uint32_t)old);
	vcpu_ram_written(v, p->gpa[level], p->narrow ? sizeof(uint32_t) : sizeof(uint64_t));
	return true;
}

static inline bool set_accessed_dirty(struct vcpu *v, const struct path *p, enum vmem_access access)
{
	for (int level = p->top; level > p->leaf; level--)
		if (!set_bits(v, p, level, PTE_A))
			return false;
	return set_bits(v, p, p->leaf, access & VMEM_WRITE ? PTE_A | PTE_D : PTE_A);
}

static inline void describe(const struct vcpu *v, const struct path *p, gva_t gva, struct mmu_walk *out)
{
	uint64_t leaf = p->value[p->leaf], all = leaf, any = leaf, size = p->size;
	unsigned pat_shift = p->leaf ? 12 : 7;

	for (int level = p->top; level > p->leaf; level--) {
		all &= p->value[level];
		any |= p->value[level];
	}
	out->page_size = v->a20_masked ? PAGE_SIZE : size;
	out->gpa = gated(v, p->page | (gva & (size - 1)));
	out->user = all & PTE_U;
	out->write = all & PTE_W;
	out->exec = !(any & PTE_NX);
	out->dirty = leaf & PTE_D;
	out->accessed = all & PTE_A;
	out->global = leaf & PTE_G && v->cr4 & CR4_PGE;
	out->pat = (leaf >> pat_shift & 1) << 2 | (leaf >> 3 & 3);
	out->pkey = leaf >> 59 & 15;
	out->error = 0;
}

// PAE paging outside long mode: the registers out of the table at CR3. False: an entry has reserved bits set, and
// nothing has been loaded.
bool mmu_load_pdptes(struct vcpu *v, uint64_t cr3)
{
	const uint64_t reserved = mmu_reserved_bits(v) | ~(BIT64(52) - 1) | 0x1e6;
	gpa_t at = gated(v, cr3 & 0xffffffe0);
	const uint64_t *table = mem_host(&v->shared->config.mem, at, sizeof(v->pae_pdpte));
	uint64_t entry[4];

	for (unsigned i = 0; i < 4; i++) {
		entry[i] = table ? __atomic_load_n(&table[i], __ATOMIC_RELAXED) : ~UINT64_C(0);
		if (entry[i] & PTE_P && entry[i] & reserved)
			return false;
	}
	for (unsigned i = 0; i < 4; i++)
		v->pae_pdpte[i] = entry[i];
	return true;
}

static bool walk_unpaged(const struct vcpu *v, gva_t gva, struct mmu_walk *out)
{
	*out = (struct mmu_walk){.gpa = gated(v, (uint32_t)gva), .page_size = PAGE_SIZE, .user = true, .write = true,
				 .exec = true, .dirty = true};
	return true;
}

bool mmu_walk(struct vcpu *v, gva_t gva, enum vmem_access access, struct mmu_walk *out)
{
	struct path p;
	bool keyed;

	if (!vcpu_paging(v))
		return walk_unpaged(v, gva, out);
	if (!v->mmu.valid)
		fill_model(v);
	for (;;) {
		int why = descend(v, gva, &p);

		if (why != FOUND) {
			out->error = error_code(v, access, why);
			return false;
		}
		describe(v, &p, gva, out);
		keyed = v->cr4 & (CR4_PKE | CR4_PKS) && key_denies(v, out, access);
		if (keyed || !allowed(v, out, access)) {
			out->error = error_code(v, access, keyed ? PF_P | PF_PK : PF_P);
			return false;
		}
		if (set_accessed_dirty(v, &p, access))
			break;
	}
	if (access & VMEM_WRITE)
		out->dirty = true;
	return true;
}

bool mmu_look(struct vcpu *v, gva_t gva, struct mmu_walk *out)
{
	struct path p;

	mmu_reserved_bits(v);
	if (descend(v, gva, &p) != FOUND)
		return false;
	describe(v, &p, gva, out);
	return true;
}

// By the page table that the last look came to, if the address is in its reach. What leads there is taken as it was.
bool mmu_look_near(struct vcpu *v, gva_t gva, struct mmu_table *near, struct mmu_walk *out)
{
	struct path p;
	uint64_t e;

	if (near->entries && gva >> LARGE_SHIFT == near->region) {
		e = __atomic_load_n(&near->entries[gva >> PAGE_SHIFT & 511], __ATOMIC_RELAXED);
		if (!(e & PTE_P) || e & near->reserved)
			return false;
		p = (struct path){.value = {e, near->value[0], near->value[1], near->value[2], near->value[3]},
				  .top = near->top, .size = PAGE_SIZE, .page = e & PTE_ADDR};
		describe(v, &p, gva, out);
		return true;
	}
	near->entries = NULL;
	mmu_reserved_bits(v);
	if (descend(v, gva, &p) != FOUND)
		return false;
	describe(v, &p, gva, out);
	if (p.leaf || p.narrow || v->a20_masked || !vcpu_long_mode(v))
		return true;
	near->region = gva >> LARGE_SHIFT;
	near->entries = (const uint64_t *)align_down((uintptr_t)p.host[0], PAGE_SIZE);
	near->top = p.top;
	near->reserved = v->mmu.reserved | (v->efer & EFER_NXE ? 0 : PTE_NX);
	for (int level = 1; level <= p.top; level++)
		near->value[level - 1] = p.value[level];
	return true;
}

bool mmu_maps(struct vcpu *v, uint64_t cr3, gva_t gva, gpa_t gpa)
{
	struct path p;

	mmu_reserved_bits(v);
	return descend_wide(v, gva, cr3 & PTE_ADDR, v->cr4 & CR4_LA57 ? PML4 + 1 : PML4, 0, &p) == FOUND &&
	       (p.page | (gva & (p.size - 1))) == gpa;
}

bool mmu_peek(struct vcpu *v, gva_t gva, gpa_t *gpa)
{
	struct mmu_walk w;

	if (!vcpu_paging(v)) {
		*gpa = gated(v, (uint32_t)gva);
		return true;
	}
	if (!mmu_look(v, gva, &w))
		return false;
	*gpa = w.gpa;
	return true;
}
