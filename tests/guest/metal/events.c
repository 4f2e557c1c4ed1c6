/* SPDX-License-Identifier: MIT */
/*
 * What a monitor answers or delivers by short ways, each in a loop long enough for all of them: CPUID and MSRs that
 * change meanwhile, ports, loads from device memory that becomes something else, divisions that do not fit, and faults
 * whose gates, stacks and segments change.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"rdmsr follows*", "SDM vol. 2, RDMSR: #GP for a reserved or unimplemented address"},
	{"a store to the local APIC asks*", "TCG takes interrupts between blocks of code"},
	{"div and idiv*", "SDM vol. 3, 17.3.1.1: faults push RF set"},
	{"... its error code, with EXT", "SDM vol. 3, 6.13: EXT is set for events not caused by INT n"},
	{"... and is then", "SDM vol. 3, 3.4.5.1: the processor sets the accessed bit"},
	{0},
};

#define NAKED __attribute__((__naked__, __noinline__, __used__))

enum { PASSES = 10000, TURN = 1000, MSR_EFER_ = 0xc0000080, MSR_LSTAR_ = 0xc0000082, MSR_FS = 0xc0000100,
       MSR_KERNEL_GS_ = 0xc0000102, MSR_NONE = 0xc0000155, CR4_OSXSAVE_ = 1 << 18 };
#define VA_DEVICE 0x7f0000201000ull
#define APIC_PAGE 0xfee00000ull

static u64 passes(void)
{
	return scaled(PASSES);
}

/* --- CPUID --- */
static void test_cpuid(void)
{
	u64 bad = 0, cr4 = read_cr4(), n = passes();
	u32 types[4];

	for (u32 s = 0; s < 4; s++)
		types[s] = cpuid(0xd, s).a ^ cpuid(0xd, s).b;
	for (u64 i = 0; i < n; i++) {
		bool on = i / TURN & 1;

		if (i % TURN == 0)
			write_cr4(on ? cr4 | CR4_OSXSAVE_ : cr4 & ~(u64)CR4_OSXSAVE_);
		bad += (cpuid(1, 0).c >> 27 & 1) != on;
		bad += (cpuid(0xd, 2).a ^ cpuid(0xd, 2).b) != types[2];
		bad += (cpuid(0xd, i & 1).a ^ cpuid(0xd, i & 1).b) != types[i & 1] && !on;
	}
	write_cr4(cr4);
	check_eq("cpuid follows CR4.OSXSAVE, and tells subleaves apart", bad, 0);
}

/* --- RDMSR --- */
static noinline int try_rdmsr(u32 msr, u64 *value)
{
	u64 a = 0x1111111111111111, d = 0x2222222222222222;
	int vector = TRY("rdmsr", "+a"(a), "+d"(d) : "c"(msr) : "memory");

	*value = vector == NO_TRAP ? d << 32 | a : trap.f.rax ^ trap.f.rdx;
	return vector;
}

static void test_rdmsr(void)
{
	u64 bad = 0, value, lstar = rdmsr(MSR_LSTAR_), fs = rdmsr(MSR_FS), n = passes();

	for (u64 i = 0; i < n; i++) {
		if (i % 64 == 0) {
			wrmsr(MSR_LSTAR_, 0xffff800000000000 + i);
			wrmsr(MSR_FS, i << 8);
			wrmsr(MSR_KERNEL_GS_, ~i);
		}
		bad += try_rdmsr(MSR_LSTAR_, &value) != NO_TRAP || value != 0xffff800000000000 + i / 64 * 64;
		bad += try_rdmsr(MSR_FS, &value) != NO_TRAP || value != i / 64 * 64 << 8;
		bad += try_rdmsr(MSR_KERNEL_GS_, &value) != NO_TRAP || value != ~(i / 64 * 64);
		bad += try_rdmsr(MSR_EFER_, &value) != NO_TRAP || !(value & 0x400);
		if (i % 16 == 0)
			bad += try_rdmsr(MSR_NONE, &value) != GP || value != 0x3333333333333333;
	}
	wrmsr(MSR_LSTAR_, lstar);
	wrmsr(MSR_FS, fs);
	check_eq("rdmsr follows wrmsr; one that is not there: #GP, registers as they were", bad, 0);
}

/* --- ports --- */
static void test_ports(void)
{
	u64 bad = 0, n = passes();

	for (u64 i = 0; i < n; i++) {
		u64 a = 0x1234567800000000 + (i & 0xffff) * 0x10001, b = a, c = a, d = a;

		__asm__ volatile("inb $0x80, %%al" : "+a"(b));
		__asm__ volatile("inw %%dx, %%ax" : "+a"(c) : "d"(0xabcd00000080));
		__asm__ volatile("inl $0x80, %%eax" : "+a"(d));
		bad += b != (a | 0xff);
		bad += c != (a | 0xffff);
		bad += d != 0xffffffff;
		outb(0x80, (u8)i);
	}
	check_eq("in of 8, 16 and 32 bits", bad, 0);
}

/* --- loads from device memory --- */
static noinline u64 sum_of_loads(const void *p)
{
	u64 a, d, e = 0x100;
	bool less;

	__asm__ volatile("movl (%[p]), %k0\n\tmovl (%[p]), %%r14d\n\tmov %%r14, %1\n\taddl (%[p]), %k2\n\t"
			 "cmpl $0x50015, (%[p])"
			 : "=&r"(a), "=&r"(d), "+&r"(e), "=@ccb"(less) : [p] "r"(p) : "r14", "memory");
	return a + 7 * d + 11 * e + less;
}

static u64 expected(u32 x)
{
	return x + 7 * (u64)x + 11 * (u64)(x + 0x100) + (x < 0x50015);
}

static void test_device(void)
{
	u64 bad = 0, faults = 0, page = page_alloc(), n = passes(), *entry = page_entry(VA_DEVICE, 1);
	u32 version = *(volatile u32 *)(APIC_PAGE + APIC_VERSION);

	*(u32 *)(page + APIC_VERSION) = 0x8765fedc;
	for (u64 i = 0; i < n; i++) {
		unsigned what = i / TURN % 3;

		if (i % TURN == 0) {
			*entry = what == 0 ? APIC_PAGE | PTE_P | PTE_PCD : what == 1 ? page | PTE_P : 0;
			invlpg(VA_DEVICE);
		}
		if (what < 2) {
			bad += sum_of_loads((void *)(VA_DEVICE + APIC_VERSION)) != expected(what ? 0x8765fedc : version);
		} else {
			TRY("call sum_of_loads_at", "=a"(bad) : "D"(VA_DEVICE + APIC_VERSION), "a"(bad)
			    : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory");
			faults += trap.vector == PF && trap.cr2 == VA_DEVICE + APIC_VERSION && trap.f.error == 0;
			faults -= trap.f.rdi != VA_DEVICE + APIC_VERSION;
		}
	}
	check_eq("loads from a device's page that becomes RAM and goes", bad, 0);
	check_eq("... and faults then", faults, n / TURN / 3 * TURN);
}

__asm__(".globl sum_of_loads_at\nsum_of_loads_at:\tmovl (%rdi), %ecx\n\tret");

/* --- stores to device memory --- */
static volatile u64 came;

static void on_vector(struct frame *f)
{
	came++;
	apic_eoi();
}

/* The interrupt that the store asks for comes before the next instruction. */
static noinline u64 store_and_look(u64 at, u32 value)
{
	u64 seen;

	__asm__ volatile("movl %k[v], (%[p])\n\tmovq came, %[s]" : [s] "=r"(seen) : [v] "r"(value), [p] "r"(at) : "memory");
	return seen;
}

static void test_stores(void)
{
	u64 late = 0, bad = 0, page = page_alloc(), n = passes(), *entry = page_entry(VA_DEVICE, 1);
	volatile u32 *ram = (u32 *)page;

	apic_enable();
	trap_handle(0x50, on_vector);
	page_map(VA_DEVICE, APIC_PAGE | PTE_P | PTE_W | PTE_PCD);
	sti();
	for (u64 i = 0; i < n; i++) {
		u64 before = came;

		late += store_and_look(VA_DEVICE + APIC_ICR, 0x44050) != before + 1;
		store_and_look(VA_DEVICE + APIC_TPR, (u32)(i & 15) << 4 | 0x60);
		bad += apic_read(APIC_TPR) != ((i & 15) << 4 | 0x60);
		store_and_look(VA_DEVICE + APIC_ICR, 0x44050);
		late += store_and_look(VA_DEVICE + APIC_TPR, 0) != before + 2;
	}
	cli();
	check_eq("a store to the local APIC asks for an interrupt that comes at once", late, 0);
	check_eq("... its TPR", bad, 0);
	*entry = page | PTE_P | PTE_W;
	invlpg(VA_DEVICE);
	store_and_look(VA_DEVICE + APIC_TPR, 0x12345678);
	check_eq("... the page is RAM then", ram[APIC_TPR / 4], 0x12345678);
	*entry = APIC_PAGE | PTE_P;
	invlpg(VA_DEVICE);
	(void)*(volatile u32 *)(VA_DEVICE + APIC_TPR);
	write_cr0(read_cr0() | 1 << 16);
	TRY("movl %k[v], (%[p])", : [v] "r"(1), [p] "r"(VA_DEVICE + APIC_TPR) : "memory");
	write_cr0(read_cr0() & ~(1ull << 16));
	check_eq("... read-only: #PF", (u64)trap.vector, PF);
}

/* --- divisions that do not fit, in all widths --- */
struct division {
	u64 hi, lo, by;
	bool fits;
	u64 q, r;
};

#define TOP(w) (1ull << (w - 1))
#define DIVISION(name, code, load, w) \
	static noinline u64 name(const struct division *d) \
	{ \
		u64 a = d->lo, h = d->hi, m = d->by, mask = w == 64 ? ~0ull : (1ull << (w & 63)) - 1, bad; \
		int vector = TRY("stc\n\t" code, "+a"(a), "+d"(h) : [by] load(m) : "memory", "cc"); \
		if (vector == NO_TRAP) \
			return !d->fits || (a & mask) != (d->q & mask) || (h & mask) != (d->r & mask); \
		bad = vector != DE || d->fits || trap.f.rax != d->lo || trap.f.rdx != d->hi; \
		return bad || !(trap.f.rflags & FL_CF) || !(trap.f.rflags & FL_RF); \
	}
DIVISION(div16, "divw %w[by]", "r", 16)
DIVISION(div32, "divl %k[by]", "r", 32)
DIVISION(div64, "divq %q[by]", "r", 64)
DIVISION(div16_m, "divw %[by]", "m", 16)
DIVISION(div32_m, "divl %[by]", "m", 32)
DIVISION(div64_m, "divq %[by]", "m", 64)
DIVISION(idiv16, "idivw %w[by]", "r", 16)
DIVISION(idiv32, "idivl %k[by]", "r", 32)
DIVISION(idiv64, "idivq %q[by]", "r", 64)
DIVISION(idiv16_m, "idivw %[by]", "m", 16)
DIVISION(idiv32_m, "idivl %[by]", "m", 32)
DIVISION(idiv64_m, "idivq %[by]", "m", 64)

/* 8 bits: AX by a byte; quotient in AL, remainder in AH. */
#define DIVISION8(name, code) \
	static noinline u64 name(u16 ax, u8 by, bool fits, u16 want) \
	{ \
		u64 a = 0xabcd0000 | ax; \
		int vector = TRY("stc\n\t" code, "+a"(a) : [by] "r"(by) : "memory", "cc"); \
		if (vector == NO_TRAP) \
			return !fits || a != (0xabcd0000 | want); \
		return vector != DE || fits || trap.f.rax != (0xabcd0000u | ax) || !(trap.f.rflags & FL_CF); \
	}
DIVISION8(div8, "divb %b[by]")
DIVISION8(idiv8, "idivb %b[by]")

#define UNSIGNED_ROWS(w) { \
	{0, 7, 2, true, 3, 1}, {0, 7, 0, false, 0, 0}, {5, 0, 5, false, 0, 0}, {6, 0, 5, false, 0, 0}, \
	{4, 0xffff, 4, false, 0, 0}, {1, 0, 2, true, TOP(w), 0}, {0, 0, 1, true, 0, 0}, {0, 3, TOP(w), true, 0, 3}, \
	{TOP(w) - 1, 1, TOP(w), true, ~1ull, 1}}
#define SIGNED_ROWS(w) { \
	{0, 7, 2, true, 3, 1}, {0, 7, 0, false, 0, 0}, {~0ull, TOP(w), ~0ull, false, 0, 0}, \
	{~0ull, -7ull, 2, true, -3ull, -1ull}, \
	{0, TOP(w), 1, false, 0, 0}, {~0ull, TOP(w), 1, true, TOP(w), 0}, {1, 0, 2, false, 0, 0}, {1, 0, 3, true, \
	 w == 64 ? 0x5555555555555555 : w == 32 ? 0x55555555 : 0x5555, 1}, {0, 5, -5ull, true, ~0ull, 0}}

static void test_divisions(void)
{
	static const struct division u16s[] = UNSIGNED_ROWS(16), u32s[] = UNSIGNED_ROWS(32), u64s[] = UNSIGNED_ROWS(64),
		s16s[] = SIGNED_ROWS(16), s32s[] = SIGNED_ROWS(32), s64s[] = SIGNED_ROWS(64);
	u64 bad = 0, n = passes();

	for (u64 i = 0; i < n; i++) {
		unsigned k = i % 9;

		if (i > 300 && i % 50 > 2) /* faults are slow in places */
			k = 0;
		bad += div16(&u16s[k]) + div32(&u32s[k]) + div64(&u64s[k]);
		bad += div16_m(&u16s[k]) + div32_m(&u32s[k]) + div64_m(&u64s[k]);
		bad += idiv16(&s16s[k]) + idiv32(&s32s[k]) + idiv64(&s64s[k]);
		bad += idiv16_m(&s16s[k]) + idiv32_m(&s32s[k]) + idiv64_m(&s64s[k]);
		if (k)
			bad += div8(0x1ff, 2, true, 0x01ff) + div8(0x200, 2, false, 0) + div8(0x00ff, 0, false, 0) +
			       idiv8(0xff80, 0xff, false, 0) + idiv8(0x0080, 1, false, 0) + idiv8(0xff80, 1, true, 0x0080) +
			       idiv8(0x00ff, 0, false, 0);
	}
	check_eq("div and idiv: quotients that do not fit", bad, 0);
}

/* --- what delivery reads may change between two faults --- */
static volatile u64 met[2];

static NAKED void first_handler(void)
{
	__asm__ volatile("incq met\n\taddq $2, (%rsp)\n\tiretq");
}

static NAKED void second_handler(void)
{
	__asm__ volatile("incq met+8\n\taddq $2, (%rsp)\n\tiretq");
}

static noinline void fault_once(void)
{
	__asm__ volatile("ud2" : : : "memory");
}

#define VA_STACK 0x7f0000301000ull

static void test_gates(void)
{
	u64 n = passes() / 10, wrong = 0, page = page_alloc(), data = gdt[SEL_DATA / 8], cr0 = read_cr0();
	int vector;

	for (u64 i = 0; i < n; i++) {
		u64 first = met[0], second = met[1];

		idt_set(UD, i & 1 ? second_handler : first_handler, 0x8e, 0);
		fault_once();
		wrong += met[0] - first != !(i & 1) || met[1] - second != (i & 1);
	}
	check_eq("#UD by a gate that changes each time", wrong, 0);
	idt_set(UD, first_handler, 0x0e, 0);
	vector = TRY("ud2", "+m"(data) : : "memory");
	check_eq("... that is not present then: #NP", (u64)vector, NP);
	check_eq("... its error code, with EXT", trap.f.error, UD * 8 + 3);

	tss.ist[3] = VA_STACK + 0x1000;
	page_map(VA_STACK, page | PTE_P | PTE_W);
	idt_set(UD, first_handler, 0x8e, 4);
	met[0] = 0;
	fault_once();
	check_eq("#UD on a stack of its own", met[0], 1);
	check_eq("... whose frame has the old stack's SS", ((u64 *)page)[511], SEL_DATA);
	page_map(VA_STACK, 0);
	vector = TRY("ud2", "+m"(data) : : "memory");
	check_eq("... that is not present then: #PF", (u64)vector, PF);
	check_eq("... its address", trap.cr2, VA_STACK + 0xff8);
	check_eq("... its error code", trap.f.error, 2);
	page_map(VA_STACK, page | PTE_P);
	write_cr0(cr0 | 1 << 16); /* WP */
	vector = TRY("ud2", "+m"(data) : : "memory");
	check_eq("... read-only: #PF", (u64)vector, PF);
	check_eq("... its error code", trap.f.error, 3);
	write_cr0(cr0);
	idt_set(UD, first_handler, 0x8e, 0);

	gdt[SEL_SPARE / 8] = gdt[SEL_CODE / 8] & ~(1ull << 40); /* not accessed */
	idt[UD].selector = SEL_SPARE;
	met[0] = 0;
	fault_once();
	check_eq("#UD by a code segment that is not accessed yet", met[0], 1);
	check_eq("... and is then", gdt[SEL_SPARE / 8] >> 40 & 1, 1);
	fault_once();
	gdt[SEL_SPARE / 8] &= ~(1ull << 47);
	vector = TRY("ud2", "+m"(data) : : "memory");
	check_eq("... and not present: #NP", (u64)vector, NP);
	gdt[SEL_SPARE / 8] = 0;
	vector = TRY("ud2", "+m"(data) : : "memory");
	check_eq("... and gone: #GP", (u64)vector, GP);
	idt_reset();
}

void metal_main(void)
{
	test_cpuid();
	test_rdmsr();
	test_ports();
	test_device();
	test_stores();
	test_divisions();
	test_gates();
}
