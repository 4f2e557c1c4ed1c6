// SPDX-License-Identifier: MIT
//
// The careful form's accesses: the operand of one instruction is read through the guest's paging into a bounce buffer
// (with the alignment it had), the host runs the instruction on that, and what was written goes back. Everything that
// can fault is asked before the instruction runs; the write back cannot. Of a masked operand only the bytes that the
// mask selects are touched.
#include "base/string.h"
#include "bt/selfcheck.h"
#include "bt/vector.h"
#include "cpu/segment.h"

static uint64_t *host_regs(struct vcpu *v)
{
	return (uint64_t *)((char *)v + SLOT_HOST_REGS);
}

static unsigned user_access(const struct bt *b, const struct site *s)
{
	return b->tu[s->tu].mode & MODE_USER ? VMEM_USER : 0;
}

// Raise what a write of these bytes would raise, without writing.
static void probe_write(struct vcpu *v, gva_t gva, unsigned size, unsigned access)
{
	gva_t last = vmem_advance(v, gva, size - 1);
	struct mmu_walk w;

	if (!mmu_walk(v, gva, VMEM_WRITE | access, &w))
		vcpu_raise_pf(v, gva, w.error);
	if ((gva ^ last) >> PAGE_SHIFT && !mmu_walk(v, last, VMEM_WRITE | access, &w))
		vcpu_raise_pf(v, align_down(last, PAGE_SIZE), w.error);
}

static bool canonical(const struct vcpu *v, gva_t gva)
{
	return !vcpu_long_mode(v) || vcpu_canonical(v, gva);
}

static void check_alignment(struct vcpu *v, const struct site *s, gva_t gva)
{
	if (s->align && gva & (s->align - 1u))
		vcpu_raise(v, VEC_GP, 0);
}

// An exception of an earlier x87 instruction comes before anything this one's operand may meet.
static void raise_waiting(struct vcpu *v)
{
	uint16_t fsw;

	__asm__ volatile("fnstsw %0" : "=a"(fsw));
	if (fsw & 0x80)
		vcpu_raise(v, VEC_MF, 0);
}

// What the segment and the alignment check have to say. Operands of 10 bytes and more are taken to want what most
// processors ask of them: no more than 8.
static void check_access(struct vcpu *v, const struct site *s, gva_t gva)
{
	uint8_t vector = s->seg == X86_SS ? VEC_SS : VEC_GP;
	unsigned align = s->size >= 8 ? 8 : s->size;

	if (s->waits)
		raise_waiting(v);
	if (!vcpu_code64(v))
		segment_linear(v, s->seg, (uint32_t)(gva - v->seg[s->seg].base), s->size,
			       s->access & X86_WRITE ? VMEM_WRITE : VMEM_READ);
	check_alignment(v, s, gva);
	if (!canonical(v, gva) || !canonical(v, gva + s->size - 1))
		vcpu_raise(v, vector, 0);
	if (v->cpl == 3 && v->rflags & RFLAGS_AC && v->cr0 & CR0_AM && gva & (align - 1) && !(align & (align - 1)))
		vcpu_raise(v, VEC_AC, 0);
}

// -- masked operands: runs of bytes -----------------------------------------------------------------------------------

struct run {
	unsigned first, n;
};

// Take the next run of set bits off *bytes.
static bool next_run(uint64_t *bytes, struct run *r)
{
	uint64_t rest;

	if (!*bytes)
		return false;
	r->first = (unsigned)__builtin_ctzll(*bytes);
	rest = ~(*bytes >> r->first);
	r->n = rest ? (unsigned)__builtin_ctzll(rest) : 64;
	*bytes &= ~(low_bits(r->n) << r->first);
	return true;
}

static void probe_runs(struct vcpu *v, gva_t gva, uint64_t bytes, enum vmem_access access, enum x86_sreg seg)
{
	struct run r;

	while (next_run(&bytes, &r)) {
		if (!vcpu_code64(v))
			segment_linear(v, seg, (uint32_t)(gva + r.first - v->seg[seg].base), r.n, access);
		vmem_probe(v, vmem_advance(v, gva, r.first), r.n, vmem_explicit(v, access), seg);
	}
}

// A store that goes from one page into another reports its last byte if that page is the one at fault, as Intel's
// processors do; with AMD's it is the first byte there.
void masked_probe(struct vcpu *v, gva_t gva, uint64_t bytes, enum vmem_access access, enum x86_sreg seg)
{
	uint64_t lower = bytes & low_bits(PAGE_SIZE - (unsigned)(gva & PAGE_OFFSET)), upper = bytes & ~lower;

	probe_runs(v, gva, lower, access, seg);
	if (access & VMEM_WRITE && lower && upper && !v->amd)
		probe_runs(v, gva, BIT64(63 - __builtin_clzll(upper)), access, seg);
	probe_runs(v, gva, upper, access, seg);
}

void masked_write(struct vcpu *v, gva_t gva, const uint8_t *data, uint64_t bytes)
{
	struct run r;

	while (next_run(&bytes, &r))
		vmem_write(v, vmem_advance(v, gva, r.first), data + r.first, r.n, vmem_explicit(v, VMEM_WRITE));
}

static void masked_read(struct vcpu *v, gva_t gva, uint8_t *data, uint64_t bytes)
{
	struct run r;

	while (next_run(&bytes, &r))
		vmem_read(v, vmem_advance(v, gva, r.first), data + r.first, r.n, vmem_explicit(v, VMEM_READ));
}

static void masked_access(struct vcpu *v, const struct site *s, struct bounce *o, uint8_t *data)
{
	struct bt *b = bt_of(v);
	const struct x86_insn *insn = &b->insn[s->insn];
	enum vmem_access access = s->access & X86_WRITE ? VMEM_WRITE : VMEM_READ;

	o->in_place = NULL;
	o->bytes = masked_bytes(v, insn, &b->vop[s->insn]);
	if (o->bytes)
		check_alignment(v, s, o->gva);
	if (insn->mem.mask & X86_MASK_FAULTS)
		probe_runs(v, o->gva, low_bits(s->size), access, s->seg);
	else if (insn->mem.mask_unit == s->size) // a scalar
		probe_runs(v, o->gva, o->bytes, access, s->seg);
	else
		masked_probe(v, o->gva, o->bytes, access, s->seg);
	if (s->access & X86_READ) {
		memset(data, 0, s->size);
		masked_read(v, o->gva, data, o->bytes);
	}
	if (v->dr[7] & 0xff && o->bytes)
		debug_note_access(v, o->gva, s->size, s->access & X86_WRITE);
}

static void copy(void *to, const void *from, size_t n)
{
	switch (n) {
	case 4:
		__builtin_memcpy(to, from, 4);
		return;
	case 8:
		__builtin_memcpy(to, from, 8);
		return;
	default:
		memcpy(to, from, n);
	}
}

// The two pages that an operand lies on, side by side, so that the host's processor works on both at once.
static uint8_t *join_pages(struct vcpu *v, const struct bounce *o)
{
	const struct mem *mem = &v->shared->config.mem;
	gpa_t first = align_down(o->gpa, PAGE_SIZE);

	if (first + PAGE_SIZE == o->gpa2)
		return mem_host(mem, o->gpa, o->size);
	if (!mem_is_ram(mem, first, PAGE_SIZE) || !mem_is_ram(mem, o->gpa2, PAGE_SIZE) ||
	    vmm_map_guest(v, SPLIT_WINDOW, first, PAGE_SIZE, true) ||
	    vmm_map_guest(v, SPLIT_WINDOW + PAGE_SIZE, o->gpa2, PAGE_SIZE, true))
		return NULL;
	return (uint8_t *)SPLIT_WINDOW + (o->gpa & PAGE_OFFSET);
}

// Of several processors, one's read-modify-write must be one to the others: it is done where it belongs.
static void find_in_place(struct vcpu *v, const struct site *s, struct bounce *o)
{
	unsigned first = PAGE_SIZE - (unsigned)(o->gva & PAGE_OFFSET), access = VMEM_WRITE | user_access(bt_of(v), s);
	struct mmu_walk w;

	o->in_place = NULL;
	if (!bt_of(v)->smp || (s->access & 3) != (X86_READ | X86_WRITE) || !mmu_walk(v, o->gva, access, &w))
		return;
	o->gpa = w.gpa;
	if (s->size <= first) {
		o->in_place = mem_host(&v->shared->config.mem, w.gpa, s->size);
	} else if (mmu_walk(v, vmem_advance(v, o->gva, first), access, &w)) {
		o->gpa2 = w.gpa;
		o->in_place = join_pages(v, o);
	}
}

static void wrote_in_place(struct vcpu *v, const struct bounce *o)
{
	unsigned first = PAGE_SIZE - (unsigned)(o->gpa & PAGE_OFFSET);

	vcpu_ram_written(v, o->gpa, MIN(o->size, first));
	if (o->size > first)
		vcpu_ram_written(v, o->gpa2, o->size - first);
	if ((uint64_t)o->in_place >> PAGE_SHIFT == SPLIT_WINDOW >> PAGE_SHIFT)
		vmm_unmap_guest(v, SPLIT_WINDOW, 2 * PAGE_SIZE);
}

static void plain_access(struct vcpu *v, const struct site *s, struct bounce *o, uint8_t *data)
{
	struct bt *b = bt_of(v);
	bool write = s->access & X86_WRITE;
	unsigned access = user_access(b, s);

	check_access(v, s, o->gva);
	o->ram = tlb_host(v, o->gva, s->size, write, b->tu[s->tu].mode);
	if (write && !o->ram)
		probe_write(v, o->gva, s->size, access);
	find_in_place(v, s, o);
	if (s->access & X86_READ || s->size > 64 || s->x87) { // an x87 store that raises an exception stores nothing
		if (o->ram)
			copy(data, o->ram, s->size);
		else
			vmem_read(v, o->gva, data, s->size, VMEM_READ | access);
	}
	if (v->dr[7] & 0xff)
		debug_note_access(v, o->gva, s->size, write);
}

// T0 holds the linear address; afterwards T1 + T0 is the bounce buffer.
const uint8_t *bt_careful_access(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	const struct site *s = &b->site[*(const uint32_t *)ra];
	struct bounce *o = &b->bounce[s->bounce];
	uint64_t *host = host_regs(v);
	gva_t gva = host[HOST_T0];
	uint8_t *data = o->data + (gva & 63);

	o->gva = gva;
	o->size = s->size;
	recover_site(v, s); // the accesses below may raise
	if (b->check.recording && !selfcheck_allows(v, gva, s->size))
		bt_leave(LEAVE_CAREFUL);
	if (s->insn)
		masked_access(v, s, o, data);
	else
		plain_access(v, s, o, data);
	host[HOST_T0] = gva & 63;
	host[HOST_T1] = o->in_place ? (uint64_t)o->in_place - (gva & 63) : (uint64_t)o->data;
	return ra + 4;
}

const uint8_t *bt_careful_commit(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	const struct site *s = &b->site[*(const uint32_t *)ra];
	struct bounce *o = &b->bounce[s->bounce];

	if (b->check.recording)
		selfcheck_note_write(v, o->gva, o->size);
	if (o->in_place)
		wrote_in_place(v, o);
	else if (s->insn)
		masked_write(v, o->gva, o->data + (o->gva & 63), o->bytes);
	else if (o->ram)
		copy(o->ram, o->data + (o->gva & 63), o->size);
	else
		vmem_write(v, o->gva, o->data + (o->gva & 63), o->size, VMEM_WRITE | user_access(b, s));
	return ra + 4;
}
