/* SPDX-License-Identifier: MIT */
/*
 * What a monitor answers or delivers by short ways, each in a loop long enough for all of them: CPUID and MSRs that
 * change meanwhile, ports, loads from device memory that becomes something else.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"rdmsr follows*", "SDM vol. 2, RDMSR: #GP for a reserved or unimplemented address"},
	{0},
};

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

void metal_main(void)
{
	test_cpuid();
	test_rdmsr();
	test_ports();
	test_device();
}
