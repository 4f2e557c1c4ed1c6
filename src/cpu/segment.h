// SPDX-License-Identifier: MIT
//
// Descriptors and segments, for the files of cpu/: fetch a descriptor, judge it, make a struct x86_seg of it; the
// stack as pushes and pops see it. Faults are raised through vcpu_raise, so nothing may be committed before the last
// call that can fault.
#ifndef CPU_SEGMENT_H
#define CPU_SEGMENT_H

#include "cpu/vcpu.h"
#include "cpu/vmem.h"

enum { SEL_RPL = 3, SEL_TI = 4, SEL_INDEX = 0xfff8, SEL_ERROR = 0xfffc };

// System descriptor types (SDM, "System-Segment and Gate-Descriptor Types").
enum desc_type {
	DESC_TSS16 = 1, DESC_LDT = 2, DESC_TSS16_BUSY = 3, DESC_CALL16 = 4, DESC_TASK = 5, DESC_INT16 = 6,
	DESC_TRAP16 = 7, DESC_TSS = 9, DESC_TSS_BUSY = 11, DESC_CALL = 12, DESC_INT = 14, DESC_TRAP = 15, DESC_BUSY = 2,
};

struct desc {
	uint64_t lo, hi; // hi: the second half of a 16-byte system descriptor, else 0
	gva_t at;
};

static inline uint32_t desc_attr(const struct desc *d) // enum x86_seg_attr
{
	return d->lo >> 40 & 0xf0ff;
}

static inline unsigned desc_type(const struct desc *d)
{
	return d->lo >> 40 & SEG_TYPE;
}

static inline bool desc_system(const struct desc *d)
{
	return !(desc_attr(d) & SEG_S);
}

static inline unsigned desc_dpl(const struct desc *d)
{
	return d->lo >> 45 & 3;
}

static inline bool desc_present(const struct desc *d)
{
	return desc_attr(d) & SEG_P;
}

static inline bool desc_code(const struct desc *d)
{
	return (desc_attr(d) & (SEG_S | SEG_TYPE_CODE)) == (SEG_S | SEG_TYPE_CODE);
}

static inline bool desc_conforming(const struct desc *d) // of a code segment
{
	return desc_attr(d) & SEG_TYPE_C;
}

static inline bool desc_writable_data(const struct desc *d)
{
	return (desc_attr(d) & (SEG_S | SEG_TYPE_CODE | SEG_TYPE_W)) == (SEG_S | SEG_TYPE_W);
}

static inline bool desc_readable(const struct desc *d) // data, or readable code
{
	uint32_t a = desc_attr(d);

	return a & SEG_S && (!(a & SEG_TYPE_CODE) || a & SEG_TYPE_R);
}

static inline bool selector_null(uint16_t sel)
{
	return !(sel & SEL_ERROR);
}

// Gates: interrupt, trap and call gates share this layout.
static inline uint16_t gate_selector(const struct desc *d)
{
	return d->lo >> 16;
}

static inline uint64_t gate_offset(const struct desc *d)
{
	return (d->lo & 0xffff) | (d->lo >> 32 & 0xffff0000) | d->hi << 32;
}

// Selectors name descriptors: not in real mode, nor in virtual-8086 mode.
static inline bool vcpu_protected(const struct vcpu *v)
{
	return !vcpu_real_segments(v);
}

uint32_t desc_limit(const struct desc *d);
struct x86_seg desc_segment(const struct desc *d, uint16_t sel);

// Read the descriptor sel names (8 bytes; system descriptors in long mode are completed to 16). False: beyond the
// table's limit, or no LDT. sel must not be null. Page faults are raised.
bool desc_read(struct vcpu *v, uint16_t sel, struct desc *d);
void desc_complete_system(struct vcpu *v, uint16_t sel, struct desc *d);
// Set the accessed bit in memory if it is clear.
void desc_access(struct vcpu *v, struct desc *d);

// Descriptor or fault: vector(sel) if it cannot be read.
void desc_fetch(struct vcpu *v, uint16_t sel, enum x86_vector vector, struct desc *d);

// The linear address of off in a segment, checked as the access itself does: present, type, limit. Faults #GP(0), or
// #SS(0) for SS. In 64-bit mode only adds FS's or GS's base.
gva_t segment_linear(struct vcpu *v, enum x86_sreg seg, uint64_t off, size_t size, enum vmem_access access);
// Does [off, off+size) lie within a segment's limit (expand-down included)?
bool segment_within(const struct vcpu *v, const struct x86_seg *s, uint64_t off, size_t size);

// MOV, POP and LxS into a segment register other than CS, with all checks. Commits v->seg[reg].
void segment_load(struct vcpu *v, enum x86_sreg reg, uint16_t sel);
// The segment of real mode or virtual-8086 mode that a value stands for.
void segment_load_real(struct vcpu *v, enum x86_sreg reg, uint16_t sel);
void segment_load_ldtr(struct vcpu *v, uint16_t sel);
void segment_load_tr(struct vcpu *v, uint16_t sel);
// SS for a new CPL out of sel: vector is #GP for IRET, RET and loads, #TS for a TSS. code64: the new code is 64-bit.
struct x86_seg segment_check_ss(struct vcpu *v, uint16_t sel, unsigned cpl, enum x86_vector vector, bool null_ok);
// Flat segments of SYSCALL and friends, and an unusable one of the given DPL.
struct x86_seg segment_flat_code(uint16_t sel, unsigned dpl, bool code64);
struct x86_seg segment_flat_data(uint16_t sel, unsigned dpl);
struct x86_seg segment_null(uint16_t sel, unsigned dpl);
// A return to an outer level takes away data segments that it may not use.
void segment_drop_inner(struct vcpu *v);

// -- The stack
struct stack {
	struct x86_seg ss;
	uint64_t sp, mask; // mask: the part of RSP that pushes change
	enum vmem_access who;
	bool flat;         // 64-bit mode: no base, no limit
	uint16_t error;    // of #SS: the selector, if this is a stack to switch to
};

struct stack stack_current(const struct vcpu *v);
// A stack to switch to. cpl: whose stack it will be.
struct stack stack_new(struct x86_seg ss, uint64_t sp, unsigned cpl, bool code64);
// Push and pop change st only; stack_commit writes RSP. Items lie in memory upwards from the new sp.
void stack_push_items(struct vcpu *v, struct stack *st, const uint64_t *items, unsigned n, unsigned size);
void stack_pop_items(struct vcpu *v, struct stack *st, uint64_t *items, unsigned n, unsigned size);
uint16_t stack_read_selector(struct vcpu *v, const struct stack *st, unsigned offset);
void stack_skip(struct stack *st, unsigned n);
void stack_peek(struct vcpu *v, const struct stack *st, unsigned item, unsigned size);
void stack_push(struct vcpu *v, struct stack *st, uint64_t value, unsigned size);
uint64_t stack_pop(struct vcpu *v, struct stack *st, unsigned size);
void stack_commit(struct vcpu *v, const struct stack *st);

// -- The TSS (tss.c)
// The stack pointer for an inner level, and for IST n (1-7). Faults #TS.
uint64_t tss_rsp(struct vcpu *v, unsigned cpl);
uint64_t tss_ist(struct vcpu *v, unsigned n);
unsigned tss_stack_at(unsigned ist); // where in the 64-bit TSS: of level 0, or of an IST
// SS:ESP of a level from a 32- or 16-bit TSS.
void tss_legacy_stack(struct vcpu *v, unsigned cpl, uint16_t *ss, uint32_t *esp);
// May code at CPL use the ports? By IOPL, then by the I/O permission bit map. Faults #GP(0).
void tss_check_io(struct vcpu *v, uint16_t port, unsigned size);

#endif
