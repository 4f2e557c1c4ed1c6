/* SPDX-License-Identifier: MIT */
/*
 * 5-level paging: what is canonical, pages at addresses of 57 bits, error codes, reserved bits of PML5 entries; and
 * protection keys of supervisor pages. The way between 4 and 5 levels leads through 32-bit code without paging.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"*: an MSR takes no more", "SDM vol. 4, IA32_KERNEL_GS_BASE: a canonical address"},
	{"5 levels: over the edge", "SDM vol. 3, 4.5.1: each byte's address must be canonical"},
	{"PS in a PML5 entry is reserved", "SDM vol. 3, 4.7: the P flag is 1 where a reserved bit is"},
	{0},
};

enum { CR4_LA57 = 1 << 12, CR4_PKS = 1 << 24, PF_P = 1, PF_W = 2, PF_RSVD = 8, PF_PK = 32 };
#define MSR_PKRS 0x6e1u
#define VA57 0x00ab123456789000ull	/* canonical with 57 bits only */
#define EDGE57 0x00fffffffffffff8ull	/* the last eight bytes of the lower half */

static u64 pml5[512] aligned(4096);
void switch_levels(u64 cr3, u64 cr4);

/* Off to compatibility mode, there paging off, CR4 and CR3 new, paging on, and back. */
__asm__(".text\n.globl switch_levels\nswitch_levels: push %rbx\n push %rbp\n mov %rdi, %rbx\n mov %rsi, %rcx\n"
	"pushq $0x30\n push $1f\n lretq\n"
	".code32\n1: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
	"mov %ebx, %cr3\n mov %ecx, %cr4\n or $0x80000000, %eax\n mov %eax, %cr0\n"
	"ljmp $8, $2f\n.code64\n2: pop %rbp\n pop %rbx\n ret\n");

static int read_at(u64 va)
{
	TRY("mov (%0), %%eax", : "r"(va) : "rax", "memory");
	return trap.vector;
}

static void test_canonical(const char *what, bool wide)
{
	char name[64];

	format(name, sizeof name, "%s: a 57-bit address", what);
	read_at(VA57 + 0x100000);
	check_trap(name, wide ? PF : GP, 0, 0);
	format(name, sizeof name, "%s: beyond 57 bits", what);
	read_at(NON_CANONICAL);
	check_trap(name, GP, 0, 0);
	format(name, sizeof name, "%s: over the edge", what);
	read_at(EDGE57 + 6);
	check_trap(name, GP, 0, 0);
	/* MSRs take what the widest mode could use */
	TRY("wrmsr", : "c"(MSR_KERNEL_GS_BASE), "a"((u32)VA57), "d"((u32)(VA57 >> 32)));
	format(name, sizeof name, "%s: an MSR takes 57 bits", what);
	check_trap(name, NO_TRAP, 0, 0);
	TRY("wrmsr", : "c"(MSR_KERNEL_GS_BASE), "a"((u32)NON_CANONICAL), "d"((u32)(NON_CANONICAL >> 32)));
	format(name, sizeof name, "%s: an MSR takes no more", what);
	check_trap(name, GP, 0, 0);
}

static void test_page(void)
{
	u64 frame = page_alloc(), pml4 = page_alloc(), pdpt = page_alloc(), pd = page_alloc(), pt = page_alloc();
	u64 *top = &pml5[VA57 >> 48 & 511];

	*top = pml4 | PTE_P | PTE_W;
	((u64 *)pml4)[VA57 >> 39 & 511] = pdpt | PTE_P | PTE_W;
	((u64 *)pdpt)[VA57 >> 30 & 511] = pd | PTE_P | PTE_W;
	((u64 *)pd)[VA57 >> 21 & 511] = pt | PTE_P | PTE_W;
	((u64 *)pt)[VA57 >> 12 & 511] = frame | PTE_P | PTE_W;
	*(volatile u32 *)frame = 0x12345678;
	report(*(volatile u32 *)VA57 == 0x12345678, "read through five levels", "%x", *(volatile u32 *)VA57);
	report(*top & PTE_A, "the PML5 entry is accessed", "%lx", *top);
	*(volatile u32 *)(VA57 + 8) = 99;
	report(*(volatile u32 *)(frame + 8) == 99, "write through five levels", "%x", *(volatile u32 *)(frame + 8));
	*top &= ~(u64)PTE_W;
	invlpg(VA57);
	write_cr0(read_cr0() | CR0_WP);
	TRY("movl $1, (%0)", : "r"(VA57) : "memory");
	check_trap("a read-only PML5 entry", PF, PF_P | PF_W, 0);
	write_cr0(read_cr0() & ~(u64)CR0_WP);
	*top |= PTE_PS;
	invlpg(VA57);
	read_at(VA57);
	check_trap("PS in a PML5 entry is reserved", PF, PF_P | PF_RSVD, 0);
	*top = 0;
	invlpg(VA57);
	read_at(VA57);
	check_trap("an absent PML5 entry", PF, 0, 0);
}

static void test_pks(void)
{
	u64 va = 12ull << 39, frame = page_alloc();

	page_map(va, frame | PTE_P | PTE_W | 5ull << 59);
	write_cr4(read_cr4() | CR4_PKS);
	wrmsr(MSR_PKRS, 0);
	read_at(va);
	check_trap("PKRS 0 allows", NO_TRAP, 0, 0);
	wrmsr(MSR_PKRS, 1 << 10); /* AD of key 5 */
	read_at(va);
	check_trap("PKRS AD: a read", PF, PF_P | PF_PK, 0);
	wrmsr(MSR_PKRS, 2 << 10); /* WD */
	read_at(va);
	check_trap("PKRS WD: a read", NO_TRAP, 0, 0);
	TRY("movl $1, (%0)", : "r"(va) : "memory");
	check_trap("PKRS WD without CR0.WP: a write", NO_TRAP, 0, 0);
	write_cr0(read_cr0() | CR0_WP);
	TRY("movl $1, (%0)", : "r"(va) : "memory");
	check_trap("PKRS WD: a write", PF, PF_P | PF_W | PF_PK, 0);
	write_cr0(read_cr0() & ~(u64)CR0_WP);
	TRY("wrmsr", : "c"(MSR_PKRS), "a"(0), "d"(1));
	check_trap("#GP: IA32_PKRS has 32 bits", GP, 0, 0);
	wrmsr(MSR_PKRS, 0);
	write_cr4(read_cr4() & ~(u64)CR4_PKS);
}

void metal_main(void)
{
	u32 ecx = cpuid(7, 0).c;

	if (ecx >> 31)
		test_pks();
	else
		report_skip("PKS", "not in CPUID");
	if (!(ecx >> 16 & 1)) {
		report_skip("LA57", "not in CPUID");
		return;
	}
	report((cpuid(0x80000008, 0).a >> 8 & 0xff) == 57, "57 linear-address bits in CPUID", "%x",
	       cpuid(0x80000008, 0).a);
	test_canonical("4 levels", false);
	TRY("mov %0, %%cr4", : "r"(read_cr4() | CR4_LA57));
	check_trap("#GP: CR4.LA57 in long mode", GP, 0, 0);
	pml5[0] = (u64)boot_pml4 | PTE_P | PTE_W | PTE_U;
	switch_levels((u64)pml5, read_cr4() | CR4_LA57);
	report(read_cr4() & CR4_LA57, "5 levels are on", "%lx", read_cr4());
	test_canonical("5 levels", true);
	test_page();
	switch_levels((u64)boot_pml4, read_cr4() & ~(u64)CR4_LA57);
	test_canonical("4 levels again", false);
}
