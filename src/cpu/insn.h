// SPDX-License-Identifier: MIT
//
// For the handlers of system instructions: operands as fields of struct x86_insn, and the list of handlers. A handler
// finds v->rip at its instruction and all registers exact; it raises before it commits. sys_execute advances RIP after
// it unless its table row says that it sets RIP itself.
#ifndef CPU_INSN_H
#define CPU_INSN_H

#include "cpu/segment.h"
#include "cpu/system.h"

enum { REX_B = 1, REX_R = 4, REX_W = 8 };

static inline unsigned insn_reg(const struct x86_insn *i) // ModRM.reg as a general, control or debug register
{
	return (i->modrm >> 3 & 7) | (i->rex & REX_R ? 8 : 0);
}

static inline unsigned insn_rm(const struct x86_insn *i) // ModRM.rm as a register
{
	return (i->modrm & 7) | (i->rex & REX_B ? 8 : 0);
}

static inline unsigned insn_group(const struct x86_insn *i) // ModRM.reg as part of the opcode or a segment register
{
	return i->modrm >> 3 & 7;
}

static inline bool insn_rm_is_reg(const struct x86_insn *i)
{
	return i->modrm >= 0xc0;
}

static inline uint64_t size_mask(unsigned size)
{
	return size == 8 ? ~UINT64_C(0) : BIT64(size * 8) - 1;
}

static inline uint64_t insn_next(const struct vcpu *v, const struct x86_insn *i)
{
	uint64_t next = v->rip + i->len;

	return i->mode == X86_MODE64 ? next : (uint32_t)next;
}

// Operand size of pushes and pops: 64-bit mode knows 8 and 2 only.
static inline unsigned insn_stack_size(const struct x86_insn *i)
{
	if (i->mode != X86_MODE64)
		return i->opsize == 2 ? 2 : 4;
	return i->prefixes & X86_PFX_OPSIZE && !(i->rex & REX_W) ? 2 : 8;
}

// The offset's part of a far pointer in memory: AMD's processors have no 64-bit ones.
static inline unsigned insn_offset_size(const struct vcpu *v, const struct x86_insn *i)
{
	return v->amd ? MIN(i->opsize, 4) : i->opsize;
}

static inline uint64_t gpr_read(const struct vcpu *v, unsigned reg, unsigned size)
{
	return v->gpr[reg] & size_mask(size);
}

// 32-bit results clear the upper half, smaller ones keep the rest; size 1 is the low byte.
static inline void gpr_write(struct vcpu *v, unsigned reg, unsigned size, uint64_t value)
{
	uint64_t keep = size >= 4 ? 0 : ~size_mask(size);

	v->gpr[reg] = (v->gpr[reg] & keep) | (value & size_mask(size));
}

static inline void flags_put(struct vcpu *v, uint64_t mask, bool set)
{
	v->rflags = set ? v->rflags | mask : v->rflags & ~mask;
}

// The explicit memory operand: its offset in its segment; its linear address, checked for an access.
uint64_t insn_offset(const struct vcpu *v, const struct x86_insn *i);
gva_t insn_linear(struct vcpu *v, const struct x86_insn *i, unsigned disp, size_t size, enum vmem_access access);
uint64_t insn_read_mem(struct vcpu *v, const struct x86_insn *i, unsigned disp, unsigned size);
void insn_write_mem(struct vcpu *v, const struct x86_insn *i, unsigned disp, unsigned size, uint64_t value);
// A 16-bit r/m source; a destination that takes value by operand size in a register, 16 bits in memory.
uint16_t insn_read_rm16(struct vcpu *v, const struct x86_insn *i);
void insn_write_rm16(struct vcpu *v, const struct x86_insn *i, uint64_t value);

// Every handler.
#define INSN_HANDLERS(_) \
	_(ud) _(in) _(out) _(ins) _(outs) \
	_(cli) _(sti) _(pushf) _(popf) _(clac) _(stac) \
	_(int) _(int1) _(int3) _(into) _(bound) \
	_(jmp) _(jcc) _(loop) _(call) _(jmp_ind) _(call_ind) _(ret) _(near16) \
	_(jmp_far) _(call_far) _(ret_far) _(iret) _(syscall) _(sysret) _(sysenter) _(sysexit) \
	_(push_seg) _(pop_seg) _(mov_from_seg) _(mov_to_seg) _(load_far_ptr) \
	_(lgdt) _(lidt) _(sgdt) _(sidt) _(lldt) _(ltr) _(sldt) _(str) _(lar) _(lsl) _(verr) _(verw) _(arpl) \
	_(mov_from_cr) _(mov_to_cr) _(mov_from_dr) _(mov_to_dr) _(clts) _(smsw) _(lmsw) \
	_(xgetbv) _(xsetbv) _(invlpg) _(invpcid) \
	_(cpuid) _(rdtsc) _(rdtscp) _(rdpmc) _(rdpid) _(rdmsr) _(wrmsr) \
	_(rdbase) _(wrbase) _(swapgs) _(hlt) _(nothing) _(monitor) _(mwait) _(pause) _(pkru) \
	_(pusha) _(popa) _(enter) _(xlat) _(bcd) _(line) _(vmcall)

#define _(name) void insn_##name(struct vcpu *v, const struct x86_insn *i, struct sys_result *res);
INSN_HANDLERS(_)
#undef _

#endif
