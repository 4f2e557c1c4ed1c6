// SPDX-License-Identifier: MIT
//
// XSAVE and its kin outside 64-bit mode, which has eight vector registers: the others are neither saved nor restored,
// and the bytes of an area that are theirs stay as they are (SDM vol. 1, "XSAVE-Managed State"). The host's instruction
// does the work, on a copy of the area in which nothing is left that could make it fault.
#include "base/string.h"
#include "bt/vector.h"
#include "cpu/insn.h"

enum { // offsets in an area
	MXCSR = 24, MXCSR_MASK = 28, ST = 32, XMM = 160, XMM8 = 288, HEADER = 512, BODY = 576,
};
enum { X87 = BIT(0), SSE = BIT(1), AVX = BIT(2), ZMM16 = BIT(7), COMPONENTS = 8 };
#define COMPACTED BIT64(63)

// Bytes that the eight registers have of each component.
static const uint16_t lower_part[COMPONENTS] = {[2] = 128, [5] = 64, [6] = 256};

struct header {
	uint64_t used, form, reserved[6]; // XSTATE_BV, XCOMP_BV
};

struct area {
	struct vcpu *v;
	const struct x86_insn *insn;
	gva_t gva;
	uint64_t asked; // EDX:EAX and XCR0
	uint8_t image[XSAVE_AREA_MAX] __attribute__((aligned(64)));
};

struct upper_registers { // XMM8 to XMM15, what AVX and AVX-512 make longer of them, ZMM16 to ZMM31
	uint64_t xmm[8 * 2], avx[8 * 2], zmm[8 * 4], zmm16[16 * 8];
};

static struct header *header_of(struct area *a)
{
	return (struct header *)(a->image + HEADER);
}

static uint32_t component_at(const struct vcpu *v, unsigned n, uint64_t form)
{
	uint32_t at = BODY;

	if (!(form & COMPACTED))
		return cpuid_query(v, 0xd, n).ebx;
	for (unsigned i = 2; i <= n; i++) {
		struct cpuid_regs r = cpuid_query(v, 0xd, i);

		if (!(form >> i & 1))
			continue;
		if (r.ecx & BIT(1))
			at = (uint32_t)align_up(at, 64);
		if (i < n)
			at += r.eax;
	}
	return at;
}

// Where the last of these components ends, as far as it is accessed.
static uint32_t end_of(const struct vcpu *v, uint64_t components, uint64_t form)
{
	uint32_t end = BODY;

	for (unsigned i = 2; i < COMPONENTS; i++)
		if (components >> i & 1 && lower_part[i])
			end = MAX(end, component_at(v, i, form) + lower_part[i]);
	return end;
}

static void open_area(struct area *a, uint32_t size, enum vmem_access access)
{
	a->gva = insn_linear(a->v, a->insn, 0, size, access);
	if (a->gva & 63)
		vcpu_raise(a->v, VEC_GP, 0);
	vmem_probe(a->v, a->gva, size, vmem_explicit(a->v, access), a->insn->mem.seg);
}

static void read_part(struct area *a, unsigned at, unsigned n)
{
	vmem_read_seg(a->v, vmem_advance(a->v, a->gva, at), a->image + at, n, vmem_explicit(a->v, VMEM_READ),
		      a->insn->mem.seg);
}

static void write_part(struct area *a, unsigned at, unsigned n)
{
	vmem_write_seg(a->v, vmem_advance(a->v, a->gva, at), a->image + at, n, vmem_explicit(a->v, VMEM_WRITE),
		       a->insn->mem.seg);
}

static void each_component(struct area *a, uint64_t components, uint64_t form,
			   void (*part)(struct area *, unsigned, unsigned))
{
	for (unsigned i = 2; i < COMPONENTS; i++)
		if (components >> i & 1 && lower_part[i])
			part(a, component_at(a->v, i, form), lower_part[i]);
}

// XSAVEOPT is XSAVE: what it may leave out is its own affair.
static void save(struct area *a)
{
	bool compact = a->insn->opcode == 0xc7;
	uint64_t form = compact ? a->asked | COMPACTED : 0, written = a->asked;
	struct header *h = header_of(a);
	uint32_t low = (uint32_t)a->asked;

	open_area(a, end_of(a->v, a->asked, form), VMEM_WRITE);
	memset(h, 0, sizeof(*h));
	if (compact) {
		__asm__ volatile("xsavec %0" : "+m"(a->image) : "a"(low), "d"(0));
	} else {
		read_part(a, HEADER, 8);
		__asm__ volatile("xsave %0" : "+m"(a->image) : "a"(low), "d"(0));
	}
	if (a->asked & ZMM16 && !a->v->amd) // initial outside 64-bit mode; AMD's processors do not say so
		h->used &= ~(uint64_t)ZMM16;
	if (compact)
		written &= h->used;
	if (written & X87) {
		write_part(a, 0, MXCSR);
		write_part(a, ST, XMM - ST);
	}
	if (written & (compact ? SSE : SSE | AVX))
		write_part(a, MXCSR, ST - MXCSR);
	if (written & SSE)
		write_part(a, XMM, XMM8 - XMM);
	each_component(a, written, form, write_part);
	write_part(a, HEADER, compact ? 16 : 8);
}

static bool all_zero(const uint64_t *p, unsigned n)
{
	while (n)
		if (p[--n])
			return false;
	return true;
}

// SDM, "XRSTOR": what its header must not say.
static bool is_bad(struct area *a)
{
	const struct header *h = header_of(a);
	uint64_t xcr0 = a->v->xcr0;

	if (!(h->form & COMPACTED))
		return h->used & ~xcr0 || h->form || h->reserved[0];
	return !cpuid_has(a->v, X86_FEATURE_XSAVEC) || h->form & ~(xcr0 | COMPACTED) || h->used & ~h->form ||
	       !all_zero(h->reserved, 6);
}

// MXCSR of the area if it is loaded (#GP if it has bits that the processor has not); else the present one, after
// vmm_save_vectors.
static void settle_mxcsr(struct area *a)
{
	const struct header *h = header_of(a);
	bool loads = h->form & COMPACTED ? a->asked & h->used & SSE : a->asked & (SSE | AVX);
	uint32_t wanted, valid;

	__builtin_memcpy(&wanted, a->image + MXCSR, 4);
	__builtin_memcpy(&valid, a->v->xsave + MXCSR_MASK, 4);
	if (!loads)
		__builtin_memcpy(a->image + MXCSR, a->v->xsave + MXCSR, 4);
	else if (wanted & ~valid)
		vcpu_raise(a->v, VEC_GP, 0);
}

// The registers that 64-bit code alone has: out of the saved image, and back.
static void keep_upper(const struct vcpu *v, struct upper_registers *u)
{
	const struct vector_layout *at = &bt_of(v)->vectors;

	memset(u, 0, sizeof(*u));
	memcpy(u->xmm, v->xsave + XMM8, sizeof(u->xmm));
	if (at->avx)
		memcpy(u->avx, v->xsave + at->avx + sizeof(u->avx), sizeof(u->avx));
	if (!at->zmm_upper)
		return;
	memcpy(u->zmm, v->xsave + at->zmm_upper + sizeof(u->zmm), sizeof(u->zmm));
	memcpy(u->zmm16, v->xsave + at->zmm16, sizeof(u->zmm16));
}

// Returns the components that are not initial for their sake.
static uint64_t put_upper(uint8_t *at, const void *from, size_t n, unsigned component)
{
	memcpy(at, from, n);
	return all_zero(from, (unsigned)n / 8) ? 0 : BIT64(component);
}

static void put_back_upper(struct vcpu *v, const struct upper_registers *u)
{
	const struct vector_layout *at = &bt_of(v)->vectors;
	uint64_t used;

	__builtin_memcpy(&used, v->xsave + HEADER, 8);
	used |= put_upper(v->xsave + XMM8, u->xmm, sizeof(u->xmm), 1);
	if (at->avx)
		used |= put_upper(v->xsave + at->avx + sizeof(u->avx), u->avx, sizeof(u->avx), 2);
	if (at->zmm_upper) {
		used |= put_upper(v->xsave + at->zmm_upper + sizeof(u->zmm), u->zmm, sizeof(u->zmm), 6);
		used |= put_upper(v->xsave + at->zmm16, u->zmm16, sizeof(u->zmm16), 7);
	}
	__builtin_memcpy(v->xsave + HEADER, &used, 8);
}

static void restore(struct area *a)
{
	struct vcpu *v = a->v;
	struct header *h = header_of(a);
	struct upper_registers upper;

	open_area(a, BODY, VMEM_READ);
	read_part(a, 0, BODY);
	if (is_bad(a))
		vcpu_raise(v, VEC_GP, 0);
	open_area(a, end_of(v, a->asked & h->used, h->form), VMEM_READ);
	each_component(a, a->asked & h->used, h->form, read_part);
	vmm_save_vectors(v);
	settle_mxcsr(a);
	keep_upper(v, &upper);
	__asm__ volatile("xrstor %0" : : "m"(a->image), "a"((uint32_t)a->asked), "d"(0));
	vmm_save_vectors(v);
	put_back_upper(v, &upper);
	vmm_load_vectors(v);
}

void bt_xsave32(struct vcpu *v, const struct x86_insn *insn)
{
	struct area a;

	a.v = v;
	a.insn = insn;
	a.asked = (v->gpr[X86_RDX] << 32 | (uint32_t)v->gpr[X86_RAX]) & v->xcr0;
	if (insn->mem.access & X86_WRITE)
		save(&a);
	else
		restore(&a);
}
