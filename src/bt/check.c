// SPDX-License-Identifier: MIT
//
// Memory operands in translated code. The address goes to T0; the check turns it into a host address T1 + T0, where T1
// is the host page and T0 the offset in it. Normal form: an inline look-up in the software TLB; a miss calls C, which
// fills the entry and returns to the look-up. Careful form (MODE_CAREFUL): C reads the operand into a bounce buffer
// first and writes it back after the operation: for MMIO, watched pages and page crossings.
//
// Flags: the look-up uses the host's flags: see flags.c for what becomes of the guest's.
#include "bt/base.h"
#include "x86/mnemonic.h"

void emit_seg_base(struct trans *t, unsigned seg)
{
	struct emit *e = &t->hot;
	struct emit_mem sum = {.base = HOST_T0, .index = HOST_T1, .scale = 1};

	emit_load_state(e, 8, HOST_T1, VCPU_SEG + seg * VCPU_SEG_SIZE + VCPU_SEG_BASE);
	emit_lea(e, t->code == X86_MODE64 ? 8 : 4, HOST_T0, sum);
}

// What cannot be done in the normal form, with something on the host's stack or not: it goes, as that is the stack of
// calls outside.
static void emit_cold_careful(struct trans *t)
{
	if (t->on_stack)
		emit_lea(&t->cold, 8, X86_RSP, mem_base(X86_RSP, t->on_stack));
	emit_cold_exit(t, EXIT_CAREFUL, insn_pc(t, t->i));
}

// FS and GS are often null in 32-bit code, or have a limit, where the others are flat: whoever uses them then finds out
// in the careful form.
static void emit_odd_check(struct trans *t, unsigned seg)
{
	if (t->code == X86_MODE64 || t->careful || (seg != X86_FS && seg != X86_GS))
		return;
	emit_save_flags(t);
	emit_cmp_state_imm8(&t->hot, 8, VCPU_ROOM + seg * 16, 0);
	emit_patch32(emit_jcc32(&t->hot, CC_E), t->hot.delta, emit_here(&t->cold));
	emit_cold_careful(t);
}

static bool seg_has_base(const struct trans *t, unsigned seg)
{
	return !(t->t->mode & MODE_SEGS) && (seg == X86_FS || seg == X86_GS);
}

static bool is_constant(const struct x86_mem *m)
{
	return m->base == X86_REG_RIP || (m->base == X86_REG_NONE && m->index == X86_REG_NONE);
}

static uint64_t constant_ea(const struct trans *t, const struct x86_insn *insn, int adjust)
{
	uint64_t ea = (uint64_t)(insn->mem.disp + adjust) + (insn->mem.base == X86_REG_RIP ? next_pc(t) : 0);

	return insn->addrsize == 8 ? ea : insn->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

static void emit_constant_ea(struct trans *t, struct emit *e, const struct x86_insn *insn, int adjust)
{
	bool by_rip = insn->mem.base == X86_REG_RIP;

	t->t->fixed |= by_rip && insn->addrsize != 8;
	if (by_rip && insn->addrsize == 8)
		emit_mov_pc(t, e, HOST_T0, constant_ea(t, insn, adjust));
	else
		emit_mov_imm(e, HOST_T0, constant_ea(t, insn, adjust));
}

// disp in FS or GS, as operating systems keep what belongs to a thread or a processor.
static bool emit_segment_ea(struct trans *t, const struct x86_insn *insn, int adjust)
{
	int64_t disp = insn->mem.disp + adjust;

	if (t->code != X86_MODE64 || insn->addrsize != 8 || insn->mem.seg < X86_FS || insn->mem.base != X86_REG_NONE ||
	    insn->mem.index != X86_REG_NONE || disp != (int32_t)disp)
		return false;
	emit_load_state(&t->hot, 8, HOST_T0, VCPU_SEG + insn->mem.seg * VCPU_SEG_SIZE + VCPU_SEG_BASE);
	if (disp)
		emit_lea(&t->hot, 8, HOST_T0, mem_base(HOST_T0, (int32_t)disp));
	return true;
}

static uint8_t address_register(struct trans *t, unsigned guest, unsigned temporary)
{
	if (t->map[guest] != X86_REG_NONE || !(t->in_memory & BIT(guest)))
		return (uint8_t)host_of(t, guest);
	emit_load_state(&t->hot, 8, temporary, VCPU_GPR + guest * 8);
	return (uint8_t)temporary;
}

void emit_ea(struct trans *t, const struct x86_insn *insn, int adjust)
{
	const struct x86_mem *m = &insn->mem;
	struct emit *e = &t->hot;
	int64_t disp = m->disp + adjust;
	struct emit_mem em = {.base = X86_REG_NONE, .index = X86_REG_NONE, .scale = m->scale ? m->scale : 1};
	unsigned size = insn->addrsize == 8 ? 8 : 4;

	if (emit_segment_ea(t, insn, adjust))
		return;
	if (t->given) {
		; // the caller of the thunk has put it there
	} else if (is_constant(m)) {
		emit_constant_ea(t, e, insn, adjust);
	} else {
		if (m->base != X86_REG_NONE)
			em.base = address_register(t, m->base, HOST_T0);
		if (m->index != X86_REG_NONE && !m->vsib)
			em.index = m->index == m->base ? em.base : address_register(t, m->index, HOST_T1);
		em.disp = (int32_t)disp;
		if (em.index == X86_REG_NONE && em.disp == 0)
			emit_mov(e, size, HOST_T0, em.base);
		else
			emit_lea(e, size, HOST_T0, em);
		if (insn->addrsize == 2)
			emit_movzwl(e, HOST_T0, HOST_T0);
	}
	emit_ea_base(t, m->seg);
}

void emit_ea_base(struct trans *t, unsigned seg)
{
	if (!seg_has_base(t, seg))
		return;
	emit_odd_check(t, seg);
	emit_seg_base(t, seg);
}

void emit_stack_ea(struct trans *t, int disp)
{
	struct emit *e = &t->hot;
	unsigned size = MAX(stack_addr_size(t), 4);

	if (disp)
		emit_lea(e, size, HOST_T0, mem_base(HOST_GUEST_RSP, disp));
	else
		emit_mov(e, size, HOST_T0, HOST_GUEST_RSP);
	if (!stack_is_wide(t))
		emit_movzwl(e, HOST_T0, HOST_T0);
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

struct site site_of(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	return (struct site){
		.tu = t->tu_id, .guest = t->off[t->i], .homed = t->borrowed,
		.access = (uint8_t)access, .flags = (uint8_t)t->flags,
		.size = (uint16_t)size, .seg = (uint8_t)seg, .bounce = (uint8_t)t->accesses,
		.retry = t->careful ? 0 : (uint32_t)(emit_here(&t->hot) - t->b->tc),
		.align = required_alignment(&t->insn[t->i]),
		.left = (uint8_t)(t->n - t->i), .x87 = is_x87(&t->insn[t->i]), .waits = waits_for_x87(&t->insn[t->i]),
		.masked = t->insn[t->i].class == X86_CLASS_MASKED, .recipe = flags_recipe(t),
		.plain = device_is_plain(t, &t->insn[t->i]),
	};
}

uint32_t new_site(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	ASSERT(t->b->nsites < (t->b->segment + 1) * SITES_SEGMENT);
	t->b->site[t->b->nsites] = site_of(t, access, size, seg);
	return t->b->nsites++;
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

// MODE_SEGS: T0, an offset in the segment, becomes a linear address.
static void emit_segment(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	struct emit *e = &t->hot;
	uint32_t room = VCPU_ROOM + seg * 16 + (access & X86_WRITE ? 8 : 0);

	if (!t->careful) {
		emit_save_flags(t);
		emit_lea(e, 8, HOST_T1, mem_base(HOST_T0, (int32_t)size));
		emit_op_state(e, 8, 0x3b, HOST_T1, room, 0); // cmp
		emit_patch32(emit_jcc32(e, CC_A), e->delta, emit_here(&t->cold));
		emit_cold_careful(t);
	}
	emit_seg_base(t, seg);
}

static bool writes_code_segment(const struct trans *t, unsigned access, unsigned seg)
{
	return t->code != X86_MODE64 && !(t->t->mode & MODE_SEGS) && seg == X86_CS && access & X86_WRITE;
}

static uint32_t table_of(const struct trans *t, unsigned access)
{
	return BT_OFFSET + (uint32_t)(t->tlb * sizeof(struct tlb)) +
	       (uint32_t)(access & X86_WRITE ? offsetof(struct bt, tlb_w) : offsetof(struct bt, tlb_r));
}

// May the normal form be used? If not, the instruction has been left for the careful one.
static bool check_is_plain(struct trans *t, unsigned access, unsigned seg)
{
	if (!writes_code_segment(t, access, seg))
		return true;
	emit_exit(t, EXIT_CAREFUL, insn_pc(t, t->i)); // what the caller emits behind is never reached
	return false;
}

// T1 is the slot's place, T0 becomes the address xor its tag.
static void emit_slot(struct emit *e, uint32_t table)
{
	emit_rorx(e, 8, HOST_T1, HOST_T0, 8);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, (TLB_SIZE - 1) << 4);
	emit_gs(e);
	emit_op_mem(e, 8, 0x33, HOST_T0, mem_base(HOST_T1, (int32_t)table)); // xor tag, T0
}

// A merged check that reaches beyond its page need not ask C: on behind the number.
static void emit_merged_miss(struct trans *t, uint32_t id, uint32_t table)
{
	struct emit *e = &t->cold;
	uint8_t *beyond;

	emit_gs(e);
	emit_op_mem(e, 8, 0x33, HOST_T0, mem_base(HOST_T1, (int32_t)table)); // the address again
	emit_mov(e, 4, HOST_T1, HOST_T0);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, PAGE_OFFSET);
	emit_alu_imm(e, 4, ALU_CMP, HOST_T1, (int32_t)(PAGE_SIZE - t->b->site[id].size));
	beyond = emit_jcc32(e, CC_A);
	emit_slot(e, table);
	emit_call_state(e, SLOT_STUB_MISS);
	emit_u32(e, id);
	emit_patch32(beyond, e->delta, emit_here(e));
}

static void emit_look_up(struct trans *t, uint32_t id, uint32_t table, bool merged)
{
	struct emit *e = &t->hot;
	struct site *s = &t->b->site[id];

	emit_slot(e, table);
	emit_alu_imm(e, 8, ALU_CMP, HOST_T0, (int32_t)(PAGE_SIZE - s->size));
	emit_patch32(emit_jcc32(e, CC_A), e->delta, emit_here(&t->cold));
	emit_gs(e);
	emit_load(e, 8, HOST_T1, mem_base(HOST_T1, (int32_t)table + 8));
	s->done = (uint32_t)(emit_here(e) - t->b->tc);
	if (merged && !(t->t->mode & MODE_ALONE)) {
		emit_merged_miss(t, id, table);
	} else {
		emit_call_state(&t->cold, SLOT_STUB_MISS);
		emit_u32(&t->cold, id);
	}
}

// -- sites with an entry of their own

static uint32_t entry_offset(uint32_t entry, size_t field)
{
	return BT_OFFSET + (uint32_t)(offsetof(struct bt, entry) + entry * sizeof(struct site_entry) + field);
}

#define ENTRY(n, field) entry_offset(n, offsetof(struct site_entry, field))

static void emit_call_site_stub(struct emit *e, const struct bt *b, uint32_t entry)
{
	emit_u8(e, 0xe8);
	emit_u32(e, 0);
	emit_patch32(e->p - 4, e->delta, b->tc + TC_STUB_SITE);
	emit_u32(e, entry * (uint32_t)sizeof(struct site_entry));
}

// A new site, and its entry if it may have one.
static uint32_t new_entry(struct trans *t, unsigned access, unsigned size, unsigned seg, uint32_t *id)
{
	struct bt *b = t->b;
	uint32_t entry;

	*id = new_site(t, access, size, seg);
	if (t->t->favour != FAVOUR_MADE)
		return 0;
	entry = site_entry_new(b, *id, insn_pc(t, t->i), table_of(t, access), size);
	if (entry)
		b->entry_info[entry].retry = b->site[*id].retry;
	return entry;
}

static void emit_compare_entry(struct trans *t, uint32_t entry)
{
	struct emit *e = &t->hot;
	uint8_t *miss;

	emit_op_state(e, 8, 0x33, HOST_T0, ENTRY(entry, tag), 0);   // xor tag, T0
	emit_op_state(e, 8, 0x3b, HOST_T0, ENTRY(entry, limit), 0); // cmp limit, T0
	miss = emit_jcc32(e, CC_AE);
	e->named_t1++; // the stub uses it
	emit_patch32(miss, e->delta, emit_here(&t->cold));
	emit_call_site_stub(&t->cold, t->b, entry);
}

// T0 to T1 + T0.
static uint32_t emit_hot_check(struct trans *t, unsigned access, unsigned size, unsigned seg, bool merged)
{
	uint32_t id, entry;

	emit_save_flags(t);
	entry = new_entry(t, access, size, seg, &id);
	if (!entry) {
		emit_look_up(t, id, table_of(t, access), merged);
		return id;
	}
	emit_compare_entry(t, entry);
	emit_load_state(&t->hot, 8, HOST_T1, ENTRY(entry, host));
	t->b->site[id].done = (uint32_t)(emit_here(&t->hot) - t->b->tc);
	return id;
}

static void goes_apart(struct trans *t, uint32_t id, uint32_t entry)
{
	t->b->site[id].merged = true;
	if (entry)
		t->b->entry_info[entry].apart = t->t->mode & MODE_ALONE ? SITE_TOGETHER : SITE_APART;
	emit_apart_exit(t);
}

void emit_row_check(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	uint32_t entries = t->b->nentries, id = emit_hot_check(t, access, size, seg, true);

	goes_apart(t, id, t->b->nentries > entries ? entries : 0);
}

void emit_check(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	if (t->t->mode & MODE_SEGS)
		emit_segment(t, access, size, seg);
	if (t->careful) {
		emit_careful_check(t, access, size, seg);
		return;
	}
	if (!check_is_plain(t, access, seg))
		return;
	if (t->t->tier == TIER_BASE) {
		base_check(t, access, size, seg);
		return;
	}
	emit_hot_check(t, access, size, seg, false);
}

static void emit_base_ea(struct emit *e, unsigned base, int disp)
{
	if (disp)
		emit_lea(e, 8, HOST_T0, mem_base(base, disp));
	else
		emit_mov(e, 8, HOST_T0, base);
}

static void emit_entry_addend(struct trans *t, uint32_t id, uint32_t entry, unsigned addend)
{
	t->b->entry_info[entry].addend = (uint8_t)addend;
	emit_compare_entry(t, entry);
	emit_load_state(&t->hot, 8, addend, ENTRY(entry, addend));
	t->b->site[id].done = (uint32_t)(emit_here(&t->hot) - t->b->tc);
}

struct emit_mem emit_based_operand(struct trans *t, unsigned base, int disp, unsigned access, unsigned size,
				   unsigned seg)
{
	uint32_t id, entry;

	emit_save_flags(t);
	emit_base_ea(&t->hot, base, disp);
	entry = new_entry(t, access, size, seg, &id);
	if (!entry) {
		emit_look_up(t, id, table_of(t, access), false);
		return checked_mem();
	}
	emit_entry_addend(t, id, entry, HOST_T1);
	return (struct emit_mem){.base = (uint8_t)base, .index = HOST_T1, .scale = 1, .disp = disp};
}

void emit_merged_check(struct trans *t, unsigned base, int disp, unsigned access, unsigned size, unsigned seg,
		       unsigned addend)
{
	struct emit *e = &t->hot;
	uint32_t id, entry;

	emit_save_flags(t);
	emit_base_ea(e, base, disp);
	entry = new_entry(t, access, size, seg, &id);
	if (entry) {
		emit_entry_addend(t, id, entry, addend);
		goes_apart(t, id, entry);
		return;
	}
	emit_look_up(t, id, table_of(t, access), true);
	goes_apart(t, id, 0);
	emit_lea(e, 8, addend, (struct emit_mem){.base = HOST_T1, .index = HOST_T0, .scale = 1, .disp = -disp});
	emit_op_rr(e, 8, 0x29, base, addend); // sub
}

// Without an entry: code that does not move knows the TLB's slot.
static bool emit_constant_slot(struct trans *t, uint32_t id, uint64_t ea, unsigned access)
{
	uint32_t slot = table_of(t, access) + (uint32_t)((ea >> PAGE_SHIFT & (TLB_SIZE - 1)) * sizeof(struct tlb_entry));
	uint64_t page = align_down(ea, PAGE_SIZE);
	struct emit *e = &t->hot;
	uint8_t *miss;

	if (move_is_possible(t->t->pc, t->t->mode) || (page != (uint64_t)(int32_t)page && page != (uint32_t)page))
		return false;
	if (page == (uint64_t)(int32_t)page) {
		emit_op_state(e, 8, 0x81, 7, slot, 4); // cmp
		emit_u32(e, (uint32_t)page);
	} else {
		emit_mov_imm(e, HOST_T1, page);
		emit_op_state(e, 8, 0x3b, HOST_T1, slot, 0); // cmp
	}
	miss = emit_jcc32(e, CC_NE);
	emit_load_state(e, 8, HOST_T1, slot + 8);
	t->b->site[id].done = (uint32_t)(emit_here(e) - t->b->tc);
	e = &t->cold;
	emit_patch32(miss, e->delta, emit_here(e));
	emit_mov_imm(e, HOST_T0, ea);
	emit_slot(e, table_of(t, access));
	emit_call_state(e, SLOT_STUB_MISS);
	emit_u32(e, id);
	return true;
}

// An address that is known now: its entry is either right or invalid, and the operand is an offset from the host's
// page. The linear address is made in the cold half, for the stub. False: this is no such instruction.
bool emit_constant_operand(struct trans *t, const struct x86_insn *insn, unsigned access, unsigned size,
			   struct emit_mem *out)
{
	struct emit *e = &t->hot;
	uint64_t ea = constant_ea(t, insn, 0);
	uint32_t id, entry;
	uint8_t *miss;

	if (t->careful || t->t->mode & MODE_SEGS || !is_constant(&insn->mem) || seg_has_base(t, insn->mem.seg) ||
	    writes_code_segment(t, access, insn->mem.seg) ||
	    (ea & PAGE_OFFSET) + size > PAGE_SIZE)
		return false;
	emit_save_flags(t);
	entry = new_entry(t, access, size, insn->mem.seg, &id);
	if (!entry) {
		*out = mem_base(HOST_T1, (int32_t)(ea & PAGE_OFFSET));
		if (emit_constant_slot(t, id, ea, access))
			return true;
		t->b->nsites--;
		return false;
	}
	t->b->entry_info[entry].constant = true;
	emit_load_state(e, 8, HOST_T1, ENTRY(entry, host));
	emit_op_rr(e, 8, 0x85, HOST_T1, HOST_T1); // test
	miss = emit_jcc32(e, CC_E);
	emit_patch32(miss, e->delta, emit_here(&t->cold));
	emit_constant_ea(t, &t->cold, insn, 0);
	emit_op_state(&t->cold, 8, 0x33, HOST_T0, ENTRY(entry, tag), 0); // xor tag, T0: as the stub expects it
	emit_call_site_stub(&t->cold, t->b, entry);
	t->b->site[id].done = (uint32_t)(emit_here(e) - t->b->tc);
	*out = mem_base(HOST_T1, (int32_t)(ea & PAGE_OFFSET));
	return true;
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
