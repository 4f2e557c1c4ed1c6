// SPDX-License-Identifier: MIT
//
// Gathers and scatters, carried out by C on the saved image of the vector registers, element by element from the
// lowest up (SDM, "VPGATHERDD" and its kin). An element that is done is written to the destination and has its mask
// cleared, so that after a fault the instruction goes on where it stopped. RAM known to the software TLB is accessed
// at once; everything else goes through the guest's paging.
#include "bt/vector.h"
#include "cpu/segment.h"

struct gather {
	struct vcpu *v;
	const struct x86_insn *insn;
	struct vector_op op;
	bool evex, scatter, code64, wrote;
	unsigned n, element, index; // elements; their size and that of an index
	unsigned access;
	struct tlb *tlb;
	uint64_t base;
};

static void setup(struct gather *g)
{
	struct vcpu *v = g->v;
	struct bt *b = bt_of(v);
	const struct x86_insn *insn = g->insn;
	const struct x86_mem *m = &insn->mem;
	enum tlb_index x = v->cpl == 3 ? TLB_USER : b->mode_now & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL;

	g->evex = insn->encoding == X86_ENC_EVEX;
	g->scatter = insn->opcode >= 0xa0;
	g->code64 = vcpu_code64(v);
	g->element = m->size;
	g->index = insn->opcode & 1 ? 8 : 4;
	g->n = insn->vl / MAX(g->element, g->index);
	g->access = (g->scatter ? VMEM_WRITE : VMEM_READ) | (v->cpl == 3 ? VMEM_USER : 0);
	g->tlb = g->scatter ? &b->tlb_w[x] : &b->tlb_r[x];
	g->base = (uint64_t)m->disp + (m->base < X86_GPRS ? v->gpr[m->base] : 0);
}

static gva_t address(const struct gather *g, unsigned i)
{
	const struct x86_mem *m = &g->insn->mem;
	const uint8_t *at = vector_at(g->v, m->index, i * g->index);
	uint64_t a;
	int64_t index;

	if (g->index == 8) {
		__builtin_memcpy(&index, at, 8);
	} else {
		int32_t narrow;

		__builtin_memcpy(&narrow, at, 4);
		index = narrow;
	}
	a = g->base + (uint64_t)index * m->scale;
	if (g->insn->addrsize == 4)
		a = (uint32_t)a;
	if (!g->code64)
		return (uint32_t)(a + g->v->seg[m->seg].base);
	return m->seg >= X86_FS ? a + g->v->seg[m->seg].base : a;
}

static bool selected(struct gather *g, unsigned i)
{
	if (g->evex)
		return *vector_kmask(g->v, g->op.k) >> i & 1;
	return *vector_at(g->v, g->op.vvvv, i * g->element + g->element - 1) >> 7;
}

// AVX2: a sign bit stands for its whole element from the start. AMD's processors leave what is not done yet as it is,
// above the vector too.
static void extend_mask(struct gather *g)
{
	if (g->v->amd)
		return;
	for (unsigned i = 0; i < g->insn->vl / g->element; i++)
		__builtin_memset(vector_at(g->v, g->op.vvvv, i * g->element), selected(g, i) ? 0xff : 0, g->element);
	vector_clear_from(g->v, g->op.vvvv, g->insn->vl, false);
}

static void done(struct gather *g, unsigned i)
{
	if (g->evex)
		*vector_kmask(g->v, g->op.k) &= ~BIT64(i);
	else
		__builtin_memset(vector_at(g->v, g->op.vvvv, i * g->element), 0, g->element);
}

// What segment_linear would raise for: it cannot be asked before what is done has gone back to the registers.
static bool segment_refuses(const struct gather *g, gva_t gva)
{
	const struct x86_seg *s = &g->v->seg[g->insn->mem.seg];
	bool writable = (s->attr & (SEG_TYPE_CODE | SEG_TYPE_W)) == SEG_TYPE_W || !vcpu_protected(g->v);

	return s->attr & SEG_UNUSABLE || (g->scatter && !writable) ||
	       !segment_within(g->v, s, (uint32_t)(gva - s->base), g->element);
}

// The element can be accessed; or what is done goes back to the registers, and the fault is raised.
static void check(struct gather *g, gva_t gva)
{
	struct vcpu *v = g->v;
	unsigned seg = g->insn->mem.seg;
	gva_t last = vmem_advance(v, gva, g->element - 1);
	bool bad = g->code64 ? !vcpu_canonical(v, gva) || !vcpu_canonical(v, last) : segment_refuses(g, gva);
	struct mmu_walk w;

	if (bad) {
		vector_put_back(v, g->evex);
		vcpu_raise(v, seg == X86_SS ? VEC_SS : VEC_GP, 0);
	}
	if (v->cpl == 3 && v->rflags & RFLAGS_AC && v->cr0 & CR0_AM && gva & (g->element - 1)) {
		vector_put_back(v, g->evex);
		vcpu_raise(v, VEC_AC, 0);
	}
	if (!mmu_walk(v, gva, g->access, &w)) {
		vector_put_back(v, g->evex);
		vcpu_raise_pf(v, gva, w.error);
	}
	if ((gva ^ last) >> PAGE_SHIFT && !mmu_walk(v, last, g->access, &w)) {
		vector_put_back(v, g->evex);
		vcpu_raise_pf(v, align_down(last, PAGE_SIZE), w.error);
	}
}

static void element(struct gather *g, unsigned i)
{
	struct vcpu *v = g->v;
	gva_t gva = address(g, i);
	const struct tlb_entry *e = &g->tlb->e[gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
	uint8_t *reg = vector_at(v, g->op.reg, i * g->element);
	uint8_t *ram = (uint8_t *)e->host + (gva & PAGE_OFFSET);
	bool direct = g->code64 && e->tag == align_down(gva, PAGE_SIZE) && (gva & PAGE_OFFSET) + g->element <= PAGE_SIZE &&
		      !(v->rflags & RFLAGS_AC && v->cpl == 3);

	if (!direct)
		check(g, gva);
	if (direct)
		__builtin_memcpy(g->scatter ? ram : reg, g->scatter ? reg : ram, g->element);
	else if (g->scatter)
		vmem_write(v, gva, reg, g->element, g->access);
	else
		vmem_read(v, gva, reg, g->element, g->access);
	if (!g->scatter && !g->wrote && (g->evex || !v->amd)) // the first write of the destination clears what lies above
		vector_clear_from(v, g->op.reg, g->insn->vl, g->evex);
	g->wrote = true;
	if (v->dr[7] & 0xff)
		debug_note_access(v, gva, g->element, g->scatter);
}

void bt_gather(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op)
{
	struct gather g = {.v = v, .insn = insn, .op = *op};

	setup(&g);
	vmm_save_vectors(v);
	if (!g.evex)
		extend_mask(&g);
	for (unsigned i = 0; i < g.n; i++) {
		if (selected(&g, i))
			element(&g, i);
		done(&g, i);
	}
	if (g.evex)
		*vector_kmask(v, op->k) = 0;
	else
		vector_clear_from(v, op->vvvv, 0, false);
	if (!g.scatter)
		vector_clear_from(v, op->reg, g.n * g.element, g.evex);
	vector_put_back(v, g.evex);
}
