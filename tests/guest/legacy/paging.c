/* SPDX-License-Identifier: MIT */
/*
 * Protected mode outside long mode: without paging, with 32-bit paging (4 KiB, 4 MiB, PSE off), with PAE paging (4 KiB,
 * 2 MiB, NX, PDPTE registers), and every change between these and long mode. Faults, error codes, A and D.
 */
#include "lib/legacy.h"

enum { VA = 0x40000000, VA_LARGE = 0x40400000 };

static u32 *pd, *pt;
static u64 *pdpt, *pds[4], *ptp;
static u8 *frame;

static u32 read_at(u32 at)
{
	u32 x = 0;

	TRY("mov (%1), %0", "+r"(x) : "r"(at) : "memory");
	return x;
}

static int write_at(u32 at, u32 x)
{
	return TRY("mov %0, (%1)", : "r"(x), "r"(at) : "memory");
}

static int call_at(u32 at)
{
	return TRY("call *%0", : "r"(at) : "memory", "eax", "ecx", "edx");
}

static void user_read(void)
{
	__asm__ volatile("mov 0x40000000, %eax; int $0x81; ret");
}

static void user_write(void)
{
	__asm__ volatile("mov %eax, 0x40000000; int $0x81; ret");
}

static int set_cr3_try(u32 x)
{
	return TRY("mov %0, %%cr3", : "r"(x) : "memory");
}

static int set_cr0_try(u32 x)
{
	return TRY("mov %0, %%cr0", : "r"(x) : "memory");
}

static int set_cr4_try(u32 x)
{
	return TRY("mov %0, %%cr4", : "r"(x) : "memory");
}

static void unpaged(void)
{
	volatile u32 x = 7;
	u32 old = 5;
	u8 src[16] = "0123456789abcde", dst[16];
	u32 n = 16;
	u8 *s = src, *d = dst;

	__asm__ volatile("lock xadd %0, %1" : "+r"(old), "+m"(x));
	check_eq("xadd", old, 7);
	check_eq("xadd memory", x, 12);
	__asm__ volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	check(d == dst + 16 && dst[14] == 'e', "rep movsb");
	__asm__ volatile("fninit; fld1; fld1; faddp; fistpl %0" : "=m"(x));
	check_eq("x87", x, 2);
	check_trap("int3", TRY("int3", ), BP, 0);
	check_trap("ud2", TRY("ud2", ), UD, 0);
	__asm__ volatile("mov $0x12345678, %%eax; pusha; popa; movzbl %%ah, %0" : "=r"(n) : : "eax");
	check_eq("pusha popa", n, 0x56);
	if (under_tcg()) {
		skip("PG without PE, NW without CD (TCG has no #GP: SDM vol. 3, 2.5)");
		return;
	}
	check_trap("PG without PE", set_cr0_try((get_cr0() & ~CR0_PE) | CR0_PG), GP, 0);
	check_trap("NW without CD", set_cr0_try((get_cr0() & ~CR0_CD) | CR0_NW), GP, 0);
}

static void make_tables(void)
{
	pd = page_alloc();
	pt = page_alloc();
	frame = page_alloc();
	for (unsigned i = 0; i < 16; i++)
		pd[i] = i << 22 | PTE_P | PTE_W | PTE_U | PTE_PS;
	pd[VA >> 22] = (u32)pt | PTE_P | PTE_W | PTE_U;
	pd[VA_LARGE >> 22] = 0x400000 | PTE_P | PTE_W | PTE_PS;
	pt[0] = (u32)frame | PTE_P | PTE_W;
}

static void set_pte(u32 e)
{
	pt[0] = e;
	invlpg((void *)VA);
}

static void narrow(void)
{
	u32 cr0 = get_cr0();

	make_tables();
	*(u32 *)frame = 0xc3c35a5a;
	*(u32 *)0x400123 = 0x11223344;
	set_cr4(get_cr4() | CR4_PSE);
	set_cr3((u32)pd);
	set_cr0(cr0 | CR0_PG);
	check_eq("4 KiB page", read_at(VA), 0xc3c35a5a);
	check_eq("A", pt[0] & (PTE_A | PTE_D), PTE_A);
	check_eq("A above", pd[VA >> 22] & PTE_A, PTE_A);
	check_trap("write", write_at(VA + 4, 1), NO_TRAP, 0);
	check_eq("D", pt[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
	check_eq("4 MiB page", read_at(VA_LARGE + 0x123), 0x11223344);
	check_eq("4 MiB A", pd[VA_LARGE >> 22] & (PTE_A | PTE_D), PTE_A);
	write_at(VA_LARGE + 0x3ffffc, 9);
	check_eq("4 MiB D", pd[VA_LARGE >> 22] & PTE_D, PTE_D);
	check_eq("4 MiB end", *(u32 *)0x7ffffc, 9);
	check_eq("TCG has it", read_at(VA), 0xc3c35a5a);
	check_trap("run there", call_at(VA + 2), NO_TRAP, 0);
	set_pte((u32)frame | PTE_W);
	check_trap("not present", (read_at(VA), trap.vector), PF, 0);
	check_eq("CR2", trap.cr2, VA);
	check_trap("not present, write", write_at(VA + 8, 0), PF, 2);
	check_trap("not present, fetch", call_at(VA), PF, 0);
	set_pte((u32)frame | PTE_P);
	check_trap("read-only, WP clear", write_at(VA + 8, 0), NO_TRAP, 0);
	set_cr0(get_cr0() | CR0_WP);
	set_pte((u32)frame | PTE_P);
	check_trap("read-only, WP", write_at(VA + 8, 0), PF, 3);
	set_pte((u32)frame | PTE_P | PTE_W);
	check_trap("supervisor's, user reads", user_run(user_read), PF, 5);
	set_pte((u32)frame | PTE_P | PTE_U);
	check_eq("user reads", (u32)user_run(user_read), VEC_LEAVE);
	check_trap("user writes read-only", user_run(user_write), PF, 7);
	pd[VA_LARGE >> 22] |= 1 << 21;
	invlpg((void *)VA_LARGE);
	if (under_tcg()) {
		skip("4 MiB reserved bit, PAE with bad PDPTEs (TCG: error 8, no #GP: SDM vol. 3, 4.7, 4.4.1)");
	} else {
		check_trap("4 MiB reserved bit", (read_at(VA_LARGE), trap.vector), PF, 9);
		check_trap("PAE with bad PDPTEs", set_cr4_try(get_cr4() | CR4_PAE), GP, 0);
	}
	set_cr0(cr0);
	check_eq("off again", *(u32 *)frame, 0xc3c35a5a);
}

static void make_pae(void)
{
	pdpt = page_alloc();
	ptp = page_alloc();
	for (unsigned i = 0; i < 4; i++) {
		pds[i] = page_alloc();
		pdpt[i] = (u32)pds[i] | PTE_P;
	}
	for (unsigned i = 0; i < 32; i++)
		pds[0][i] = i << 21 | PTE_P | PTE_W | PTE_U | PTE_PS;
	pds[1][0] = (u32)ptp | PTE_P | PTE_W | PTE_U;
	pds[1][2] = 0x400000 | PTE_P | PTE_W | PTE_PS;
	ptp[0] = (u32)frame | PTE_P | PTE_W;
}

static void set_ptp(u64 e)
{
	ptp[0] = e;
	invlpg((void *)VA);
}

static void pae(void)
{
	u32 cr0 = get_cr0();

	make_pae();
	set_cr4(get_cr4() | CR4_PAE);
	set_cr3((u32)pdpt);
	pdpt[2] |= 1ull << 5;
	if (!under_tcg())
		check_trap("PDPTE with reserved bit", set_cr0_try(cr0 | CR0_PG), GP, 0);
	pdpt[2] &= ~(1ull << 5);
	set_cr0(cr0 | CR0_PG);
	check_eq("PAE 4 KiB", read_at(VA), 0xc3c35a5a);
	check_eq("PAE A", (u32)ptp[0] & (PTE_A | PTE_D), PTE_A);
	write_at(VA + 4, 1);
	check_eq("PAE D", (u32)ptp[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
	check_eq("PAE 2 MiB", read_at(VA_LARGE + 0x123), 0x11223344);
	check_trap("PAE run there", call_at(VA + 2), NO_TRAP, 0);
	set_ptp((u32)frame | PTE_P | 1ull << 62);
	if (!under_tcg())
		check_trap("bit 62 is reserved", (read_at(VA), trap.vector), PF, 9);
	set_ptp((u32)frame | PTE_P | 1ull << 63);
	if (!under_tcg())
		check_trap("bit 63 without NXE", (read_at(VA), trap.vector), PF, 9);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	set_ptp((u32)frame | PTE_P | 1ull << 63);
	check_eq("NX, read", read_at(VA), 0xc3c35a5a);
	check_trap("NX, fetch", call_at(VA + 2), PF, 0x11);
	pdpt[1] |= 1 << 8;
	if (!under_tcg())
		check_trap("CR3 to a bad PDPTE", set_cr3_try((u32)pdpt), GP, 0);
	pdpt[1] = 0;
	set_ptp((u32)frame | PTE_P);
	if (under_tcg())
		skip("PDPTE registers (TCG reads the table each time: SDM vol. 3, 4.4.1)");
	else
		check_eq("PDPTE registers hold", read_at(VA), 0xc3c35a5a);
	check_trap("CR3 anew", set_cr3_try((u32)pdpt), NO_TRAP, 0);
	check_trap("PDPTE not present", (read_at(VA), trap.vector), PF, 0);
	pdpt[1] = (u32)pds[1] | PTE_P;
	set_cr3((u32)pdpt);
	if (!under_tcg())
		check_trap("LME while paging", TRY("wrmsr", : "c"(MSR_EFER), "a"(EFER_LME | EFER_NXE), "d"(0)), GP, 0);
	set_cr0(cr0);
	set_cr4(get_cr4() & ~CR4_PAE);
}

/* Into long mode, 64-bit code, and back: the 64-bit code leaves a value made of 64-bit arithmetic. */
u32 long_result[2];

static void long_mode(void)
{
	u64 *pml4 = page_alloc();
	u64 *long_pdpt = page_alloc();
	u32 cr0 = get_cr0();

	for (unsigned i = 0; i < 4; i++)
		long_pdpt[i] = (u32)pds[i] | PTE_P | PTE_W;
	pml4[0] = (u32)long_pdpt | PTE_P | PTE_W;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_LME);
	set_cr4(get_cr4() & ~CR4_PAE);
	set_cr3((u32)pml4);
	if (!under_tcg())
		check_trap("PG with LME without PAE", set_cr0_try(cr0 | CR0_PG), GP, 0);
	for (unsigned i = 0; i < 3; i++) {
		set_cr4(get_cr4() | CR4_PAE);
		set_cr0(cr0 | CR0_PG);
		check_eq("LMA", (u32)rdmsr(MSR_EFER) & (EFER_LMA | EFER_LME), EFER_LMA | EFER_LME);
		__asm__ volatile("ljmp %0, $1f\n\t.code64\n1:\tmov $0x123456789abcdef0, %%rax\n\tshr $4, %%rax\n\t"
				 "mov $long_result, %%ecx\n\tmov %%rax, (%%rcx)\n\tpush %1\n\tmov $2f, %%ecx\n\t"
				 "push %%rcx\n\tlretq\n\t.code32\n2:"
				 : : "i"(SEL_CODE64), "i"(SEL_CODE) : "eax", "ecx", "memory");
		check_eq("64-bit code, low", long_result[0], 0x89abcdef);
		check_eq("64-bit code, high", long_result[1], 0x01234567);
		set_cr0(cr0);
		check_eq("LMA off", (u32)rdmsr(MSR_EFER) & (EFER_LMA | EFER_LME), EFER_LME);
		check_trap("back in legacy mode", TRY("ud2", ), UD, 0);
	}
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_LME);
	set_cr3((u32)pdpt);
	set_cr0(cr0 | CR0_PG);
	check_eq("PAE after long mode", read_at(VA), 0xc3c35a5a);
	set_cr0(cr0);
	set_cr4(get_cr4() & ~CR4_PAE);
	set_cr3((u32)pd);
	set_pte((u32)frame | PTE_P);
	set_cr0(cr0 | CR0_PG);
	check_eq("32-bit paging after PAE", read_at(VA), 0xc3c35a5a);
	set_cr0(cr0);
}

void legacy_main(void)
{
	unpaged();
	narrow();
	pae();
	long_mode();
}
