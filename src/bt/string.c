// SPDX-License-Identifier: MIT
//
// String instructions (MOVS CMPS STOS LODS SCAS, with and without REP): C finds the host addresses once a page, the
// host runs its own string instruction in between. Restartable at every chunk: registers are up to date whenever an
// access may fault, and a long REP lets interrupts in between two chunks.
#include "bt/bt.h"
#include "cpu/segment.h"

struct str {
	struct vcpu *v;
	const struct x86_insn *insn;
	unsigned size, access;         // element; VMEM_USER or 0
	uint64_t mask, count;          // of addresses and counts; elements left
	uint64_t src_base, dst_base;
	int64_t step;
	bool rep, src, dst, writes;
	bool single;                   // a trap may be due after each element
	bool segments;                 // each element is checked against its segment
	bool done;                     // CMPS, SCAS: the condition has ended it
	bool compared;                 // flags: of the last comparison. A fault, a trap or an interrupt leaves the guest's
	uint64_t flags;                // as they were before the whole instruction (SDM, "REP"); not on AMD's processors
};

enum { OP_MOVS = 0xa4, OP_CMPS = 0xa6, OP_STOS = 0xaa, OP_LODS = 0xac, OP_SCAS = 0xae };

static unsigned op_of(const struct str *s)
{
	return s->insn->opcode & 0xfe;
}

static gva_t addr(const struct str *s, unsigned reg, uint64_t base)
{
	uint64_t a = base + (s->v->gpr[reg] & s->mask);

	return vcpu_code64(s->v) ? a : (uint32_t)a;
}

static void set_masked(struct str *s, unsigned reg, uint64_t value)
{
	uint64_t *r = &s->v->gpr[reg];

	*r = s->mask == UINT16_MAX ? (*r & ~s->mask) | (value & s->mask) : value & s->mask;
}

static void advance(struct str *s, uint64_t n)
{
	if (s->src)
		set_masked(s, X86_RSI, s->v->gpr[X86_RSI] + (uint64_t)s->step * n);
	if (s->dst)
		set_masked(s, X86_RDI, s->v->gpr[X86_RDI] + (uint64_t)s->step * n);
	if (s->rep)
		set_masked(s, X86_RCX, s->v->gpr[X86_RCX] - n);
	s->count -= n;
}

// Elements from gva to the end of its page, going up.
static uint64_t room(const struct str *s, gva_t gva)
{
	return (PAGE_SIZE - (gva & PAGE_OFFSET)) / s->size;
}

// Elements from the register's offset to where 16-bit addresses wrap around, and to the segment's end: one, if that is
// to be looked at.
static uint64_t room_in_segment(const struct str *s, enum x86_sreg seg, unsigned reg, bool write)
{
	uint64_t off = s->v->gpr[reg] & s->mask, n = UINT64_MAX, room = s->v->seg_room[seg][write];

	if (s->mask == UINT16_MAX)
		n = MAX((0x10000 - off) / s->size, 1);
	if (!s->segments)
		return n;
	if (!(bt_of(s->v)->mode_now & MODE_SEGS) || room <= off)
		return 1;
	return MIN(n, MAX((room - off) / s->size, 1));
}

// The host address of gva if plain RAM may be used there; NULL if the access must go the long way (or will fault).
static uint8_t *host_page(struct str *s, gva_t gva, bool write)
{
	return tlb_host(s->v, gva, 1, write, bt_of(s->v)->mode_now);
}

#define BY_SIZE(s, run) \
	switch ((s)->size) { \
	case 1: run("b"); break; \
	case 2: run("w"); break; \
	case 4: run("l"); break; \
	default: run("q"); \
	}

static void set_flags(const struct str *s)
{
	if (s->compared)
		s->v->rflags = (s->v->rflags & ~(uint64_t)RFLAGS_ARITH) | (s->flags & RFLAGS_ARITH);
}

// n > 0 elements upwards in plain host memory. Returns how many were done (all, but for CMPS and SCAS).
static uint64_t run_chunk(struct str *s, uint8_t *src, uint8_t *dst, uint64_t n)
{
	struct vcpu *v = s->v;
	uint64_t left = n, rax = v->gpr[X86_RAX], f = 0;
	bool ne = s->insn->prefixes & X86_PFX_REPNE;

	switch (op_of(s)) {
	case OP_MOVS:
#define RUN(x) __asm__ volatile("rep movs" x : "+S"(src), "+D"(dst), "+c"(left) : : "memory")
		BY_SIZE(s, RUN)
#undef RUN
		return n;
	case OP_STOS:
#define RUN(x) __asm__ volatile("rep stos" x : "+D"(dst), "+c"(left) : "a"(rax) : "memory")
		BY_SIZE(s, RUN)
#undef RUN
		return n;
	case OP_LODS:
#define RUN(x) __asm__ volatile("rep lods" x : "+S"(src), "+c"(left), "+a"(rax) : : "memory")
		BY_SIZE(s, RUN)
#undef RUN
		v->gpr[X86_RAX] = s->size == 4 ? (uint32_t)rax : rax;
		return n;
	case OP_CMPS:
#define RUN(x)                                                                                                         \
	if (ne)                                                                                                        \
		__asm__ volatile("repne cmps" x "; pushfq; pop %3"                                                     \
				 : "+S"(src), "+D"(dst), "+c"(left), "=r"(f)                                           \
				 :                                                                                     \
				 : "memory", "cc");                                                                    \
	else                                                                                                           \
		__asm__ volatile("repe cmps" x "; pushfq; pop %3"                                                      \
				 : "+S"(src), "+D"(dst), "+c"(left), "=r"(f)                                           \
				 :                                                                                     \
				 : "memory", "cc")
		BY_SIZE(s, RUN)
#undef RUN
		break;
	default:
#define RUN(x)                                                                                                         \
	if (ne)                                                                                                        \
		__asm__ volatile("repne scas" x "; pushfq; pop %2"                                                     \
				 : "+D"(dst), "+c"(left), "=r"(f)                                                      \
				 : "a"(rax)                                                                            \
				 : "memory", "cc");                                                                    \
	else                                                                                                           \
		__asm__ volatile("repe scas" x "; pushfq; pop %2"                                                      \
				 : "+D"(dst), "+c"(left), "=r"(f)                                                      \
				 : "a"(rax)                                                                            \
				 : "memory", "cc")
		BY_SIZE(s, RUN)
#undef RUN
	}
	s->flags = f;
	s->compared = true;
	s->done = ne == !!(f & RFLAGS_ZF); // REPE ends on a difference, REPNE on a match
	return n - left;
}

// One element through the guest's paging with all it may meet: MMIO, page crossing, watched pages, faults.
static void run_one(struct str *s, gva_t src, gva_t dst)
{
	struct vcpu *v = s->v;
	uint64_t a[1] = {0}, d[1] = {0};
	enum x86_sreg seg = s->insn->mem.seg;

	if (s->src)
		vmem_read_seg(v, src, a, s->size, VMEM_READ | s->access, seg);
	if (op_of(s) == OP_CMPS || op_of(s) == OP_SCAS)
		vmem_read(v, dst, d, s->size, VMEM_READ | s->access);
	if (op_of(s) == OP_STOS)
		a[0] = v->gpr[X86_RAX];
	if (op_of(s) == OP_MOVS || op_of(s) == OP_STOS)
		vmem_write(v, dst, a, s->size, VMEM_WRITE | s->access);
	else
		run_chunk(s, (uint8_t *)a, (uint8_t *)d, 1);
}

static void string_setup(struct str *s)
{
	struct vcpu *v = s->v;
	const struct x86_insn *insn = s->insn;
	unsigned seg = insn->mem.seg, op = op_of(s);

	s->size = insn->opcode & 1 ? insn->opsize : 1;
	s->access = v->cpl == 3 ? VMEM_USER : 0;
	s->mask = insn->addrsize == 8 ? UINT64_MAX : insn->addrsize == 4 ? UINT32_MAX : UINT16_MAX;
	s->rep = insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
	s->count = s->rep ? v->gpr[X86_RCX] & s->mask : 1;
	s->src = op == OP_MOVS || op == OP_CMPS || op == OP_LODS;
	s->dst = op != OP_LODS;
	s->writes = op == OP_MOVS || op == OP_STOS;
	s->single = v->rflags & RFLAGS_TF || debug_watches_data(v);
	s->segments = !vcpu_code64(v) && (bt_of(v)->mode_now & (MODE_CAREFUL | MODE_SEGS) || !v->seg_room[seg][0]);
	s->step = v->rflags & RFLAGS_DF ? -(int64_t)s->size : (int64_t)s->size;
	s->src_base = !vcpu_code64(v) || seg >= X86_FS ? v->seg[seg].base : 0;
	s->dst_base = vcpu_code64(v) ? 0 : v->seg[X86_ES].base;
}

// 32-bit registers of 64-bit code: written at all, their upper halves are zero. Processors write the count even if it
// is 0, and the moving pointers of REP MOVS and REP STOS before the first element.
static void zero_extend(struct str *s)
{
	bool fast = op_of(s) == OP_MOVS || op_of(s) == OP_STOS;

	if (!s->rep || s->mask != UINT32_MAX || !vcpu_code64(s->v))
		return;
	if (!s->count || fast)
		set_masked(s, X86_RCX, s->v->gpr[X86_RCX]);
	if (fast && s->src)
		set_masked(s, X86_RSI, s->v->gpr[X86_RSI]);
	if (fast)
		set_masked(s, X86_RDI, s->v->gpr[X86_RDI]);
}

// What the segments and the debug registers have to say of the element that comes.
static void look_at_element(const struct str *s, gva_t src, gva_t dst)
{
	struct vcpu *v = s->v;

	if (s->segments && s->src)
		segment_linear(v, s->insn->mem.seg, v->gpr[X86_RSI] & s->mask, s->size, VMEM_READ);
	if (s->segments && s->dst)
		segment_linear(v, X86_ES, v->gpr[X86_RDI] & s->mask, s->size, s->writes ? VMEM_WRITE : VMEM_READ);
	if (s->single && s->src)
		debug_note_access(v, src, s->size, false);
	if (s->single && s->dst)
		debug_note_access(v, dst, s->size, s->writes);
}

static void run_some(struct str *s)
{
	gva_t src = addr(s, X86_RSI, s->src_base), dst = addr(s, X86_RDI, s->dst_base);
	uint64_t n = s->count, done = 1;
	uint8_t *hs = NULL, *hd = NULL;

	if (s->src)
		n = MIN(n, room(s, src));
	if (s->dst)
		n = MIN(n, room(s, dst));
	if (s->src)
		n = MIN(n, room_in_segment(s, s->insn->mem.seg, X86_RSI, false));
	if (s->dst)
		n = MIN(n, room_in_segment(s, X86_ES, X86_RDI, s->writes));
	if (s->step < 0 || s->single)
		n = MIN(n, 1);
	if (s->single || s->segments)
		look_at_element(s, src, dst);
	if (n && s->src)
		hs = host_page(s, src, false);
	if (n && s->dst)
		hd = host_page(s, dst, s->writes);
	if (n && (hs || !s->src) && (hd || !s->dst))
		done = run_chunk(s, hs, hd, n);
	else
		run_one(s, src, dst);
	advance(s, done);
}

// v->rip is at the instruction; on return it is behind it, or still there if something pending wants attention first,
// or a trap, between two elements: then RF says that the instruction itself is under way.
bool bt_string(struct vcpu *v, const struct x86_insn *insn)
{
	struct str s = {.v = v, .insn = insn};

	string_setup(&s);
	zero_extend(&s);
	while (s.count && !s.done) {
		run_some(&s);
		if (v->amd)
			set_flags(&s);
		if (!s.count || s.done)
			break;
		if (s.single) {
			v->rflags |= RFLAGS_RF;
			bt_of(v)->sys_effect |= SYS_KEEP_RF;
			return true;
		}
		if (v->pending) {
			v->rflags |= RFLAGS_RF;
			return false;
		}
	}
	set_flags(&s);
	v->rip += insn->len;
	if (!vcpu_code64(v))
		v->rip = (uint32_t)v->rip;
	return true;
}
