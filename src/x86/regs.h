// SPDX-License-Identifier: MIT
//
// Architecture facts: registers, control bits, vectors, MSR numbers, descriptor and page-table bits.
// Facts only; no state and no behaviour. Names follow the SDM.
#ifndef X86_REGS_H
#define X86_REGS_H

#include "base/types.h"

enum x86_gpr {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_GPRS,
	X86_REG_RIP = 0x40, // as base of a memory operand only
	X86_REG_NONE = 0xff,
};

enum x86_sreg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SREGS };

enum x86_rflags {
	RFLAGS_CF = BIT(0), RFLAGS_FIXED1 = BIT(1), RFLAGS_PF = BIT(2), RFLAGS_AF = BIT(4),
	RFLAGS_ZF = BIT(6), RFLAGS_SF = BIT(7), RFLAGS_TF = BIT(8), RFLAGS_IF = BIT(9),
	RFLAGS_DF = BIT(10), RFLAGS_OF = BIT(11), RFLAGS_IOPL = 3u << 12, RFLAGS_NT = BIT(14),
	RFLAGS_RF = BIT(16), RFLAGS_VM = BIT(17), RFLAGS_AC = BIT(18), RFLAGS_VIF = BIT(19),
	RFLAGS_VIP = BIT(20), RFLAGS_ID = BIT(21),
	RFLAGS_ARITH = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF,
};

enum x86_cr0 {
	CR0_PE = BIT(0), CR0_MP = BIT(1), CR0_EM = BIT(2), CR0_TS = BIT(3), CR0_ET = BIT(4), CR0_NE = BIT(5),
	CR0_WP = BIT(16), CR0_AM = BIT(18), CR0_NW = BIT(29), CR0_CD = BIT(30),
};
#define CR0_PG (1u << 31)

enum x86_cr4 {
	CR4_VME = BIT(0), CR4_PVI = BIT(1), CR4_TSD = BIT(2), CR4_DE = BIT(3), CR4_PSE = BIT(4), CR4_PAE = BIT(5),
	CR4_MCE = BIT(6), CR4_PGE = BIT(7), CR4_PCE = BIT(8), CR4_OSFXSR = BIT(9), CR4_OSXMMEXCPT = BIT(10),
	CR4_UMIP = BIT(11), CR4_LA57 = BIT(12), CR4_VMXE = BIT(13), CR4_FSGSBASE = BIT(16), CR4_PCIDE = BIT(17),
	CR4_OSXSAVE = BIT(18), CR4_SMEP = BIT(20), CR4_SMAP = BIT(21), CR4_PKE = BIT(22), CR4_PKS = BIT(24),
};

enum x86_efer { EFER_SCE = BIT(0), EFER_LME = BIT(8), EFER_LMA = BIT(10), EFER_NXE = BIT(11), EFER_SVME = BIT(12) };

enum x86_vector {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7, VEC_DF = 8,
	VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16, VEC_AC = 17, VEC_MC = 18,
	VEC_XM = 19, VEC_CP = 21,
};

enum x86_pf { PF_P = BIT(0), PF_W = BIT(1), PF_U = BIT(2), PF_RSVD = BIT(3), PF_I = BIT(4), PF_PK = BIT(5) };

enum x86_pte_bits {
	PTE_P = BIT(0), PTE_W = BIT(1), PTE_U = BIT(2), PTE_PWT = BIT(3), PTE_PCD = BIT(4), PTE_A = BIT(5),
	PTE_D = BIT(6), PTE_PS = BIT(7), PTE_G = BIT(8),
};
#define PTE_NX BIT64(63)
#define PTE_ADDR UINT64_C(0x000ffffffffff000)

// Segment attributes: bits 8-23 of a descriptor's second word, shifted down by 8 (as in a VMCS), plus UNUSABLE.
enum x86_seg_attr {
	SEG_TYPE = 0xf, SEG_S = BIT(4), SEG_DPL = 3u << 5, SEG_DPL_SHIFT = 5, SEG_P = BIT(7), SEG_AVL = BIT(12),
	SEG_L = BIT(13), SEG_DB = BIT(14), SEG_G = BIT(15), SEG_UNUSABLE = BIT(16),
	SEG_TYPE_A = 1, SEG_TYPE_W = 2, SEG_TYPE_R = 2, SEG_TYPE_E = 4, SEG_TYPE_C = 4, SEG_TYPE_CODE = 8,
};

enum x86_msr {
	MSR_TSC = 0x10, MSR_APIC_BASE = 0x1b, MSR_FEATURE_CONTROL = 0x3a, MSR_TSC_ADJUST = 0x3b, MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49, MSR_BIOS_SIGN_ID = 0x8b, MSR_MTRRCAP = 0xfe, MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_FLUSH_CMD = 0x10b, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179, MSR_MCG_STATUS = 0x17a, MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9, MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC_FIRST = 0x800, MSR_X2APIC_LAST = 0x8ff,
	MSR_XSS = 0xda0,
	MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00, MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01,
};
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_FMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u

#endif
