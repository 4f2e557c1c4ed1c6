// SPDX-License-Identifier: MIT
//
// SYSCALL, SYSENTER and the returns from them, in the cache: from user code of 64 bits, or of 32 bits with flat
// segments, straight into the kernel's code, and back. The MSRs of SYSCALL are constants of the code (translation_key
// throws units away when they change); those of SYSENTER are read each time, as 32-bit kernels rewrite them. Every rare
// case leaves for C before anything has changed.
#include "bt/trans.h"

enum { SYSRET_FLAGS = 0x3c7fd7 }; // what SYSRET takes from R11 (SDM, "SYSRET")

_Static_assert(offsetof(struct x86_seg, attr) == 4, "ORDER VCPU");

static bool flat32(const struct trans *t)
{
	return t->code == X86_MODE32 && is_flat(t);
}

bool fastcall_inline(const struct trans *t, const struct x86_insn *insn)
{
	const struct vcpu *v = t->v;
	bool code64 = t->code == X86_MODE64, all = !(t->t->mode & (MODE_USER | MODE_INNER));

	switch (insn->class) {
	case X86_CLASS_SYSCALL:
		return code64 && v->efer & EFER_SCE;
	case X86_CLASS_SYSRET: // to 32-bit code it is 64-bit kernels' alone
		return all && code64 && v->efer & EFER_SCE && insn->opsize >= 4;
	case X86_CLASS_SYSENTER:
		return flat32(t) && t->t->mode & MODE_USER && !(v->amd && vcpu_long_mode(v));
	case X86_CLASS_SYSEXIT:
		return all && insn->opsize == 4 && (flat32(t) || (code64 && !v->amd));
	default:
		return false;
	}
}

static uint32_t seg_at(unsigned seg, size_t field)
{
	return VCPU_SEG + seg * VCPU_SEG_SIZE + (uint32_t)field;
}

enum { FLAT_SEG = SEG_S | SEG_P | SEG_G, FLAT_CODE = FLAT_SEG | SEG_TYPE_CODE | SEG_TYPE_R | SEG_TYPE_A,
	FLAT_DATA = FLAT_SEG | SEG_DB | SEG_TYPE_W | SEG_TYPE_A };

// A flat segment with the selector in T0, whatever the descriptor tables say.
static void emit_set_seg(struct trans *t, unsigned seg, uint32_t attr)
{
	struct emit *e = &t->hot;

	emit_store_state(e, 4, HOST_T0, seg_at(seg, 0));
	emit_store_state_imm32(e, attr, seg_at(seg, offsetof(struct x86_seg, attr)));
	emit_store_state_imm32(e, UINT32_MAX, seg_at(seg, offsetof(struct x86_seg, limit)));
	emit_op_state(e, 8, 0xc7, 0, seg_at(seg, VCPU_SEG_BASE), 4); // movq $0
	emit_u32(e, 0);
}

// CS with the selector in T0, and SS with one at that distance (SDM, "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT").
static void emit_set_segs(struct trans *t, uint32_t size, int ss, unsigned cpl) // size: SEG_L or SEG_DB
{
	emit_set_seg(t, X86_CS, FLAT_CODE | size | cpl << SEG_DPL_SHIFT);
	emit_lea(&t->hot, 4, HOST_T0, mem_base(HOST_T0, ss));
	emit_set_seg(t, X86_SS, FLAT_DATA | cpl << SEG_DPL_SHIFT);
	emit_store_state_imm8(&t->hot, cpl, (uint32_t)offsetof(struct vcpu, cpl));
}

// Are all flags that the host holds masked, and those that select the mode? Kernels do so.
static bool masks_all(const struct vcpu *v)
{
	const uint64_t all = LIVE_FLAGS | RFLAGS_IF | RFLAGS_TF | RFLAGS_AC;

	return (v->fmask & all) == all;
}

static void emit_stack_switch(struct emit *e, unsigned opcode, uint32_t slot) // mov of RSP: 0x8b from, 0x89 to
{
	emit_op_state(e, 8, opcode, X86_RSP, slot, 0);
}

// The kernel's part of the stack of calls begins below the user's, which is as it was on return (see pair.c).
static void emit_calls_of_kernel(struct emit *e)
{
	emit_stack_switch(e, 0x89, SLOT_CALLS_USER);
	emit_op_state(e, 4, 0xff, 6, SLOT_STUB_EMPTY, 0); // push
	emit_stack_switch(e, 0x89, SLOT_CALLS_FLOOR);
}

static void emit_calls_of_user(struct emit *e)
{
	emit_stack_switch(e, 0x8b, SLOT_CALLS_BASE);
	emit_stack_switch(e, 0x89, SLOT_CALLS_FLOOR);
	emit_stack_switch(e, 0x8b, SLOT_CALLS_USER);
}

void sys_syscall(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned cs = t->v->star >> 32 & 0xfffc;
	bool all = masks_all(t->v);

	emit_rflags(t, !all);
	if (!all) {
		emit_op_rr(e, 4, 0xf7, 0, HOST_T0); // test
		emit_u32(e, (uint32_t)((RFLAGS_DF | RFLAGS_TF | RFLAGS_AC) & ~t->v->fmask));
		sys_rare_if(t, CC_NE, insn);
	}
	emit_mov(e, 8, host_of(t, X86_R11), HOST_T0);
	emit_mov_pc(t, e, host_of(t, X86_RCX), next_pc(t));
	emit_alu_imm(e, 4, ALU_AND, HOST_T0, (int32_t)~t->v->fmask);
	emit_alu_imm(e, 4, ALU_OR, HOST_T0, RFLAGS_FIXED1);
	emit_store_state(e, 8, HOST_T0, VCPU_RFLAGS);
	if (all) {
		emit_store_state_imm8(e, 0, SLOT_IF);
		emit_store_state_imm32(e, 0, SLOT_FLAGS);
		flags_from_here(t, FLAGS_SLOT);
		emit_u8(e, 0xfc); // cld
	} else {
		emit_take_flags(t);
	}
	emit_mov_imm(e, HOST_T0, cs);
	emit_set_segs(t, SEG_L, 8, 0);
	emit_calls_of_kernel(e);
	emit_mov_imm(e, HOST_T0, t->v->lstar);
	emit_mode_jump(t, t->t->mode & ~(uint32_t)(MODE_USER | MODE_AC | MODE_MAPPED | MODE_DIRECT));
}

// -- to 32-bit code from code of 64 bits: what bt_set_mode and enter_narrow do

enum { KEEPS = MODE_FPU_NM | MODE_SSE_UD | MODE_SSE_NM | MODE_WAIT_NM, // of the mode
	NARROW = MODE_CODE32 | MODE_SS32 | MODE_USER };

// T0: 0 if any access by this segment is allowed, wrapping at 4 GiB (segment.c has it as whole()). T1 is lost.
static void emit_is_whole(struct trans *t, unsigned seg)
{
	struct emit *e = &t->hot;

	emit_load_state(e, 4, HOST_T0, seg_at(seg, offsetof(struct x86_seg, attr)));
	emit_alu_imm(e, 4, ALU_AND, HOST_T0, SEG_UNUSABLE | SEG_TYPE_CODE | SEG_TYPE_E | SEG_TYPE_W);
	emit_alu_imm(e, 4, ALU_XOR, HOST_T0, SEG_TYPE_W);
	emit_load_state(e, 4, HOST_T1, seg_at(seg, offsetof(struct x86_seg, limit)));
	emit_op_rr(e, 4, 0xf7, 2, HOST_T1);         // not
	emit_op_rr(e, 4, 0x09, HOST_T1, HOST_T0); // or
}

// Is the code that we go to in the flat mode?
static void emit_flat_or_rare(struct trans *t, const struct x86_insn *insn, unsigned seg)
{
	struct emit *e = &t->hot;

	emit_is_whole(t, seg);
	emit_load_state(e, 8, HOST_T1, seg_at(seg, VCPU_SEG_BASE));
	emit_op_rr(e, 8, 0x09, HOST_T1, HOST_T0); // or
	sys_rare_if(t, CC_NE, insn);
}

// As measure_odd() in segment.c.
static void emit_measure(struct trans *t, unsigned seg)
{
	struct emit *e = &t->hot;

	emit_is_whole(t, seg);
	emit_op_rr(e, 8, 0xf7, 3, HOST_T0);       // neg
	emit_op_rr(e, 8, 0x19, HOST_T0, HOST_T0); // sbb: -1 or 0
	emit_alu_imm(e, 8, ALU_ADD, HOST_T0, 1);
	emit_shift(e, 8, 4, HOST_T0, 33);
	emit_store_state(e, 8, HOST_T0, VCPU_ROOM + seg * 16);
	emit_store_state(e, 8, HOST_T0, VCPU_ROOM + seg * 16 + 8);
}

// Before anything has changed.
static void emit_see_to_narrow(struct trans *t, const struct x86_insn *insn)
{
	emit_cmp_state_imm8(&t->hot, 1, BT_OFFSET + (uint32_t)offsetof(struct bt, edges), 0);
	sys_rare_if(t, CC_NE, insn);
	emit_flat_or_rare(t, insn, X86_DS);
	emit_flat_or_rare(t, insn, X86_ES);
	emit_measure(t, X86_FS);
	emit_measure(t, X86_GS);
}

// On to 32-bit user code at the address in T0. What the stack of calls has of the user is of any mode: it is forgotten.
static void emit_narrow_jump(struct trans *t, uint32_t mode)
{
	struct emit *e = &t->hot;

	emit_stack_switch(e, 0x8b, SLOT_CALLS_BASE);
	emit_stack_switch(e, 0x89, SLOT_CALLS_FLOOR);
	emit_ready_to_go(t);
	for (unsigned r = 0; r < X86_R8 && t->code == X86_MODE64; r++)
		if (r != X86_RSP)
			emit_mov(e, 4, r, r);
	emit_mov(e, 4, HOST_GUEST_RSP, HOST_GUEST_RSP);
	emit_enter_user(t, mode);
}

void sys_sysret(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned rcx = host_of(t, X86_RCX), r11 = host_of(t, X86_R11), star = t->v->star >> 48;
	bool narrow = insn->opsize == 4;

	emit_save_flags(t);
	if (!narrow) {
		emit_mov(e, 8, HOST_T0, rcx); // an address of the upper half, or none at all, is C's
		emit_shift(e, 8, 5, HOST_T0, 47);
		sys_rare_if(t, CC_NE, insn);
	}
	emit_op_rr(e, 4, 0xf7, 0, r11);
	emit_u32(e, RFLAGS_TF | RFLAGS_RF | RFLAGS_VM | RFLAGS_AC | RFLAGS_DF);
	sys_rare_if(t, CC_NE, insn);
	emit_cmp_state_imm8(e, 4, SLOT_IRQ_WAIT, 0);
	sys_rare_if(t, CC_NE, insn);
	if (narrow)
		emit_see_to_narrow(t, insn);
	emit_mov_imm(e, HOST_T0, narrow ? star | 3 : (star + 16) | 3);
	emit_set_segs(t, narrow ? SEG_DB : SEG_L, narrow ? 8 : -8, 3);
	emit_mov(e, 4, HOST_T0, r11);
	emit_alu_imm(e, 4, ALU_AND, HOST_T0, SYSRET_FLAGS);
	emit_alu_imm(e, 4, ALU_OR, HOST_T0, RFLAGS_FIXED1);
	emit_store_state(e, 8, HOST_T0, VCPU_RFLAGS);
	emit_take_flags(t);
	emit_mov(e, narrow ? 4 : 8, HOST_T0, rcx);
	if (narrow) {
		emit_narrow_jump(t, (t->t->mode & KEEPS) | NARROW);
		return;
	}
	emit_calls_of_user(e);
	emit_user_jump(t, (t->t->mode & ~(uint32_t)(MODE_AC | MODE_MAPPED)) | MODE_USER);
}

// -- SYSENTER and SYSEXIT

// T0: the MSR's selector. Without one, or with EFLAGS.AC, which selects modes, leave for C.
static void emit_sysenter_cs(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	emit_save_flags(t);
	emit_load_state(e, 4, HOST_T0, VCPU_RFLAGS);
	emit_op_rr(e, 4, 0xf7, 0, HOST_T0); // test
	emit_u32(e, RFLAGS_AC);
	sys_rare_if(t, CC_NE, insn);
	emit_load_state(e, 4, HOST_T0, offsetof(struct vcpu, sysenter_cs));
	emit_alu_imm(e, 4, ALU_AND, HOST_T0, 0xfffc);
	sys_rare_if(t, CC_E, insn);
}

void sys_sysenter(struct trans *t, const struct x86_insn *insn)
{
	bool wide = vcpu_long_mode(t->v);
	struct emit *e = &t->hot;

	emit_sysenter_cs(t, insn);
	emit_set_segs(t, wide ? SEG_L : SEG_DB, 8, 0);
	emit_store_state_imm8(e, 0, SLOT_IF);
	emit_stack_switch(e, 0x8b, SLOT_CALLS_BASE); // for all that is known the way back leads into another mode
	emit_calls_of_kernel(e);
	emit_load_state(e, wide ? 8 : 4, HOST_GUEST_RSP, offsetof(struct vcpu, sysenter_esp));
	emit_load_state(e, wide ? 8 : 4, HOST_T0, offsetof(struct vcpu, sysenter_eip));
	emit_mode_jump(t, wide ? (t->t->mode & KEEPS) | MODE_CODE64 : t->t->mode & ~(uint32_t)(MODE_USER | MODE_MAPPED));
}

void sys_sysexit(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	emit_sysenter_cs(t, insn);
	if (t->code == X86_MODE64) {
		emit_see_to_narrow(t, insn);
		emit_load_state(e, 4, HOST_T0, offsetof(struct vcpu, sysenter_cs));
		emit_alu_imm(e, 4, ALU_AND, HOST_T0, 0xfffc);
	}
	emit_lea(e, 4, HOST_T0, mem_base(HOST_T0, 16 + 3));
	emit_set_segs(t, SEG_DB, 8, 3);
	emit_mov(e, 4, HOST_GUEST_RSP, host_of(t, X86_RCX));
	emit_mov(e, 4, HOST_T0, host_of(t, X86_RDX));
	emit_narrow_jump(t, (t->t->mode & KEEPS) | NARROW);
}
