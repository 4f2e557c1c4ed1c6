// SPDX-License-Identifier: MIT
//
// The guest's page tables, walked by the SDM's "4-Level Paging", "Access Rights" and "Page-Fault Exceptions". This is
// the path of every TLB miss and of every C access to guest memory: one pass down, one decision, no calls on the way.
//
// Entries come from guest RAM; a table outside RAM reads as all ones, as from an empty bus. Accessed and dirty bits are
// set only after the access has been allowed, each with a compare-and-exchange against the entry that was used: if the
// guest changed it meanwhile the walk starts again. Nothing is cached here; TLBs are bt/'s.
#include "cpu/system.h"
#include "cpu/vcpu.h"

enum { LEVELS = 4 }; // PML4 is level 3, the page table level 0

enum { CPUID_PDPE1GB = BIT(26) /* 80000001 EDX */ };

struct path { // the entries used, leaf last
	uint64_t *host[LEVELS]; // NULL: not RAM
	gpa_t gpa[LEVELS];
	uint64_t value[LEVELS];
	int leaf; // level
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
	return level == 0 || (e & PTE_PS && level < LEVELS - 1);
}

static inline uint64_t reserved_in(const struct mmu_model *m, uint64_t always, uint64_t e, int level)
{
	if (level == 0 || !(e & PTE_PS))
		return always;
	if (level == LEVELS - 1 || (level == 2 && !m->pages_1g))
		return always | PTE_PS;
	return always | large_reserved(level);
}

static inline uint64_t *entry_host(const struct vcpu *v, gpa_t gpa)
{
	return mem_host(&v->shared->config.mem, gpa, sizeof(uint64_t));
}

// Down to the leaf. Returns 0 or the bits that tell why not: 0 there means not present, so -1 stands for success.
enum { FOUND = -1 };

static inline int descend(struct vcpu *v, gva_t gva, struct path *p)
{
	uint64_t always = v->mmu.reserved | (v->efer & EFER_NXE ? 0 : PTE_NX);
	uint64_t table = v->cr3 & PTE_ADDR;

	for (int level = LEVELS - 1;; level--) {
		gpa_t gpa = table + (gva >> (PAGE_SHIFT + 9 * level) & 511) * sizeof(uint64_t);
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
			return FOUND;
		}
		table = e & PTE_ADDR;
	}
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
	if (access & VMEM_FETCH && (v->efer & EFER_NXE || v->cr4 & CR4_SMEP))
		why |= PF_I;
	return why;
}

static __attribute__((noinline)) void note_mark(struct mmu_marks *m, uint64_t *entry, uint64_t bits)
{
	if (m->n < MMU_MARKS) {
		m->set[m->n].entry = entry;
		m->set[m->n].bits = bits;
	}
	m->n++;
}

static bool set_bits(struct vcpu *v, const struct path *p, int level, uint64_t bits)
{
	uint64_t old = p->value[level];

	if ((old & bits) == bits || !p->host[level])
		return true;
	if (!__atomic_compare_exchange_n(p->host[level], &old, old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return false;
	if (v->marks)
		note_mark(v->marks, p->host[level], bits & ~old);
	vcpu_ram_written(v, p->gpa[level], sizeof(uint64_t));
	return true;
}

static inline bool set_accessed_dirty(struct vcpu *v, const struct path *p, enum vmem_access access)
{
	for (int level = LEVELS - 1; level > p->leaf; level--)
		if (!set_bits(v, p, level, PTE_A))
			return false;
	return set_bits(v, p, p->leaf, access & VMEM_WRITE ? PTE_A | PTE_D : PTE_A);
}

static inline void describe(const struct vcpu *v, const struct path *p, gva_t gva, struct mmu_walk *out)
{
	uint64_t leaf = p->value[p->leaf], all = leaf, any = leaf, size = page_size(p->leaf);
	unsigned pat_shift = p->leaf ? 12 : 7;

	for (int level = LEVELS - 1; level > p->leaf; level--) {
		all &= p->value[level];
		any |= p->value[level];
	}
	out->page_size = size;
	out->gpa = (leaf & PTE_ADDR & ~(size - 1)) | (gva & (size - 1));
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

static bool walk_unpaged(gva_t gva, struct mmu_walk *out)
{
	*out = (struct mmu_walk){.gpa = (uint32_t)gva, .page_size = PAGE_SIZE, .user = true, .write = true, .exec = true,
				 .dirty = true};
	return true;
}

static __attribute__((noinline)) void check_format(struct vcpu *v)
{
	if (!vcpu_long_mode(v))
		vcpu_nyi(v, v->cr4 & CR4_PAE ? "PAE paging" : "32-bit paging");
	if (v->cr4 & CR4_LA57)
		vcpu_nyi(v, "5-level paging");
	if (v->cr4 & (CR4_PKE | CR4_PKS))
		vcpu_nyi(v, "protection keys");
	fill_model(v);
}

static inline bool usual_format(const struct vcpu *v)
{
	return v->mmu.valid && vcpu_long_mode(v) && !(v->cr4 & (CR4_LA57 | CR4_PKE | CR4_PKS));
}

bool mmu_walk(struct vcpu *v, gva_t gva, enum vmem_access access, struct mmu_walk *out)
{
	struct path p;

	if (!vcpu_paging(v))
		return walk_unpaged(gva, out);
	if (!usual_format(v))
		check_format(v);
	for (;;) {
		int why = descend(v, gva, &p);

		if (why != FOUND) {
			out->error = error_code(v, access, why);
			return false;
		}
		describe(v, &p, gva, out);
		if (!allowed(v, out, access)) {
			out->error = error_code(v, access, PF_P);
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

	if (!usual_format(v)) {
		if (!vcpu_long_mode(v) || v->cr4 & CR4_LA57)
			return false;
		mmu_reserved_bits(v);
	}
	if (descend(v, gva, &p) != FOUND)
		return false;
	describe(v, &p, gva, out);
	return true;
}

bool mmu_peek(struct vcpu *v, gva_t gva, gpa_t *gpa)
{
	struct mmu_walk w;

	if (!vcpu_paging(v)) {
		*gpa = (uint32_t)gva;
		return true;
	}
	if (!mmu_look(v, gva, &w))
		return false;
	*gpa = w.gpa;
	return true;
}
