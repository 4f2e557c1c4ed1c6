// SPDX-License-Identifier: MIT
//
// CPUID features as one enum: first the single bits, then the sets of bits that an instruction can need together
// (AVX512 with a vector length, VAES in a given encoding). Instructions that an older processor executes as something
// else rather than as #UD (LZCNT, TZCNT, PAUSE, CLDEMOTE, PREFETCHW, ENDBR) need X86_FEATURE_NONE.
// cpu/ answers "does CPUID offer it" by walking x86_feature_bits[feature].
#ifndef X86_FEATURES_H
#define X86_FEATURES_H

#include "base/types.h"

enum x86_cpuid_reg { X86_CPUID_EAX, X86_CPUID_EBX, X86_CPUID_ECX, X86_CPUID_EDX };

// name, leaf, subleaf, register, bit
#define X86_FEATURES(_) \
	_(FPU, 1, 0, EDX, 0) _(VME, 1, 0, EDX, 1) _(DE, 1, 0, EDX, 2) _(PSE, 1, 0, EDX, 3) _(TSC, 1, 0, EDX, 4) \
	_(MSR, 1, 0, EDX, 5) _(PAE, 1, 0, EDX, 6) _(MCE, 1, 0, EDX, 7) _(CX8, 1, 0, EDX, 8) _(APIC, 1, 0, EDX, 9) \
	_(SEP, 1, 0, EDX, 11) _(MTRR, 1, 0, EDX, 12) _(PGE, 1, 0, EDX, 13) _(MCA, 1, 0, EDX, 14) _(CMOV, 1, 0, EDX, 15) \
	_(PAT, 1, 0, EDX, 16) _(PSE36, 1, 0, EDX, 17) _(CLFSH, 1, 0, EDX, 19) _(ACPI, 1, 0, EDX, 22) \
	_(MMX, 1, 0, EDX, 23) _(FXSR, 1, 0, EDX, 24) _(SSE, 1, 0, EDX, 25) _(SSE2, 1, 0, EDX, 26) \
	_(SS, 1, 0, EDX, 27) _(HTT, 1, 0, EDX, 28) \
	_(SSE3, 1, 0, ECX, 0) _(PCLMULQDQ, 1, 0, ECX, 1) _(MONITOR, 1, 0, ECX, 3) _(VMX, 1, 0, ECX, 5) \
	_(SMX, 1, 0, ECX, 6) _(SSSE3, 1, 0, ECX, 9) _(FMA, 1, 0, ECX, 12) _(CX16, 1, 0, ECX, 13) \
	_(PDCM, 1, 0, ECX, 15) _(PCID, 1, 0, ECX, 17) _(SSE4_1, 1, 0, ECX, 19) _(SSE4_2, 1, 0, ECX, 20) \
	_(X2APIC, 1, 0, ECX, 21) _(MOVBE, 1, 0, ECX, 22) _(POPCNT, 1, 0, ECX, 23) _(TSC_DEADLINE, 1, 0, ECX, 24) \
	_(AES, 1, 0, ECX, 25) _(XSAVE, 1, 0, ECX, 26) _(OSXSAVE, 1, 0, ECX, 27) _(AVX, 1, 0, ECX, 28) \
	_(F16C, 1, 0, ECX, 29) _(RDRAND, 1, 0, ECX, 30) _(HYPERVISOR, 1, 0, ECX, 31) \
	_(FSGSBASE, 7, 0, EBX, 0) _(TSC_ADJUST, 7, 0, EBX, 1) _(SGX, 7, 0, EBX, 2) _(BMI1, 7, 0, EBX, 3) \
	_(HLE, 7, 0, EBX, 4) _(AVX2, 7, 0, EBX, 5) _(SMEP, 7, 0, EBX, 7) _(BMI2, 7, 0, EBX, 8) _(ERMS, 7, 0, EBX, 9) \
	_(INVPCID, 7, 0, EBX, 10) _(RTM, 7, 0, EBX, 11) _(MPX, 7, 0, EBX, 14) _(AVX512F, 7, 0, EBX, 16) \
	_(AVX512DQ, 7, 0, EBX, 17) _(RDSEED, 7, 0, EBX, 18) _(ADX, 7, 0, EBX, 19) _(SMAP, 7, 0, EBX, 20) \
	_(AVX512IFMA, 7, 0, EBX, 21) _(CLFLUSHOPT, 7, 0, EBX, 23) _(CLWB, 7, 0, EBX, 24) _(PT, 7, 0, EBX, 25) \
	_(AVX512PF, 7, 0, EBX, 26) _(AVX512ER, 7, 0, EBX, 27) _(AVX512CD, 7, 0, EBX, 28) _(SHA, 7, 0, EBX, 29) \
	_(AVX512BW, 7, 0, EBX, 30) _(AVX512VL, 7, 0, EBX, 31) \
	_(PREFETCHWT1, 7, 0, ECX, 0) _(AVX512VBMI, 7, 0, ECX, 1) _(UMIP, 7, 0, ECX, 2) _(PKU, 7, 0, ECX, 3) \
	_(OSPKE, 7, 0, ECX, 4) _(WAITPKG, 7, 0, ECX, 5) _(AVX512VBMI2, 7, 0, ECX, 6) _(CET_SS, 7, 0, ECX, 7) \
	_(GFNI, 7, 0, ECX, 8) _(VAES, 7, 0, ECX, 9) _(VPCLMULQDQ, 7, 0, ECX, 10) _(AVX512VNNI, 7, 0, ECX, 11) \
	_(AVX512BITALG, 7, 0, ECX, 12) _(AVX512VPOPCNTDQ, 7, 0, ECX, 14) _(LA57, 7, 0, ECX, 16) \
	_(RDPID, 7, 0, ECX, 22) _(KL, 7, 0, ECX, 23) _(CLDEMOTE, 7, 0, ECX, 25) _(MOVDIRI, 7, 0, ECX, 27) \
	_(MOVDIR64B, 7, 0, ECX, 28) _(ENQCMD, 7, 0, ECX, 29) _(PKS, 7, 0, ECX, 31) \
	_(AVX512_4VNNIW, 7, 0, EDX, 2) _(AVX512_4FMAPS, 7, 0, EDX, 3) _(FSRM, 7, 0, EDX, 4) _(UINTR, 7, 0, EDX, 5) \
	_(AVX512VP2INTERSECT, 7, 0, EDX, 8) _(SERIALIZE, 7, 0, EDX, 14) _(TSXLDTRK, 7, 0, EDX, 16) \
	_(PCONFIG, 7, 0, EDX, 18) _(CET_IBT, 7, 0, EDX, 20) _(AMX_BF16, 7, 0, EDX, 22) _(AVX512FP16, 7, 0, EDX, 23) \
	_(AMX_TILE, 7, 0, EDX, 24) _(AMX_INT8, 7, 0, EDX, 25) \
	_(AVX_VNNI, 7, 1, EAX, 4) _(AVX512BF16, 7, 1, EAX, 5) _(HRESET, 7, 1, EAX, 22) \
	_(XSAVEOPT, 0xd, 1, EAX, 0) _(XSAVEC, 0xd, 1, EAX, 1) _(XGETBV1, 0xd, 1, EAX, 2) _(XSAVES, 0xd, 1, EAX, 3) \
	_(PTWRITE, 0x14, 0, EBX, 4) _(AESKLE, 0x19, 0, EBX, 0) _(WIDE_KL, 0x19, 0, EBX, 2) \
	_(SYSCALL, 0x80000001, 0, EDX, 11) _(NX, 0x80000001, 0, EDX, 20) _(MMXEXT, 0x80000001, 0, EDX, 22) \
	_(PDPE1GB, 0x80000001, 0, EDX, 26) _(RDTSCP, 0x80000001, 0, EDX, 27) _(LM, 0x80000001, 0, EDX, 29) \
	_(AMD3DNOWEXT, 0x80000001, 0, EDX, 30) _(AMD3DNOW, 0x80000001, 0, EDX, 31) \
	_(LAHF64, 0x80000001, 0, ECX, 0) _(SVM, 0x80000001, 0, ECX, 2) _(CR8_LEGACY, 0x80000001, 0, ECX, 4) \
	_(LZCNT, 0x80000001, 0, ECX, 5) _(SSE4A, 0x80000001, 0, ECX, 6) _(PREFETCHW, 0x80000001, 0, ECX, 8) \
	_(XOP, 0x80000001, 0, ECX, 11) _(SKINIT, 0x80000001, 0, ECX, 12) _(LWP, 0x80000001, 0, ECX, 15) \
	_(FMA4, 0x80000001, 0, ECX, 16) _(TBM, 0x80000001, 0, ECX, 21) _(MONITORX, 0x80000001, 0, ECX, 29) \
	_(CLZERO, 0x80000008, 0, EBX, 0) _(INVLPGB, 0x80000008, 0, EBX, 3) _(RDPRU, 0x80000008, 0, EBX, 4) \
	_(MCOMMIT, 0x80000008, 0, EBX, 8) _(WBNOINVD, 0x80000008, 0, EBX, 9) \
	_(INVTSC, 0x80000007, 0, EDX, 8) _(SNP, 0x8000001f, 0, EAX, 4) \
	_(PADLOCK_RNG, 0xc0000001, 0, EDX, 2) _(PADLOCK_ACE, 0xc0000001, 0, EDX, 6) \
	_(PADLOCK_PHE, 0xc0000001, 0, EDX, 10) _(PADLOCK_PMM, 0xc0000001, 0, EDX, 12)

// name, up to three of the bits above (repeat the last one)
#define X86_FEATURE_SETS(_) \
	_(MOVNTI, SSE2, SSE2, SSE2) _(FCMOV, FPU, CMOV, CMOV) _(FISTTP, FPU, SSE3, SSE3) \
	_(AVX512F_VL, AVX512F, AVX512VL, AVX512VL) _(AVX512BW_VL, AVX512BW, AVX512VL, AVX512VL) \
	_(AVX512CD_VL, AVX512CD, AVX512VL, AVX512VL) _(AVX512DQ_VL, AVX512DQ, AVX512VL, AVX512VL) \
	_(AVX512BF16_VL, AVX512BF16, AVX512VL, AVX512VL) _(AVX512BITALG_VL, AVX512BITALG, AVX512VL, AVX512VL) \
	_(AVX512FP16_VL, AVX512FP16, AVX512VL, AVX512VL) _(AVX512IFMA_VL, AVX512IFMA, AVX512VL, AVX512VL) \
	_(AVX512VBMI_VL, AVX512VBMI, AVX512VL, AVX512VL) _(AVX512VBMI2_VL, AVX512VBMI2, AVX512VL, AVX512VL) \
	_(AVX512VNNI_VL, AVX512VNNI, AVX512VL, AVX512VL) \
	_(AVX512VP2INTERSECT_VL, AVX512VP2INTERSECT, AVX512VL, AVX512VL) \
	_(AVX512VPOPCNTDQ_VL, AVX512VPOPCNTDQ, AVX512VL, AVX512VL) \
	_(AVX512_GFNI, AVX512F, GFNI, GFNI) _(AVX512_GFNI_VL, AVX512F, AVX512VL, GFNI) \
	_(AVX512_VAES, AVX512F, VAES, VAES) _(AVX512_VAES_VL, AVX512F, AVX512VL, VAES) \
	_(AVX512_VPCLMULQDQ, AVX512F, VPCLMULQDQ, VPCLMULQDQ) _(AVX512_VPCLMULQDQ_VL, AVX512F, AVX512VL, VPCLMULQDQ) \
	_(AVX_AES, AVX, AES, AES) _(AVX_VAES, AVX, VAES, VAES) _(AVX_GFNI, AVX, GFNI, GFNI) \
	_(AVX_PCLMULQDQ, AVX, PCLMULQDQ, PCLMULQDQ) _(AVX_VPCLMULQDQ, AVX, VPCLMULQDQ, VPCLMULQDQ)

enum x86_feature {
	X86_FEATURE_NONE,
#define _(name, leaf, subleaf, reg, bit) X86_FEATURE_##name,
	X86_FEATURES(_)
#undef _
#define _(name, a, b, c) X86_FEATURE_##name,
	X86_FEATURE_SETS(_)
#undef _
	X86_FEATURE_COUNT
};

struct x86_cpuid_bit {
	uint32_t leaf; // 0: no bit
	uint8_t subleaf;
	uint8_t reg; // enum x86_cpuid_reg
	uint8_t bit;
};

// All of the listed bits must be offered; none for X86_FEATURE_NONE. Ends early at a row with leaf 0.
extern const struct x86_cpuid_bit x86_feature_bits[X86_FEATURE_COUNT][3];

const char *x86_feature_name(enum x86_feature f);

#endif
