// SPDX-License-Identifier: MIT
//
// Memory operands in the mapped form (MODE_MAPPED, flat user code): the guest's own, as the host maps guest memory at
// the guest's addresses (shadow/), behind a proof that they do not lie in the monitor's zone. Code of 32 bits needs no
// proof: its operands are cut to 32 bits as they are on a processor (address size prefix). In 64-bit code, the check
// reads a byte of a table by the address's bits 63-32, which is not there for addresses of the zone: no flags, no
// branch, nothing out of line. What faults is sorted out by bt_host_fault. For addresses that are not of the lower half
// it may read anything, or fault, as they do themselves (docs/MEMORY.md).
//
// A proof holds for a base register, or a base and an index, and says how far from an address outside the zone it is at
// most: gaps of 1 TiB at both ends of the zone make up for displacements, small steps and indices of 32 bits
// (narrow.c). An access proves as much as a
// check: it would have faulted in the gap. So a pointer that walks by constants and is used at each step is checked
// once.
//
// What has no such form - operands that need two instructions, strings, FS and GS in 32-bit code, and operands that
// have led to devices (device.c) - takes the inline look-up (check.c). Masked operands have it, but prove nothing: one
// of whose bytes none is touched does not fault.
#include "bt/trans.h"

#define SLACK_MAX BIT64(38)
#define SLACK_LOOP BIT64(36)
#define SLACK_STACK SLACK_LOOP

_Static_assert(SLACK_MAX + BIT64(36) < ZONE_GAP, "the gap makes up for a proof's slack, a step and a displacement");

enum { STACK_PROOF = 0 };

static bool is_long(const struct trans *t)
{
	return t->code == X86_MODE64;
}

// -- proofs -----------------------------------------------------------------------------------------------------------

static struct proof *find(struct trans *t, unsigned base, unsigned index, unsigned scale)
{
	for (unsigned i = 0; i < PROOFS; i++) {
		struct proof *p = &t->proof[i];

		if (p->scale == scale && p->base == base && p->index == index)
			return p;
	}
	return NULL;
}

static struct proof *add(struct trans *t, unsigned base, unsigned index, unsigned scale, uint64_t slack)
{
	struct proof *p = find(t, base, index, scale);

	if (base == X86_RSP && index == X86_REG_NONE)
		p = &t->proof[STACK_PROOF];
	for (unsigned i = STACK_PROOF + 1; !p && i < PROOFS; i++)
		if (!t->proof[i].scale)
			p = &t->proof[i];
	if (!p)
		p = &t->proof[STACK_PROOF + 1 + t->next_proof++ % (PROOFS - 1)];
	*p = (struct proof){(uint8_t)base, (uint8_t)index, (uint8_t)scale, slack};
	return p;
}

// Uses T1. The sum of bits 63-32 and the table's offset is cut to 32 bits: no further than the vCPU's own 4 GiB.
static void emit_zone_check(struct trans *t, unsigned reg)
{
	struct emit *e = &t->hot;

	note_fault(t);
	emit_rorx(e, 8, HOST_T1, reg, 32);
	emit_gs(e);
	emit_addr32(e);
	emit_load(e, 1, HOST_T1, mem_base(HOST_T1, ZONE_VCPU_GUARD));
}

static struct emit_mem host_operand(const struct trans *t, unsigned base, unsigned index, unsigned scale, int disp)
{
	return (struct emit_mem){
		.base = base == X86_REG_NONE ? X86_REG_NONE : (uint8_t)host_of(t, base),
		.index = index == X86_REG_NONE ? X86_REG_NONE : (uint8_t)host_of(t, index),
		.scale = (uint8_t)scale, .disp = disp, .addr32 = !is_long(t),
	};
}

static struct proof *prove(struct trans *t, unsigned base, unsigned index, unsigned scale);

static bool is_narrow(const struct trans *t, unsigned reg)
{
	return reg != X86_REG_NONE && t->narrow & BIT(reg);
}

// From what is known of one of the two, if the other is narrow.
static struct proof *derive(struct trans *t, unsigned base, unsigned index, unsigned scale)
{
	bool swapped = scale == 1 && is_narrow(t, base) && !is_narrow(t, index);
	unsigned pointer = swapped ? index : base;
	uint64_t slack = BIT64(32) * scale;

	if (!swapped && !is_narrow(t, index))
		return NULL;
	if (pointer != X86_REG_NONE) {
		if (t->in_memory & BIT(pointer))
			return NULL;
		slack += prove(t, pointer, X86_REG_NONE, 1)->slack;
	}
	return slack <= SLACK_MAX ? add(t, base, index, scale, slack) : NULL;
}

// Uses T1, and T0 where there is an index.
static struct proof *prove(struct trans *t, unsigned base, unsigned index, unsigned scale)
{
	struct proof *p = find(t, base, index, scale);

	if (p)
		return p;
	if (index == X86_REG_NONE) {
		emit_zone_check(t, host_of(t, base));
	} else if ((p = derive(t, base, index, scale))) {
		return p;
	} else {
		emit_lea(&t->hot, 8, HOST_T0, host_operand(t, base, index, scale, 0));
		emit_zone_check(t, HOST_T0);
	}
	return add(t, base, index, scale, 0);
}

static void touched(struct proof *p, int64_t disp, unsigned size)
{
	uint64_t reach = (uint64_t)(disp < 0 ? -disp : disp) + size;

	p->slack = MIN(p->slack, reach);
}

// -- the stack pointer: see stack_trust.c ----------------------------------------------------------------------------

void mapped_trust_stack(struct trans *t)
{
	if (is_mapped(t) && is_long(t) && t->t->tier == TIER_HOT && !t->v->counts)
		add(t, X86_RSP, X86_REG_NONE, 1, SLACK_STACK);
}

static bool stack_is_settled(struct trans *t)
{
	const struct proof *p = &t->proof[STACK_PROOF];

	return !is_mapped(t) || !is_long(t) || t->t->tier == TIER_BASE || t->v->counts ||
	       (p->scale && p->slack <= SLACK_STACK);
}

// Before the present instruction, which may lead to another unit, or behind it.
void mapped_settle_stack(struct trans *t, bool behind)
{
	if (stack_is_settled(t))
		return;
	emit_zone_check(t, HOST_GUEST_RSP);
	if (behind) {
		struct insn_map *m = &t->b->new_map[t->b->nnew_maps - 1];

		m->guest = (int16_t)(m->guest + t->insn[t->i].len);
		m->left--;
	}
	add(t, X86_RSP, X86_REG_NONE, 1, 0);
}

// -- operands ---------------------------------------------------------------------------------------------------------

static bool plain_class(const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
	case X86_CLASS_AVX512: case X86_CLASS_MASKED: case X86_CLASS_JMP_IND: case X86_CLASS_CALL_IND:
	case X86_CLASS_PUSH: case X86_CLASS_POP:
		return true;
	default:
		return false;
	}
}

static bool is_constant(const struct x86_mem *m)
{
	return m->base == X86_REG_RIP || (m->base == X86_REG_NONE && m->index == X86_REG_NONE);
}

static bool has_own_form(const struct trans *t, const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;

	if (!m->present || !m->access || !plain_class(insn) || names_high(insn) || m->bitstring || m->vsib ||
	    insn->addrsize == 2 || insn->meets_device)
		return false;
	if (!is_long(t))
		return m->seg < X86_FS && (m->seg != X86_CS || !(m->access & X86_WRITE));
	return m->base != X86_REG_NONE || m->index != X86_REG_NONE || m->disp == (int32_t)m->disp;
}

bool mapped_has_form(const struct trans *t, const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PUSH: case X86_CLASS_POP:
		return is_mapped(t) && (!insn->mem.present || has_own_form(t, insn));
	case X86_CLASS_LEAVE:
		return is_mapped(t);
	case X86_CLASS_PLAIN: case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX:
		return is_mapped(t) && insn->mem.present && has_own_form(t, insn);
	default:
		return false;
	}
}

bool mapped_keeps_flags(const struct trans *t, const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PUSH: case X86_CLASS_POP: case X86_CLASS_LEAVE:
		return !insn->mem.present || has_own_form(t, insn);
	default:
		return !insn->mem.present ? false : has_own_form(t, insn) && insn->class != X86_CLASS_JMP_IND &&
		       insn->class != X86_CLASS_CALL_IND;
	}
}

// An address that is known: code in the zone is not translated in this form, so what lies within 2 GiB of the code is
// not the zone's either.
static struct emit_mem constant_operand(struct trans *t, const struct x86_insn *insn)
{
	int64_t ea = insn->mem.disp + (insn->mem.base == X86_REG_RIP ? (int64_t)next_pc(t) : 0);

	if (ea == (int32_t)ea && !move_is_possible(t->t->pc, t->t->mode))
		return mem_base(X86_REG_NONE, (int32_t)ea);
	emit_ea(t, insn, 0);
	return mem_base(HOST_T0, 0);
}

static bool has_place(const struct trans *t, unsigned reg)
{
	return reg == X86_REG_NONE || t->map[reg] != X86_REG_NONE;
}

// A register that is in its place for this instruction only (spill.c) could not be proven again.
static void used(const struct trans *t, struct proof *p, int64_t disp, unsigned size)
{
	if (t->insn[t->i].class != X86_CLASS_MASKED)
		touched(p, disp, size);
	if ((p->base != X86_REG_NONE && t->in_memory & BIT(p->base)) ||
	    (p->index != X86_REG_NONE && t->in_memory & BIT(p->index)))
		p->scale = 0;
}

// False: not in this form. T0 may be part of the operand. adjust: to be added to the address.
bool mapped_operand(struct trans *t, const struct x86_insn *insn, int adjust, struct emit_mem *out)
{
	const struct x86_mem *m = &insn->mem;
	struct proof *p;

	if (!is_mapped(t) || !has_own_form(t, insn))
		return false;
	if (!is_long(t)) {
		*out = host_operand(t, m->base, m->index, m->scale ? m->scale : 1, (int)m->disp + adjust);
		note_fault(t);
		return true;
	}
	if (m->seg < X86_FS && insn->addrsize == 8 && is_constant(m)) {
		*out = constant_operand(t, insn);
	} else if (m->seg >= X86_FS || insn->addrsize != 8 || !has_place(t, m->base) || !has_place(t, m->index)) {
		emit_ea(t, insn, adjust);
		if (m->seg >= X86_FS || insn->addrsize == 8)
			emit_zone_check(t, HOST_T0);
		*out = mem_base(HOST_T0, 0);
	} else {
		p = prove(t, m->base, m->index, m->index == X86_REG_NONE ? 1 : m->scale);
		*out = host_operand(t, m->base, m->index, m->scale ? m->scale : 1, (int)m->disp + adjust);
		used(t, p, m->disp + adjust, m->size);
	}
	note_fault(t);
	return true;
}

// A hint, and no access: it does not fault, so it needs no proof, and is none. What it can tell of the zone by its time
// is what speculation can (docs/SAFETY.md).
void mapped_prefetch(struct trans *t, const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;
	unsigned hint = insn->modrm >> 3 & 7, hints = insn->opcode == 0x18 ? 4 : insn->opcode == 0x0d ? 2 : 0;

	if (!(t->t->mode & MODE_MAPPED) || insn->encoding != X86_ENC_LEGACY || insn->map != 1 || hint >= hints ||
	    !m->present || m->seg >= X86_FS || insn->addrsize != 8 || is_constant(m) || !has_place(t, m->base) ||
	    !has_place(t, m->index) || m->disp != (int32_t)m->disp)
		return;
	emit_op_mem(&t->hot, 4, 0x0f00 | insn->opcode, hint,
		    host_operand(t, m->base, m->index, m->scale ? m->scale : 1, (int)m->disp));
}

// disp(base) for RSP, and RBP of LEAVE. Uses T1.
struct emit_mem mapped_stack(struct trans *t, unsigned base, int disp, unsigned size)
{
	disp += base == X86_RSP ? t->ahead : 0;
	if (is_long(t))
		used(t, prove(t, base, X86_REG_NONE, 1), disp, size);
	note_fault(t);
	return host_operand(t, base, X86_REG_NONE, 1, disp);
}

// -- what instructions do to proofs -----------------------------------------------------------------------------------

// ADD, SUB of a constant, INC, DEC, LEA of a register on itself, and AND that aligns it, all 64 bits of it.
static bool moves_constant(const struct x86_insn *insn, unsigned reg, int *by)
{
	unsigned op = insn->modrm >> 3 & 7, rm = (insn->modrm & 7) | (insn->rex & 1) << 3;
	bool by_imm = (insn->opcode == 0x81 || insn->opcode == 0x83) && !insn->mem.present && rm == reg;

	if (insn->encoding != X86_ENC_LEGACY || insn->map || insn->opsize != 8)
		return false;
	if (insn->opcode == 0x8d && insn->mem.base == reg && insn->mem.index == X86_REG_NONE && insn->addrsize == 8)
		*by = (int)insn->mem.disp;
	else if (by_imm && (op == 0 || op == 5 || (op == 4 && (int64_t)insn->imm < 0)))
		*by = (int)insn->imm;
	else if (insn->opcode == 0xff && !insn->mem.present && rm == reg && op < 2)
		*by = 1;
	else
		return false;
	return *by == (int16_t)*by;
}

// False: the register is set anew. Else *by: how far it moves, at most, either way. An operand that is taken over may
// become another.
static bool moves(const struct trans *t, const struct x86_insn *insn, unsigned reg, int *by)
{
	*by = 0;
	if (reg == X86_REG_NONE)
		return true;
	if (insn->gpr_written & BIT(reg) && takes_operand(t, insn))
		return false;
	if (moves_base(insn, reg, by))
		return true;
	return insn->gpr_written & BIT(reg) && moves_constant(insn, reg, by);
}

// What is the register behind the instruction, if another, at a distance, before it? For proofs that are handed on.
static unsigned copied_from(const struct x86_insn *insn, unsigned *to, int64_t *distance)
{
	unsigned reg = (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3, rm = (insn->modrm & 7) | (insn->rex & 1) << 3;

	*distance = 0;
	if (insn->encoding != X86_ENC_LEGACY || insn->map || insn->opsize != 8)
		return X86_REG_NONE;
	if (insn->opcode == 0x8d && insn->addrsize == 8 && insn->mem.index == X86_REG_NONE && insn->mem.base < X86_GPRS) {
		*to = reg;
		*distance = insn->mem.disp < 0 ? -insn->mem.disp : insn->mem.disp;
		return insn->mem.base;
	}
	if (insn->mem.present || (insn->opcode != 0x89 && insn->opcode != 0x8b))
		return X86_REG_NONE;
	*to = insn->opcode == 0x89 ? rm : reg;
	return insn->opcode == 0x89 ? reg : rm;
}

static bool step(const struct trans *t, struct proof *p, const struct x86_insn *insn)
{
	int base, index;

	if (!moves(t, insn, p->base, &base) || !moves(t, insn, p->index, &index))
		return false;
	p->slack += (uint64_t)(base < 0 ? -base : base) + (uint64_t)(index < 0 ? -index : index) * p->scale;
	return p->slack <= SLACK_MAX;
}

static bool is_call(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_CALL_IND;
}

void mapped_after(struct trans *t, const struct x86_insn *insn)
{
	unsigned to = 0, from;
	int64_t distance;
	const struct proof *p;
	uint64_t slack = ~UINT64_C(0);

	if (!is_mapped(t) || !is_long(t))
		return;
	from = copied_from(insn, &to, &distance);
	p = from < X86_GPRS && from != to ? find(t, from, X86_REG_NONE, 1) : NULL;
	if (p)
		slack = p->slack + (uint64_t)distance;
	if (insn->class == X86_CLASS_LEAVE) { // RSP is now behind what has just been read
		to = X86_RSP;
		slack = 16;
	}
	for (unsigned i = 0; i < PROOFS; i++)
		if (t->proof[i].scale && !step(t, &t->proof[i], insn))
			t->proof[i].scale = 0;
	if (slack <= SLACK_MAX && !(t->in_memory & BIT(to)))
		add(t, to, X86_REG_NONE, 1, slack);
	narrow_after(t, insn);
	if (is_call(insn))
		mapped_trust_stack(t);
}

void mapped_drop_all(struct trans *t)
{
	for (unsigned i = 0; i < PROOFS; i++)
		t->proof[i].scale = 0;
	t->narrow = 0;
}

// -- where ways meet --------------------------------------------------------------------------------------------------

static const struct proof *same(const struct proof *set, const struct proof *p)
{
	for (unsigned i = 0; i < PROOFS; i++)
		if (set[i].scale == p->scale && set[i].base == p->base && set[i].index == p->index)
			return &set[i];
	return NULL;
}

void mapped_join(struct proof *have, const struct proof *other)
{
	for (unsigned i = 0; i < PROOFS; i++) {
		const struct proof *o = have[i].scale ? same(other, &have[i]) : NULL;

		if (o)
			have[i].slack = MAX(have[i].slack, o->slack);
		else
			have[i].scale = 0;
	}
}

static bool fits(const struct trans *t, const struct proof *wanted)
{
	const struct proof *have = wanted->scale ? same(t->proof, wanted) : wanted;

	return have && have->slack <= wanted->slack;
}

bool mapped_fits(const struct trans *t, const struct proof *wanted)
{
	for (unsigned i = 0; i < PROOFS; i++)
		if (!fits(t, &wanted[i]))
			return false;
	return true;
}

// Back to the head of a loop: what it relies on.
void mapped_make(struct trans *t, const struct proof *wanted)
{
	for (unsigned i = 0; i < PROOFS; i++)
		if (!same(wanted, &t->proof[i]))
			t->proof[i].scale = 0; // in the others' way
	for (unsigned i = 0; i < PROOFS; i++) {
		struct proof *p;

		if (fits(t, &wanted[i]))
			continue;
		p = find(t, wanted[i].base, wanted[i].index, wanted[i].scale);
		if (p)
			p->scale = 0;
		prove(t, wanted[i].base, wanted[i].index, wanted[i].scale);
	}
}

enum loop_fate { KEPT, MOVED, LOST };

// Behind it, unless it is a call: only by a way from elsewhere.
static bool breaks_off(const struct trans *t, unsigned i)
{
	return t->next[i] != i + 1;
}

// What the loop, from the present instruction to `last`, does to a proof on its first way. What it does on others, on
// which there may be calls, is made good when they come back.
static enum loop_fate through_loop(const struct trans *t, unsigned last, struct proof p)
{
	enum loop_fate f = KEPT;

	for (unsigned i = t->i; i <= last; i++) {
		bool call = is_call(&t->insn[i]);

		p.slack = 0;
		if (call && p.base == X86_RSP && p.index == X86_REG_NONE)
			p.slack = SLACK_STACK;
		else if ((call || !step(t, &p, &t->insn[i])) && t->next[i] != NOWHERE)
			return LOST;
		if (p.slack)
			f = MOVED;
		if (breaks_off(t, i))
			break;
	}
	return f;
}

// The key of the instruction's operand, if it needs a proof.
static bool key_of(const struct trans *t, const struct x86_insn *insn, struct proof *p)
{
	const struct x86_mem *m = &insn->mem;

	if (!has_own_form(t, insn) || m->seg >= X86_FS || insn->addrsize != 8 || is_constant(m) ||
	    !has_place(t, m->base) || !has_place(t, m->index))
		return false;
	*p = (struct proof){m->base, m->index, (uint8_t)(m->index == X86_REG_NONE ? 1 : m->scale), 0};
	return true;
}

// What a proof at the head of a loop should be of: of the base alone, if the index is narrow all through.
static bool loop_key(const struct trans *t, unsigned i, struct proof *p)
{
	if (!key_of(t, &t->insn[i], p))
		return false;
	if (p->index != X86_REG_NONE && p->index == counted_register(t, i) && p->base < X86_GPRS &&
	    !(t->in_memory & BIT(p->base)))
		*p = (struct proof){p->base, X86_REG_NONE, 1, 0};
	return true;
}

// Does the first way of the loop use it?
static bool is_used(const struct trans *t, unsigned last, const struct proof *p)
{
	struct proof key;

	if (p->base == X86_RSP)
		return true;
	for (unsigned i = t->i; i <= last; i++) {
		if (loop_key(t, i, &key) && key.base == p->base && key.index == p->index && key.scale == p->scale)
			return true;
		if (breaks_off(t, i))
			break;
	}
	return false;
}

static unsigned count(const struct trans *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PROOFS; i++)
		n += t->proof[i].scale != 0;
	return n;
}

// A loop begins with the present instruction. What it does not set anew is proven before it, and within SLACK_LOOP all
// through it if it moves by constants.
void mapped_enter_loop(struct trans *t, unsigned last)
{
	if (!is_mapped(t) || !is_long(t))
		return;
	for (unsigned i = 0; i < PROOFS; i++) {
		struct proof *p = &t->proof[i];
		enum loop_fate f = p->scale ? through_loop(t, last, *p) : LOST;

		if (f == LOST || (f == MOVED && (p->slack > SLACK_LOOP || !is_used(t, last, p))))
			p->scale = 0;
		else if (f == MOVED)
			p->slack = SLACK_LOOP;
	}
	for (unsigned i = t->i; i <= last && count(t) < PROOFS - 1 && (i == t->i || !breaks_off(t, i - 1)); i++) {
		struct proof key;
		enum loop_fate f;

		if (!loop_key(t, i, &key) || find(t, key.base, key.index, key.scale))
			continue;
		f = through_loop(t, last, key);
		if (f != LOST)
			prove(t, key.base, key.index, key.scale)->slack = f == MOVED ? SLACK_LOOP : 0;
	}
}
