// SPDX-License-Identifier: MIT
//
// The decoder: guest bytes to struct x86_insn. Pure, table-driven, about 10 ns an instruction. Its tables are
// generated at build time from Zydis (tools/gen_decode.c) and tested against it over the whole encoding space.
// It knows the architecture only; which instruction is treated how is policy and stands in bt/ (by_class).
#ifndef X86_DECODE_H
#define X86_DECODE_H

#include "base/types.h"
#include "x86/features.h"
#include "x86/regs.h"

enum x86_mode { // code size: real/16-bit, 32-bit (also compatibility), 64-bit
	X86_MODE16, X86_MODE32, X86_MODE64,
	X86_AMD = BIT(2), // or'ed to one of them: where Intel's and AMD's processors differ, as AMD's
	X86_MODE_SIZE = X86_AMD - 1,
};

enum { X86_INSN_MAX = 15 };

enum x86_encoding { X86_ENC_LEGACY, X86_ENC_VEX, X86_ENC_EVEX, X86_ENC_XOP, X86_ENC_3DNOW };

// What kind of instruction this is: fact, one class per instruction. Everything that may simply be run by the host in
// user mode with its memory operand redirected is PLAIN (general), X87, MMX, SSE, AVX, AVX512.
#define X86_CLASSES(_) \
	_(INVALID) /* not an instruction in this mode: #UD */ \
	_(PLAIN) _(X87) _(MMX) _(SSE) _(AVX) _(AVX512) /* run by the host */ \
	_(FWAIT) \
	_(VSIB) /* gathers and scatters: one access per element */ \
	_(MASKED) /* accesses that must not fault on masked-out elements: VMASKMOV, VPMASKMOV, MASKMOVQ/DQU, and every \
		     EVEX instruction with a memory operand and a mask other than k0. May write only part of its operand */ \
	_(FXSAVE) /* FXSAVE FXRSTOR FXSAVE64 FXRSTOR64 */ \
	_(XSAVE) /* XSAVE XSAVEC XSAVEOPT XSAVES XRSTOR XRSTORS and the 64 forms */ \
	_(XGETBV) _(XSETBV) \
	_(JMP) _(JCC) _(LOOP) /* LOOP LOOPE LOOPNE JCXZ JECXZ JRCXZ */ _(CALL) \
	_(JMP_IND) _(CALL_IND) _(RET) \
	_(NEAR16) /* with X86_AMD, all of the above in 64-bit code with 16-bit operands: RIP is cut to 16 bits */ \
	_(JMP_FAR) _(CALL_FAR) _(RET_FAR) _(IRET) _(INT) _(INT1) _(INT3) _(INTO) \
	_(SYSCALL) _(SYSRET) _(SYSENTER) _(SYSEXIT) \
	_(PUSH) _(POP) /* of general registers, immediates, memory */ _(PUSHA) _(POPA) _(PUSHF) _(POPF) _(ENTER) _(LEAVE) \
	_(PUSH_SEG) _(POP_SEG) _(MOV_FROM_SEG) _(MOV_TO_SEG) _(LOAD_FAR_PTR) /* LES LDS LSS LFS LGS */ \
	_(STRING) /* MOVS CMPS STOS LODS SCAS, any size, with or without REP */ _(INS) _(OUTS) _(XLAT) \
	_(IN) _(OUT) _(CLI) _(STI) _(CLTS) _(HLT) _(CLAC) _(STAC) \
	_(MOV_FROM_CR) _(MOV_TO_CR) _(MOV_FROM_DR) _(MOV_TO_DR) _(SMSW) _(LMSW) \
	_(LGDT) _(LIDT) _(LLDT) _(LTR) _(SGDT) _(SIDT) _(SLDT) _(STR) \
	_(LAR) _(LSL) _(VERR) _(VERW) _(ARPL) _(BOUND) \
	_(CPUID) _(RDTSC) _(RDTSCP) _(RDPMC) _(RDPID) _(RDMSR) _(WRMSR) \
	_(RDFSBASE) _(RDGSBASE) _(WRFSBASE) _(WRGSBASE) _(SWAPGS) \
	_(INVLPG) _(INVPCID) _(INVD) _(WBINVD) _(MONITOR) _(MWAIT) /* also MONITORX MWAITX UMONITOR UMWAIT TPAUSE */ \
	_(RDRAND) /* RDRAND RDSEED */ _(RDPKRU) _(WRPKRU) _(RSM) _(GETSEC) \
	_(VMX) _(SVM) _(SGX) _(CET) _(TSX) /* XBEGIN XEND XABORT XTEST */ _(AMX) _(UINTR) _(KEYLOCKER) \
	_(OTHER_SYSTEM) /* everything else that is privileged or unsafe to run as it is */ \
	_(PAUSE) /* not the decoder's: bt/analyse.c, where it yields */ \
	_(UD) /* UD0 UD1 UD2 */

enum x86_class {
#define _(name) X86_CLASS_##name,
	X86_CLASSES(_)
#undef _
	X86_CLASS_COUNT
};

enum x86_prefix { // bits of x86_insn.prefixes
	X86_PFX_LOCK = BIT(0), X86_PFX_REP = BIT(1) /* F3 */, X86_PFX_REPNE = BIT(2) /* F2 */,
	X86_PFX_OPSIZE = BIT(3) /* 66 */, X86_PFX_ADDRSIZE = BIT(4) /* 67 */, X86_PFX_SEG = BIT(5) /* any segment prefix */,
};

// Which encoding fields name a general register (after REX/VEX extension): needed to rename registers.
enum x86_field {
	X86_FIELD_REG_GPR = BIT(0),    // ModRM.reg is a general register operand
	X86_FIELD_RM_GPR = BIT(1),     // ModRM.rm with mod=3 is a general register operand
	X86_FIELD_VVVV_GPR = BIT(2),   // VEX/EVEX.vvvv is a general register operand
	X86_FIELD_OPCODE_GPR = BIT(3), // low three bits of the opcode are a general register operand
	X86_FIELD_REG_BYTE = BIT(4),   // the register named by ModRM.reg is accessed as a byte (AH..BH without REX)
	X86_FIELD_RM_BYTE = BIT(5),
	X86_FIELD_OPCODE_BYTE = BIT(6),
	X86_FIELD_IMPLICIT_GPR = BIT(7), // some general register is an implicit operand (cannot be renamed)
};

// How a mask divides the memory operand of a MASKED instruction: which bytes it may touch.
enum x86_mask {
	X86_MASK_NONE,    // not at all: the whole operand is accessed
	X86_MASK_ELEMENT, // bit i: the i-th piece of mask_unit bytes
	X86_MASK_ANY,     // broadcast: all of the operand if any of the first vl / mask_unit bits is set
	// Expand, compress: as many pieces of mask_unit bytes as bits are set of the first size / mask_unit
	X86_MASK_PACKED,
	X86_MASK_REPEAT,  // VBROADCAST: the operand repeated up to vl; bit i: the i-th piece of mask_unit bytes of that
	X86_MASK_VECTOR,  // VMASKMOV, VPMASKMOV: as ELEMENT, by the sign bits of the vector in vvvv
	X86_MASK_KIND = 7,
	X86_MASK_FAULTS = 8, // a flag: masked-out bytes are not written, but fault
};

enum x86_access { X86_READ = BIT(0), X86_WRITE = BIT(1) };

// The explicit (ModRM or moffs) memory operand. Implicit ones (stack, strings, XLAT, MASKMOV) follow from the class.
struct x86_mem {
	uint8_t access;  // enum x86_access bits; 0 for LEA, NOP, prefetch and other forms that only form the address
	uint8_t seg;     // enum x86_sreg, default or override applied; in 64-bit mode ES CS SS DS have base 0. Also set
			 // without an explicit operand: the segment of the implicit rSI, rBX+AL, rDI (MASKMOV) operand
	uint8_t base;    // enum x86_gpr, X86_REG_RIP or X86_REG_NONE
	uint8_t index;   // enum x86_gpr or X86_REG_NONE; for VSIB the number of the vector register
	uint8_t scale;   // 1 2 4 8
	bool present;    // the instruction has an explicit memory operand (LEA included)
	bool vsib;
	bool bitstring;  // BT BTS BTR BTC with a register offset: accesses size bytes at address plus
			 // (offset / 8 / size) * size, which may be far away on either side
	uint16_t size;   // bytes accessed; for VSIB of one element; 0 where it depends on state (XSAVE)
	uint8_t mask;    // enum x86_mask, for class MASKED
	uint8_t mask_unit;
	bool aligned;    // raises #GP unless aligned to its size, before any page fault
	int64_t disp;    // sign-extended, EVEX disp8*N applied
};

struct x86_insn {
	uint8_t len;
	uint8_t mode;     // enum x86_mode it was decoded for, X86_AMD apart
	uint8_t class;    // enum x86_class
	uint8_t encoding; // enum x86_encoding
	uint8_t map;      // 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A; VEX/EVEX/XOP: mmmmm
	uint8_t opcode;
	uint8_t prefixes; // enum x86_prefix
	uint8_t rex;      // the REX byte or 0
	uint8_t opsize;   // effective operand size in bytes: 2, 4, 8; 1 for byte forms of general instructions. (With
			  // X86_AMD far pointers in memory have 4 bytes of offset where it is 8.)
	uint8_t addrsize; // effective address size in bytes: 2, 4, 8
	uint8_t vl;       // vector length in bytes 16 32 64, or 0
	bool has_modrm;
	bool spare_nop;   // executes as NOP whatever its operand (multi-byte NOP, prefetch hints, ENDBR)
	uint8_t modrm;
	uint8_t opcode_off, modrm_off, disp_off, disp_size, imm_off, imm_size; // offsets from the first byte, sizes
	uint8_t fields;   // enum x86_field
	uint8_t vvvv;     // VEX/EVEX vvvv, uninverted (0 if unused)
	uint8_t cond;     // JCC SETCC CMOVCC: condition code 0-15
	bool meets_device; // not the decoder's: its operand has led to devices, and is to be checked (bt/device.c)
	uint16_t mnemonic; // enum x86_mnemonic, in the generated x86/mnemonic.h
	uint16_t feature;  // enum x86_feature that CPUID must offer, X86_FEATURE_NONE for the base set
	uint16_t gpr_read, gpr_written; // bit masks over enum x86_gpr, implicit ones and address registers included.
					// A write that keeps upper bits (8- and 16-bit) and a conditional write also count as a read.
	uint16_t flags_read, flags_written, flags_undefined; // RFLAGS bits 0-11. A flag that may be left unchanged
					// (shift by CL, REP with count 0) is in written AND read, never in undefined.
	struct x86_mem mem;
	uint64_t imm;     // first immediate, sign-extended as the instruction does; branch displacement; moffs is mem.disp
	uint16_t imm2;    // ENTER's second, far pointer's selector
};

// Decode one instruction from n readable bytes (n may be less than 15). Returns its length, or
// 0 when n bytes do not hold it whole (fetch more), or -1 when it is invalid (#UD; out->len tells how much was read;
// an instruction longer than 15 bytes is -1 with len 16, which is #GP(0)).
int x86_decode(struct x86_insn *out, const uint8_t *bytes, size_t n, enum x86_mode mode);

const char *x86_class_name(enum x86_class c);

#endif
