// SPDX-License-Identifier: MIT
//
// System instructions in the cache. What only touches words of struct vcpu (interrupt flag, GS bases, flags, TSC) is
// done inline; SYSCALL, SYSENTER and the ways back are in fastcall.c. The rest, and every rare case of these, leaves
// for C (sys_execute, or bt_string) with the decoded instruction kept beside the exit.
#include "bt/trans.h"
#include "bt/vector.h"

enum {
	POPF_RARE = RFLAGS_TF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM | RFLAGS_AC | RFLAGS_ID | RFLAGS_VIF |
		    RFLAGS_VIP,
};

uint32_t keep_insn(struct trans *t, const struct x86_insn *insn)
{
	ASSERT(t->shared || t->b->ninsns < (t->b->segment + 1) * INSNS_SEGMENT);
	t->b->insn[t->b->ninsns] = *insn;
	return t->b->ninsns++;
}

uint32_t keep_vector(struct trans *t, const struct x86_insn *insn)
{
	uint32_t n = keep_insn(t, insn);

	t->b->vop[n] = vector_op_of(insn, t->bytes + t->off[t->i]);
	return n;
}

static void leave_for_c(struct trans *t, enum exit_kind kind, const struct x86_insn *insn)
{
	emit_exit(t, kind, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].insn = keep_insn(t, insn);
}

void emit_sys(struct trans *t, const struct x86_insn *insn)
{
	leave_for_c(t, EXIT_SYS, insn);
}

void emit_string(struct trans *t, const struct x86_insn *insn)
{
	leave_for_c(t, EXIT_STRING, insn);
}

void emit_vector(struct trans *t, const struct x86_insn *insn)
{
	emit_exit(t, EXIT_VECTOR, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].insn = keep_vector(t, insn);
}

// To C, from the cold half.
void emit_sys_aside(struct trans *t, const struct x86_insn *insn)
{
	emit_cold_exit(t, EXIT_SYS, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].insn = keep_insn(t, insn);
}

// The rare case of an inline instruction, before anything has changed: on condition cc leave for C.
void sys_rare_if(struct trans *t, unsigned cc, const struct x86_insn *insn)
{
	emit_patch32(emit_jcc32(&t->hot, cc), t->hot.delta, emit_here(&t->cold));
	emit_sys_aside(t, insn);
}

static bool in_real_mode(const struct trans *t) // not in virtual-8086 mode
{
	return (t->t->mode & (MODE_REAL | MODE_USER | MODE_INNER)) == MODE_REAL;
}

// Of PUSHF and POPF: all of the flags in 64- and 32-bit code, what there is of them in real mode.
static bool whole_flags(const struct trans *t, const struct x86_insn *insn)
{
	return is_flat(t) ? insn->opsize == word(t) : insn->opsize == 2;
}

bool sys_inline(const struct trans *t, const struct x86_insn *insn)
{
	const struct vcpu *v = t->v;
	bool all = !(t->t->mode & (MODE_USER | MODE_INNER)); // privileges
	bool by_level = v->counts && !v->counting;           // performance counters want to know when the level changes

	if (t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_ALONE))
		return false;
	if (seg_inline(t, insn))
		return true;
	if (!is_flat(t) && !in_real_mode(t))
		return false;
	switch (insn->class) {
	case X86_CLASS_CPUID: return t->code == X86_MODE64;
	case X86_CLASS_RDMSR: return all && t->code == X86_MODE64;
	case X86_CLASS_CLI: case X86_CLASS_STI: return all;
	case X86_CLASS_SWAPGS: return all && t->code == X86_MODE64;
	case X86_CLASS_MOV_FROM_CR: return all && !(insn->rex & 4) && BIT(insn->modrm >> 3 & 7) & 0x1d;
	case X86_CLASS_PUSHF: return whole_flags(t, insn);
	case X86_CLASS_POPF: return whole_flags(t, insn) && all;
	case X86_CLASS_STAC: case X86_CLASS_CLAC: return all && v->cr4 & CR4_SMAP;
	case X86_CLASS_RDTSC: case X86_CLASS_RDTSCP:
		return (all || !(v->cr4 & CR4_TSD)) && !t->b->sh->config.deterministic;
	case X86_CLASS_SYSCALL: case X86_CLASS_SYSRET: case X86_CLASS_SYSENTER: case X86_CLASS_SYSEXIT:
		return !by_level && fastcall_inline(t, insn);
	case X86_CLASS_MOV_FROM_SEG: return (insn->modrm >> 3 & 7) < X86_SREGS;
	case X86_CLASS_RDFSBASE: case X86_CLASS_RDGSBASE:
		return t->code == X86_MODE64 && v->cr4 & CR4_FSGSBASE;
	default: return false;
	}
}

// What C does without leaving the unit (callout.c). Not what always changes the mode, goes elsewhere or sleeps.
bool sys_stays(const struct trans *t, const struct x86_insn *insn)
{
	if (t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_ALONE) || t->v->counts ||
	    t->t->tier == TIER_BASE)
		return false;
	switch (insn->class) {
	case X86_CLASS_IN: case X86_CLASS_OUT: case X86_CLASS_CPUID: case X86_CLASS_RDMSR: case X86_CLASS_WRMSR:
	case X86_CLASS_MOV_FROM_CR: case X86_CLASS_MOV_TO_CR: case X86_CLASS_MOV_FROM_DR: case X86_CLASS_MOV_TO_DR:
	case X86_CLASS_INVLPG: case X86_CLASS_INVPCID: case X86_CLASS_RDPMC: case X86_CLASS_RDPID: case X86_CLASS_XGETBV:
	case X86_CLASS_WRFSBASE: case X86_CLASS_WRGSBASE: case X86_CLASS_LLDT: case X86_CLASS_SLDT: case X86_CLASS_STR:
	case X86_CLASS_SGDT: case X86_CLASS_SIDT: case X86_CLASS_LGDT: case X86_CLASS_LIDT: case X86_CLASS_SMSW:
	case X86_CLASS_LAR: case X86_CLASS_LSL: case X86_CLASS_VERR: case X86_CLASS_VERW: case X86_CLASS_WBINVD:
		return true;
	case X86_CLASS_MOV_TO_SEG:
		return (insn->modrm >> 3 & 7) != X86_SS;
	case X86_CLASS_POP_SEG:
		return (insn->opcode >> 3 & 7) != X86_SS;
	default:
		return false;
	}
}

void sys_from_cr(struct trans *t, const struct x86_insn *insn)
{
	static const uint16_t at[] = {[0] = offsetof(struct vcpu, cr0), [2] = offsetof(struct vcpu, cr2),
				      [3] = offsetof(struct vcpu, cr3), [4] = offsetof(struct vcpu, cr4)};

	emit_load_state(&t->hot, word(t), host_of(t, (insn->modrm & 7) | (insn->rex & 1) << 3), at[insn->modrm >> 3 & 7]);
}

// A selector is 16 bits in memory, and zero-extended to the operand size in a register.
void sys_from_seg(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	uint32_t sel = VCPU_SEG + (insn->modrm >> 3 & 7) * VCPU_SEG_SIZE;

	if (insn->mem.present) {
		emit_ea(t, insn, 0);
		emit_check(t, X86_WRITE, 2, insn->mem.seg);
		emit_lea(e, 8, HOST_T0, checked_mem());
		emit_load_state(e, 2, HOST_T1, sel);
		emit_store(e, 2, HOST_T1, mem_base(HOST_T0, 0));
		emit_access_done(t);
		return;
	}
	emit_load_state(e, 2, HOST_T0, sel);
	emit_mov(e, insn->opsize, host_of(t, (insn->modrm & 7) | (insn->rex & 1) << 3), HOST_T0);
}

void sys_rdbase(struct trans *t, const struct x86_insn *insn)
{
	unsigned seg = insn->class == X86_CLASS_RDFSBASE ? X86_FS : X86_GS;
	unsigned reg = host_of(t, (insn->modrm & 7) | (insn->rex & 1) << 3);

	emit_load_state(&t->hot, insn->rex & 8 ? 8 : 4, reg, VCPU_SEG + seg * VCPU_SEG_SIZE + VCPU_SEG_BASE);
}

void sys_cli(struct trans *t, const struct x86_insn *insn)
{
	emit_store_state_imm8(&t->hot, 0, SLOT_IF);
}

// Interrupts stay off for one more instruction: if one waits, the run loop runs that one and then delivers.
void sys_sti(struct trans *t, const struct x86_insn *insn)
{
	emit_store_state_imm8(&t->hot, 1, SLOT_IF);
	emit_poll_word(t, SLOT_IRQ_WAIT, EXIT_STI, next_pc(t));
}

void sys_swapgs(struct trans *t, const struct x86_insn *insn)
{
	const uint32_t base = VCPU_SEG + X86_GS * VCPU_SEG_SIZE + VCPU_SEG_BASE;
	const uint32_t other = offsetof(struct vcpu, kernel_gs_base);

	emit_load_state(&t->hot, 8, HOST_T0, base);
	emit_load_state(&t->hot, 8, HOST_T1, other);
	emit_store_state(&t->hot, 8, HOST_T0, other);
	emit_store_state(&t->hot, 8, HOST_T1, base);
}

static void emit_pushfq(struct emit *e)
{
	emit_u8(e, 0x9c);
}

static void emit_host_pop(struct emit *e, unsigned reg)
{
	emit_rex(e, 4, 0, 0, reg);
	emit_u8(e, 0x58 | (reg & 7));
}

static void emit_host_push(struct emit *e, unsigned reg)
{
	emit_rex(e, 4, 0, 0, reg);
	emit_u8(e, 0x50 | (reg & 7));
}

// Arithmetic flags and DF into T0, from wherever they are; the host's are lost unless `keep`.
static void emit_flags_to_t0(struct trans *t, bool keep)
{
	struct emit *e = &t->hot;

	if (t->flags != FLAGS_SLOT) {
		emit_flags_home(t, e);
		t->flags = FLAGS_HOST;
	}
	emit_pushfq(e);
	emit_host_pop(e, HOST_T0);
	if (t->flags == FLAGS_HOST) {
		if (keep)
			emit_save_flags(t);
		emit_alu_imm(e, 4, ALU_AND, HOST_T0, LIVE_FLAGS);
		return;
	}
	emit_alu_imm(e, 4, ALU_AND, HOST_T0, RFLAGS_DF);
	emit_load_state(e, 1, HOST_T1, SLOT_FLAGS + 1);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, RFLAGS_ARITH & ~RFLAGS_OF);
	emit_op_rr(e, 4, 0x09, HOST_T1, HOST_T0); // or
	emit_load_state(e, 1, HOST_T1, SLOT_FLAGS);
	emit_shift(e, 4, 4, HOST_T1, 11);
	emit_op_rr(e, 4, 0x09, HOST_T1, HOST_T0);
}

// RFLAGS of the guest into T0, RF and VM clear.
void emit_rflags(struct trans *t, bool keep)
{
	struct emit *e = &t->hot;

	emit_flags_to_t0(t, keep);
	emit_load_state(e, 4, HOST_T1, VCPU_RFLAGS);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, ~(LIVE_FLAGS | RFLAGS_IF | RFLAGS_RF | RFLAGS_VM));
	emit_op_rr(e, 4, 0x09, HOST_T1, HOST_T0); // or
	emit_load_state(e, 1, HOST_T1, SLOT_IF);
	emit_shift(e, 4, 4, HOST_T1, 9);
	emit_op_rr(e, 4, 0x09, HOST_T1, HOST_T0);
}

void sys_pushf(struct trans *t, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;

	emit_rflags(t, true);
	emit_host_push(&t->hot, HOST_T0);
	t->on_stack = 8;
	emit_stack_ea(t, -(int)size);
	emit_check(t, X86_WRITE, size, X86_SS);
	t->on_stack = 0;
	emit_host_pop_to_mem(t, size);
	emit_rsp_add(t, -(int)size);
	emit_access_done(t);
}

// T0: new RFLAGS, DF clear. The interrupt flag and the arithmetic flags to their slots.
void emit_take_flags(struct trans *t)
{
	struct emit *e = &t->hot;

	emit_mov(e, 4, HOST_T1, HOST_T0);
	emit_shift(e, 4, 5, HOST_T1, 9);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, 1);
	emit_store_state(e, 4, HOST_T1, SLOT_IF);
	emit_mov(e, 4, HOST_T1, HOST_T0);
	emit_shift(e, 4, 5, HOST_T1, 11);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, 1);
	emit_shift(e, 4, 4, HOST_T0, 8);
	emit_op_rr(e, 4, 0x09, HOST_T0, HOST_T1);
	emit_store_state(e, 2, HOST_T1, SLOT_FLAGS);
	emit_u8(e, 0xfc); // cld
	flags_from_here(t, FLAGS_SLOT);
}

void sys_popf(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	emit_stack_ea(t, 0);
	emit_check(t, X86_READ, insn->opsize, X86_SS);
	emit_load(e, insn->opsize, HOST_T0, checked_mem());
	emit_mov(e, 4, HOST_T1, HOST_T0);
	emit_op_state(e, 4, 0x33, HOST_T1, VCPU_RFLAGS, 0); // xor
	emit_op_rr(e, 4, 0xf7, 0, HOST_T1);                 // test
	emit_u32(e, POPF_RARE);
	sys_rare_if(t, CC_NE, insn);
	emit_op_rr(e, 4, 0xf7, 0, HOST_T0); // test
	emit_u32(e, RFLAGS_DF);
	sys_rare_if(t, CC_NE, insn);
	emit_rsp_add(t, insn->opsize);
	emit_take_flags(t);
	emit_poll_word(t, SLOT_IRQ_WAIT, EXIT_POLL, next_pc(t));
}

// SLOT_TABLE for a return that was not foreseen. T1 is free.
static void emit_load_table(struct trans *t, unsigned mode_id)
{
	emit_mov_imm(&t->hot, HOST_T1, (uint64_t)t->b->itab[mode_id].e);
	emit_store_state(&t->hot, 8, HOST_T1, SLOT_TABLE);
}

void emit_enter_mode(struct trans *t, uint32_t mode)
{
	emit_store_state_imm32(&t->hot, mode, BT_OFFSET + (uint32_t)offsetof(struct bt, mode_now));
	emit_load_table(t, tc_mode_id(t->b, mode));
	emit_jump_table(t, tc_mode_id(t->b, mode));
	t->ended = true;
}

// The same, if the guest's stack is not where hot code could not trust it: else to C.
static void emit_enter_mapped(struct trans *t, uint32_t mode)
{
	struct emit *e = &t->hot;
	uint8_t *zone, *upper;

	if ((mode & MODE_CODE) != MODE_CODE64) {
		emit_enter_mode(t, mode);
		return;
	}
	emit_stack_test(e, &zone, &upper);
	emit_enter_mode(t, mode);
	emit_patch32(zone, e->delta, emit_here(e));
	emit_patch32(upper, e->delta, emit_here(e));
	emit_store_state_imm32(e, mode, BT_OFFSET + (uint32_t)offsetof(struct bt, mode_now));
	emit_jmp_state(e, SLOT_STUB_IND);
}

void emit_ready_to_go(struct trans *t)
{
	emit_flags_noted(t, &t->hot, 0xffff);
	emit_epilogue(t, &t->hot);
	emit_uncount(t, &t->hot);
}

// On to the address in T0 in another mode.
void emit_mode_jump(struct trans *t, uint32_t mode)
{
	emit_ready_to_go(t);
	emit_enter_mode(t, mode);
}

// User code, in the form that its address space has: `mode` says nothing of that.
void emit_enter_user(struct trans *t, uint32_t mode)
{
	struct emit *e = &t->hot;
	uint8_t *mapped;

	if (t->b->sh->config.memory == MEMORY_CHECKED) {
		emit_enter_mode(t, mode);
		return;
	}
	emit_cmp_state_imm8(e, 4, SLOT_MAPPED, 0);
	mapped = emit_jcc32(e, CC_NE);
	emit_enter_mode(t, mode);
	emit_patch32(mapped, e->delta, emit_here(e));
	emit_op_state(e, 4, 0xf7, 0, SLOT_MAPPED, 4); // test
	emit_u32(e, MODE_DIRECT);
	mapped = emit_jcc32(e, CC_E);
	emit_store_state_imm32(e, mode | MODE_DIRECT, BT_OFFSET + (uint32_t)offsetof(struct bt, mode_now));
	emit_jmp_state(e, SLOT_STUB_IND);
	emit_patch32(mapped, e->delta, emit_here(e));
	emit_enter_mapped(t, mode | MODE_MAPPED);
}

void emit_user_jump(struct trans *t, uint32_t mode)
{
	emit_ready_to_go(t);
	emit_enter_user(t, mode);
}

// STAC, CLAC: the mode says what the flag is now.
static void set_ac(struct trans *t, bool ac)
{
	struct emit *e = &t->hot;

	if (ac == !!(t->t->mode & MODE_AC))
		return;
	emit_load_state(e, 4, HOST_T0, VCPU_RFLAGS);
	emit_lea(e, 4, HOST_T0, mem_base(HOST_T0, ac ? RFLAGS_AC : -RFLAGS_AC));
	emit_store_state(e, 4, HOST_T0, VCPU_RFLAGS);
	emit_mov_pc(t, e, HOST_T0, next_pc(t));
	emit_mode_jump(t, t->t->mode ^ MODE_AC);
}

void sys_stac(struct trans *t, const struct x86_insn *insn)
{
	set_ac(t, true);
}

void sys_clac(struct trans *t, const struct x86_insn *insn)
{
	set_ac(t, false);
}

void sys_rdtsc(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned rax = host_of(t, X86_RAX), rdx = host_of(t, X86_RDX);

	emit_save_flags(t);
	emit_bytes(e, (const uint8_t[]){0x0f, 0x31}, 2);
	if (insn->class == X86_CLASS_RDTSCP)
		emit_load_state(e, 4, host_of(t, X86_RCX), offsetof(struct vcpu, tsc_aux));
	emit_shift(e, 8, 4, rdx, 32);
	emit_op_rr(e, 8, 0x09, rdx, rax);
	emit_op_state(e, 8, 0x03, rax, VCPU_TSC_OFFSET, 0); // add
	emit_mov(e, 8, rdx, rax);
	emit_shift(e, 8, 5, rdx, 32);
	emit_mov(e, 4, rax, rax);
}
