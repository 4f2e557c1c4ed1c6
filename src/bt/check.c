// SPDX-License-Identifier: MIT
//
// Memory operands in translated code. The address goes to T0; the check turns it into a host address T1 + T0, where T1
// is the host page and T0 the offset in it. Normal form: an inline look-up in the software TLB; a miss calls C, which
// fills the entry and returns to the look-up. Careful form (MODE_CAREFUL): C reads the operand into a bounce buffer
// first and writes it back after the operation: for MMIO, watched pages and page crossings.
//
// Flags: the look-up uses the host's flags: see flags.c for what becomes of the guest's.
#include "bt/trans.h"
#include "x86/mnemonic.h"

void emit_seg_base(struct trans *t, unsigned seg)
{
	struct emit *e = &t->hot;
	struct emit_mem sum = {.base = HOST_T0, .index = HOST_T1, .scale = 1};

	emit_load_state(e, 8, HOST_T1, VCPU_SEG + seg * VCPU_SEG_SIZE + VCPU_SEG_BASE);
	emit_lea(e, t->code == X86_MODE64 ? 8 : 4, HOST_T0, sum);
}

// FS and GS are often null in 32-bit code: whoever uses them then finds out in the careful form.
static void emit_null_check(struct trans *t, unsigned seg)
{
	uint32_t attr = VCPU_SEG + seg * VCPU_SEG_SIZE + (uint32_t)offsetof(struct x86_seg, attr);

	if (t->code == X86_MODE64 || t->careful || (seg != X86_FS && seg != X86_GS))
		return;
	emit_save_flags(t);
	emit_cmp_state_imm8(&t->hot, 1, attr + 2, 0); // SEG_UNUSABLE alone stands in that byte
	emit_patch32(emit_jcc32(&t->hot, CC_NE), t->hot.delta, emit_here(&t->cold));
	emit_cold_exit(t, EXIT_CAREFUL, insn_pc(t, t->i));
}

static bool seg_has_base(const struct trans *t, unsigned seg)
{
	return seg == X86_FS || seg == X86_GS || (t->code != X86_MODE64 && t->t->mode & MODE_BASES);
}

void emit_ea(struct trans *t, const struct x86_insn *insn, int adjust)
{
	const struct x86_mem *m = &insn->mem;
	struct emit *e = &t->hot;
	int64_t disp = m->disp + adjust;
	struct emit_mem em = {.base = X86_REG_NONE, .index = X86_REG_NONE, .scale = m->scale ? m->scale : 1};
	unsigned size = insn->addrsize == 8 ? 8 : 4;

	if (m->base == X86_REG_RIP || (m->base == X86_REG_NONE && m->index == X86_REG_NONE)) {
		uint64_t ea = (uint64_t)disp + (m->base == X86_REG_RIP ? next_pc(t) : 0);

		if (insn->addrsize != 8)
			ea = insn->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
		t->t->fixed |= m->base == X86_REG_RIP && insn->addrsize != 8;
		if (m->base == X86_REG_RIP && insn->addrsize == 8)
			emit_mov_pc(t, e, HOST_T0, ea);
		else
			emit_mov_imm(e, HOST_T0, ea);
	} else {
		if (m->base != X86_REG_NONE)
			em.base = (uint8_t)host_of(t, m->base);
		if (m->index != X86_REG_NONE && !m->vsib)
			em.index = (uint8_t)host_of(t, m->index);
		em.disp = (int32_t)disp;
		if (em.index == X86_REG_NONE && em.disp == 0)
			emit_mov(e, size, HOST_T0, em.base);
		else
			emit_lea(e, size, HOST_T0, em);
		if (insn->addrsize == 2)
			emit_movzwl(e, HOST_T0, HOST_T0);
	}
	if (seg_has_base(t, m->seg)) {
		emit_null_check(t, m->seg);
		emit_seg_base(t, m->seg);
	}
}

void emit_stack_ea(struct trans *t, int disp)
{
	struct emit *e = &t->hot;
	unsigned size = stack_addr_size(t);

	if (disp)
		emit_lea(e, size, HOST_T0, mem_base(HOST_GUEST_RSP, disp));
	else
		emit_mov(e, size, HOST_T0, HOST_GUEST_RSP);
	if (seg_has_base(t, X86_SS))
		emit_seg_base(t, X86_SS);
}

struct emit_mem checked_mem(void)
{
	return (struct emit_mem){.base = HOST_T1, .index = HOST_T0, .scale = 1, .disp = 0};
}

// The alignment without which an instruction raises #GP(0).
static uint8_t required_alignment(const struct x86_insn *insn)
{
	if (insn->class == X86_CLASS_XSAVE)
		return 64;
	if (insn->class == X86_CLASS_FXSAVE)
		return 16;
	return insn->mem.aligned ? (uint8_t)insn->mem.size : 0;
}

static bool is_x87(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_X87 || insn->class == X86_CLASS_MMX;
}

static bool waits_for_x87(const struct x86_insn *insn)
{
	switch (insn->mnemonic) {
	case X86_MNEM_FNSAVE: case X86_MNEM_FNSTCW: case X86_MNEM_FNSTENV: case X86_MNEM_FNSTSW:
		return false;
	default:
		return is_x87(insn);
	}
}

uint32_t new_site(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	struct bt *b = t->b;
	struct site *s = &b->site[b->nsites];

	ASSERT(b->nsites < (b->segment + 1) * SITES_SEGMENT);
	*s = (struct site){
		.tu = t->tu_id, .guest = t->off[t->i], .access = (uint8_t)access, .flags = (uint8_t)t->flags,
		.size = (uint16_t)size, .seg = (uint8_t)seg, .bounce = (uint8_t)t->accesses,
		.retry = t->careful ? 0 : (uint32_t)(emit_here(&t->hot) - b->tc), .align = required_alignment(&t->insn[t->i]),
		.left = (uint8_t)(t->n - t->i), .x87 = is_x87(&t->insn[t->i]), .waits = waits_for_x87(&t->insn[t->i]),
		.masked = t->insn[t->i].class == X86_CLASS_MASKED, .recipe = flags_recipe(t),
	};
	return b->nsites++;
}

static void emit_careful_check(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	uint32_t id;

	ASSERT(t->accesses < BOUNCES);
	id = new_site(t, access, size, seg);
	if (t->insn[t->i].class == X86_CLASS_MASKED)
		t->b->site[id].insn = keep_vector(t, &t->insn[t->i]);
	emit_call_state(&t->hot, SLOT_STUB_CAREFUL);
	emit_u32(&t->hot, id);
	if (access & X86_WRITE)
		t->open_site[t->nopen++] = id;
	t->accesses++;
}

static bool seg_is_odd(const struct trans *t, unsigned seg)
{
	return t->t->mode & ((seg == X86_FS ? MODE_FS_ODD : 0) | (seg == X86_GS ? MODE_GS_ODD : 0));
}

static bool writes_code_segment(const struct trans *t, unsigned access, unsigned seg)
{
	return t->code != X86_MODE64 && seg == X86_CS && access & X86_WRITE;
}

void emit_check(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	struct emit *e = &t->hot;
	uint32_t table, id;
	uint8_t *miss;

	if (t->careful) {
		emit_careful_check(t, access, size, seg);
		return;
	}
	if (seg_is_odd(t, seg) || writes_code_segment(t, access, seg)) { // what the caller emits behind is never reached
		emit_exit(t, EXIT_CAREFUL, insn_pc(t, t->i));
		return;
	}
	emit_save_flags(t);
	table = BT_OFFSET + (uint32_t)(access & X86_WRITE ? offsetof(struct bt, tlb_w) : offsetof(struct bt, tlb_r)) +
		(uint32_t)(t->tlb * sizeof(struct tlb));
	id = new_site(t, access, size, seg);
	emit_rorx(e, 8, HOST_T1, HOST_T0, 8);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, (TLB_SIZE - 1) << 4);
	emit_gs(e);
	emit_op_mem(e, 8, 0x33, HOST_T0, mem_base(HOST_T1, (int32_t)table)); // xor tag, T0
	emit_alu_imm(e, 8, ALU_CMP, HOST_T0, (int32_t)(PAGE_SIZE - size));
	miss = emit_jcc32(e, CC_A);
	emit_gs(e);
	emit_load(e, 8, HOST_T1, mem_base(HOST_T1, (int32_t)table + 8));
	t->b->site[id].done = (uint32_t)(emit_here(e) - t->b->tc);

	emit_patch32(miss, e->delta, emit_here(&t->cold));
	emit_call_state(&t->cold, SLOT_STUB_MISS);
	emit_u32(&t->cold, id);
}

void emit_access_done(struct trans *t)
{
	for (unsigned i = 0; i < t->nopen; i++) {
		emit_call_state(&t->hot, SLOT_STUB_COMMIT);
		emit_u32(&t->hot, t->open_site[i]);
	}
	t->nopen = 0;
	t->accesses = 0;
}
