// SPDX-License-Identifier: MIT
//
// System instructions by one table: class to handler, with the privilege that the SDM asks for as a column. The
// handlers stand by subject in insn_*.c and control.c. The mode that translated code depends on is computed anew after
// each (bt_mode), so that no handler can forget to say that it has changed something.
#include "cpu/insn.h"

enum check {
	CPL0 = BIT(0),      // else #GP(0)
	PROTECTED = BIT(1), // else #UD: unknown in real mode
	UMIP = BIT(2),      // #GP(0) outside level 0 under CR4.UMIP
	TRANSFER = BIT(3),  // sets RIP itself
	HIDES_TF = BIT(4),  // when it clears TF, that counts before the single-step trap
	SETS_RF = BIT(5),   // RF is for the next instruction
};

struct treatment {
	void (*run)(struct vcpu *v, const struct x86_insn *i, struct sys_result *res);
	uint8_t check; // enum check
};

static const struct treatment by_class[X86_CLASS_COUNT] = {
	[X86_CLASS_INVALID] = {insn_ud, 0},
	[X86_CLASS_PLAIN] = {insn_bcd, 0}, // of the plain ones only those without a 64-bit form come here
	[X86_CLASS_XGETBV] = {insn_xgetbv, 0},
	[X86_CLASS_XSETBV] = {insn_xsetbv, CPL0},
	[X86_CLASS_JMP] = {insn_jmp, TRANSFER}, // near ones only in segments with a base or a limit
	[X86_CLASS_JCC] = {insn_jcc, TRANSFER},
	[X86_CLASS_LOOP] = {insn_loop, TRANSFER},
	[X86_CLASS_CALL] = {insn_call, TRANSFER},
	[X86_CLASS_JMP_IND] = {insn_jmp_ind, TRANSFER},
	[X86_CLASS_CALL_IND] = {insn_call_ind, TRANSFER},
	[X86_CLASS_RET] = {insn_ret, TRANSFER},
	[X86_CLASS_NEAR16] = {insn_near16, TRANSFER},
	[X86_CLASS_JMP_FAR] = {insn_jmp_far, TRANSFER},
	[X86_CLASS_CALL_FAR] = {insn_call_far, TRANSFER},
	[X86_CLASS_RET_FAR] = {insn_ret_far, TRANSFER},
	[X86_CLASS_IRET] = {insn_iret, TRANSFER | SETS_RF},
	[X86_CLASS_INT] = {insn_int, TRANSFER | HIDES_TF},
	[X86_CLASS_INT1] = {insn_int1, TRANSFER | HIDES_TF},
	[X86_CLASS_INT3] = {insn_int3, TRANSFER | HIDES_TF},
	[X86_CLASS_INTO] = {insn_into, TRANSFER | HIDES_TF},
	[X86_CLASS_SYSCALL] = {insn_syscall, TRANSFER | HIDES_TF},
	[X86_CLASS_SYSRET] = {insn_sysret, TRANSFER},
	[X86_CLASS_SYSENTER] = {insn_sysenter, TRANSFER},
	[X86_CLASS_SYSEXIT] = {insn_sysexit, TRANSFER},
	[X86_CLASS_PUSHA] = {insn_pusha, 0},
	[X86_CLASS_POPA] = {insn_popa, 0},
	[X86_CLASS_PUSHF] = {insn_pushf, 0},
	[X86_CLASS_POPF] = {insn_popf, 0},
	[X86_CLASS_ENTER] = {insn_enter, 0},
	[X86_CLASS_PUSH_SEG] = {insn_push_seg, 0},
	[X86_CLASS_POP_SEG] = {insn_pop_seg, 0},
	[X86_CLASS_MOV_FROM_SEG] = {insn_mov_from_seg, 0},
	[X86_CLASS_MOV_TO_SEG] = {insn_mov_to_seg, 0},
	[X86_CLASS_LOAD_FAR_PTR] = {insn_load_far_ptr, 0},
	[X86_CLASS_INS] = {insn_ins, TRANSFER},
	[X86_CLASS_OUTS] = {insn_outs, TRANSFER},
	[X86_CLASS_XLAT] = {insn_xlat, 0},
	[X86_CLASS_IN] = {insn_in, 0},
	[X86_CLASS_OUT] = {insn_out, 0},
	[X86_CLASS_CLI] = {insn_cli, 0},
	[X86_CLASS_STI] = {insn_sti, 0},
	[X86_CLASS_CLTS] = {insn_clts, CPL0},
	[X86_CLASS_HLT] = {insn_hlt, CPL0},
	[X86_CLASS_CLAC] = {insn_clac, 0},
	[X86_CLASS_STAC] = {insn_stac, 0},
	[X86_CLASS_MOV_FROM_CR] = {insn_mov_from_cr, CPL0},
	[X86_CLASS_MOV_TO_CR] = {insn_mov_to_cr, CPL0},
	[X86_CLASS_MOV_FROM_DR] = {insn_mov_from_dr, 0},
	[X86_CLASS_MOV_TO_DR] = {insn_mov_to_dr, 0},
	[X86_CLASS_SMSW] = {insn_smsw, UMIP},
	[X86_CLASS_LMSW] = {insn_lmsw, CPL0},
	[X86_CLASS_LGDT] = {insn_lgdt, CPL0},
	[X86_CLASS_LIDT] = {insn_lidt, CPL0},
	[X86_CLASS_LLDT] = {insn_lldt, PROTECTED | CPL0},
	[X86_CLASS_LTR] = {insn_ltr, PROTECTED | CPL0},
	[X86_CLASS_SGDT] = {insn_sgdt, UMIP},
	[X86_CLASS_SIDT] = {insn_sidt, UMIP},
	[X86_CLASS_SLDT] = {insn_sldt, PROTECTED | UMIP},
	[X86_CLASS_STR] = {insn_str, PROTECTED | UMIP},
	[X86_CLASS_LAR] = {insn_lar, PROTECTED},
	[X86_CLASS_LSL] = {insn_lsl, PROTECTED},
	[X86_CLASS_VERR] = {insn_verr, PROTECTED},
	[X86_CLASS_VERW] = {insn_verw, PROTECTED},
	[X86_CLASS_ARPL] = {insn_arpl, PROTECTED},
	[X86_CLASS_BOUND] = {insn_bound, 0},
	[X86_CLASS_CPUID] = {insn_cpuid, 0},
	[X86_CLASS_RDTSC] = {insn_rdtsc, 0},
	[X86_CLASS_RDTSCP] = {insn_rdtscp, 0},
	[X86_CLASS_RDPMC] = {insn_rdpmc, 0},
	[X86_CLASS_RDPID] = {insn_rdpid, 0},
	[X86_CLASS_RDMSR] = {insn_rdmsr, CPL0},
	[X86_CLASS_WRMSR] = {insn_wrmsr, CPL0},
	[X86_CLASS_RDFSBASE] = {insn_rdbase, 0},
	[X86_CLASS_RDGSBASE] = {insn_rdbase, 0},
	[X86_CLASS_WRFSBASE] = {insn_wrbase, 0},
	[X86_CLASS_WRGSBASE] = {insn_wrbase, 0},
	[X86_CLASS_SWAPGS] = {insn_swapgs, CPL0},
	[X86_CLASS_INVLPG] = {insn_invlpg, CPL0},
	[X86_CLASS_INVPCID] = {insn_invpcid, CPL0},
	[X86_CLASS_INVD] = {insn_nothing, CPL0},
	[X86_CLASS_WBINVD] = {insn_nothing, CPL0},
	[X86_CLASS_MONITOR] = {insn_monitor, 0},
	[X86_CLASS_MWAIT] = {insn_mwait, 0},
	[X86_CLASS_RDPKRU] = {insn_pkru, 0},
	[X86_CLASS_WRPKRU] = {insn_pkru, 0},
	[X86_CLASS_RSM] = {insn_ud, 0},
	[X86_CLASS_GETSEC] = {insn_ud, 0},
	[X86_CLASS_VMX] = {insn_vmcall, 0},
	[X86_CLASS_SVM] = {insn_vmcall, 0},
	[X86_CLASS_SGX] = {insn_ud, 0},
	[X86_CLASS_CET] = {insn_ud, 0},
	[X86_CLASS_TSX] = {insn_ud, 0},
	[X86_CLASS_AMX] = {insn_ud, 0},
	[X86_CLASS_UINTR] = {insn_ud, 0},
	[X86_CLASS_KEYLOCKER] = {insn_ud, 0},
	[X86_CLASS_OTHER_SYSTEM] = {insn_line, 0},
	[X86_CLASS_PAUSE] = {insn_pause, 0},
	[X86_CLASS_UD] = {insn_ud, 0},
};

static void check_privilege(struct vcpu *v, unsigned check)
{
	if (check & PROTECTED && !vcpu_protected(v))
		vcpu_raise(v, VEC_UD, 0);
	if (v->cpl == 0)
		return;
	if (check & CPL0 || (check & UMIP && v->cr4 & CR4_UMIP))
		vcpu_raise(v, VEC_GP, 0);
}

void sys_execute(struct vcpu *v, const struct x86_insn *insn, struct sys_result *res)
{
	const struct treatment *t = &by_class[insn->class];
	uint64_t next = insn_next(v, insn);

	if (!t->run)
		vcpu_nyi(v, x86_class_name(insn->class));
	check_privilege(v, t->check);
	t->run(v, insn, res);
	if (!(t->check & TRANSFER))
		v->rip = next;
	if (t->check & HIDES_TF && !(v->rflags & RFLAGS_TF))
		res->effect |= SYS_NO_TRAP;
	if (t->check & SETS_RF && v->rflags & RFLAGS_RF)
		res->effect |= SYS_KEEP_RF;
}
