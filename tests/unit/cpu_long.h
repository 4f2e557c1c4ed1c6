// SPDX-License-Identifier: MIT
//
// A long-mode guest for tests: identity-mapped memory, a GDT with kernel and user segments, a TSS, an IDT whose gates
// the test fills, and a function that decodes and executes instruction bytes at RIP.
#ifndef TESTS_CPU_LONG_H
#define TESTS_CPU_LONG_H

#include "cpu_ram.h"
#include "cpu/segment.h"

enum { // guest-physical (and linear) places
	PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT = 0x4000, GDT = 0x6000, LDT = 0x6800, IDT = 0x7000, TSS = 0x9000,
	CODE = 0x10000, KSTACK = 0x20000, USTACK = 0x30000, IST1 = 0x40000, DATA = 0x50000,
	SEL_KCODE = 0x10, SEL_KDATA = 0x18, SEL_UCODE32 = 0x23, SEL_UDATA = 0x2b, SEL_UCODE = 0x33, SEL_TSS = 0x40,
	SEL_KCODE32 = 0x50, SEL_CALL = 0x60 | 3, SEL_ABSENT = 0x70, SEL_LDT = 0x80, SEL_CONFORM = 0x90, SEL_RODATA = 0x9b,
	GDT_LIMIT = 0xff, HANDLER = 0x11000,
};

static inline void put_gdt(unsigned sel, uint64_t lo)
{
	put64(GDT + (sel & ~7u), lo);
}

static inline void put_gate(gpa_t at, uint16_t sel, uint64_t off, unsigned type, unsigned dpl, unsigned ist)
{
	put64(at, (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)ist << 32 | (uint64_t)(0x80 | dpl << 5 | type) << 40 |
			  (off >> 16 & 0xffff) << 48);
	put64(at + 8, off >> 32);
}

static inline void put_idt(unsigned vector, unsigned type, unsigned dpl, unsigned ist)
{
	put_gate(IDT + vector * 16, SEL_KCODE, HANDLER + vector * 16, type, dpl, ist);
}

static inline void set_cpl(unsigned cpl)
{
	struct vcpu *v = test_vcpu;

	v->cpl = cpl;
	v->seg[X86_CS] = segment_flat_code(cpl ? SEL_UCODE : SEL_KCODE, cpl, true);
	v->seg[X86_SS] = segment_flat_data(cpl ? SEL_UDATA : SEL_KDATA, cpl);
	v->gpr[X86_RSP] = cpl ? USTACK : KSTACK - 0x800;
	v->rip = CODE;
}

static inline void make_page_tables(void)
{
	put64(PML4, PDPT | 7);
	put64(PML4 + 511 * 8, PDPT | 7);
	put64(PDPT, PD | 7);
	put64(PD, PT | 7);
	for (unsigned i = 1; i < 8; i++)
		put64(PD + i * 8, (uint64_t)i << 21 | PTE_PS | 7);
	for (unsigned i = 0; i < 512; i++)
		put64(PT + i * 8, (uint64_t)i << 12 | 7);
}

static inline void make_gdt(void)
{
	put_gdt(SEL_KCODE, 0x00af9a000000ffff);
	put_gdt(SEL_KDATA, 0x00cf92000000ffff);
	put_gdt(SEL_UCODE32, 0x00cffa000000ffff);
	put_gdt(SEL_UDATA, 0x00cff2000000ffff);
	put_gdt(SEL_UCODE, 0x00affa000000ffff);
	put_gdt(SEL_TSS, 0x0000890000000067 | (uint64_t)TSS << 16);
	put_gdt(SEL_TSS + 8, 0);
	put_gdt(SEL_KCODE32, 0x00cf9a000000ffff);
	put_gate(GDT + (SEL_CALL & ~7), SEL_KCODE, HANDLER, DESC_CALL, 3, 0);
	put_gdt(SEL_ABSENT, 0x00cf72000000ffff);
	put_gdt(SEL_LDT, 0x00008200000000ff | (uint64_t)LDT << 16);
	put_gdt(SEL_LDT + 8, 0);
	put_gdt(SEL_CONFORM, 0x00af9e000000ffff);
	put_gdt(SEL_RODATA, 0x00cff0000000ffff);
}

static inline void make_long_mode(void)
{
	struct vcpu *v = test_vcpu;

	memset(ram(0), 0, 1 << 20);
	make_page_tables();
	make_gdt();
	v->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET;
	v->cr4 = CR4_PAE | CR4_PGE;
	v->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	v->cr3 = PML4;
	v->rflags = 2;
	v->gdtr = (struct x86_table){.base = GDT, .limit = GDT_LIMIT};
	v->idtr = (struct x86_table){.base = IDT, .limit = 0xfff};
	v->tr = (struct x86_seg){.sel = SEL_TSS, .base = TSS, .limit = 0x67, .attr = SEG_P | DESC_TSS_BUSY};
	v->ldtr = segment_null(0, 0);
	for (unsigned i = 0; i < X86_SREGS; i++)
		v->seg[i] = segment_flat_data(SEL_UDATA, 3);
	put64(TSS + 4, KSTACK);
	put64(TSS + 0x24, IST1);
	put64(TSS + 0x60, (uint64_t)0x68 << 48); // no I/O bit map
	for (unsigned i = 0; i < 256; i++)
		put_idt(i, DESC_INT, 0, 0);
	v->delivering = (struct vcpu_delivering){0};
	v->activity = VCPU_RUNNING;
	v->shadow = 0;
	set_cpl(0);
}

static struct sys_result effects;

// Execute the bytes at v->rip. The vector raised, or -1.
static __attribute__((noinline)) int execute_bytes(const uint8_t *bytes, size_t n)
{
	struct vcpu *v = test_vcpu;
	struct x86_insn insn;
	enum x86_mode mode = vcpu_code64(v) ? X86_MODE64 : v->seg[X86_CS].attr & SEG_DB ? X86_MODE32 : X86_MODE16;

	effects = (struct sys_result){0};
	if (x86_decode(&insn, bytes, n, mode) != (int)n) {
		fprintf(stderr, "does not decode: %02x %02x %02x\n", bytes[0], bytes[1], bytes[2]);
		abort();
	}
	return RAISED(sys_execute(v, &insn, &effects));
}

#define EXECUTE(...) execute_bytes((const uint8_t[X86_INSN_MAX]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define CHECK_FAULT(vec, err, ...) (CHECK_EQ(EXECUTE(__VA_ARGS__), vec), CHECK_EQ(test_vcpu->fault.error, err))

// Deliver what stands in v->fault as the run loop does: again while delivery itself faults.
static __attribute__((noinline)) void land(void)
{
	struct vcpu *v = test_vcpu;

	while (v->fault.pending && v->activity != VCPU_SHUTDOWN)
		if (!jump_set(&v->landing))
			sys_deliver_fault(v, &effects);
}

static __attribute__((noinline)) void raise_and_land(unsigned vector, uint32_t error)
{
	struct vcpu *v = test_vcpu;

	if (!jump_set(&v->landing))
		vcpu_raise(v, vector, error);
	land();
}

static __attribute__((noinline)) int interrupt(unsigned vector, enum sys_interrupt kind)
{
	return RAISED(sys_deliver_interrupt(test_vcpu, vector, kind, &effects));
}

static __attribute__((noinline)) void page_fault_at(gva_t gva, uint32_t error)
{
	struct vcpu *v = test_vcpu;

	if (!jump_set(&v->landing))
		vcpu_raise_pf(v, gva, error);
	land();
}

#endif
