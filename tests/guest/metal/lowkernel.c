/* SPDX-License-Identifier: MIT */
/*
 * A kernel that runs in the lower half, as loaders do, and that has not run any user code yet: its memory may be the
 * host's mappings by then. What it does to its page tables, control registers, stack, code and devices must count at
 * once, in code that has run often.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define VA 0x7f0000001000ull
#define ALIAS 0x7f0000a01000ull
#define LARGE 0x7f0040000000ull
#define HIGH 0xffff800000001000ull
#define APIC 0xfee00000ull
enum { RW = PTE_P | PTE_W, RO = PTE_P, TURNS = 300, WRITTEN = 3 /* PF_P | PF_W */ };

static u64 frame[3], large[2];

static noinline u64 read_often(u64 at) /* all or one bit set: they were not the same */
{
	u64 first = *(volatile u64 *)at, differ = 0;

	for (unsigned i = 0; i < TURNS; i++)
		differ |= *(volatile u64 *)at ^ first;
	return first | (differ ? 1ull << 63 : 0);
}

static noinline void write_often(u64 at, u64 v)
{
	for (unsigned i = 0; i < TURNS; i++)
		*(volatile u64 *)at = v + i;
}

static int try_write(u64 at) { return TRY("movq $1, (%0)", : "r"(at) : "memory"); }
static int try_read(u64 at) { u64 v; return TRY("movq (%1), %0", "=r"(v) : "r"(at) : "memory"); }

static void fill(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
		*(u64 *)frame[i] = 0x100 + i;
}

static void by_tables(void)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < 200; i++) {
		fill();
		page_map(VA, frame[i % 3] | RW);
		bad += read_often(VA) != 0x100 + i % 3;
		write_often(VA, i);
		bad += *(u64 *)frame[i % 3] != i + TURNS - 1 || *(u64 *)frame[(i + 1) % 3] != 0x100 + (i + 1) % 3;
	}
	check_eq("a page is another frame after INVLPG", bad, 0);
	fill();
	page_map(VA, frame[0] | RW);
	read_often(VA);
	*page_entry(VA, 1) = frame[1] | RW;
	write_cr3(read_cr3());
	check_eq("and after MOV CR3", read_often(VA), 0x101);
	page_map(VA, 0);
	check_eq("not present", (u64)try_read(VA), PF);
	*page_entry(VA, 1) = frame[2] | RW;
	check_eq("present again, without INVLPG", read_often(VA), 0x102);
	*page_entry(VA, 1) = frame[2] | RO;
	invlpg(VA);
	read_often(VA);
	check_eq("A, not D, after reads", *page_entry(VA, 1) & (PTE_A | PTE_D), PTE_A);
	page_map(VA, frame[2] | RW);
	read_often(VA);
	write_often(VA, 5);
	check_eq("A and D after writes", *page_entry(VA, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	page_map(VA, frame[2] | RW | PTE_A);
	write_often(VA, 5);
	check_eq("D again, once it was taken away", *page_entry(VA, 1) & PTE_D, PTE_D);
}

static void by_large(void)
{
	u64 *entry = page_entry(LARGE, 2);

	for (unsigned i = 0; i < 2; i++)
		for (u64 at = 0; at < 0x200000; at += 0x1000)
			*(u64 *)(large[i] + at) = large[i] + at;
	*entry = large[0] | RW | PTE_PS;
	write_cr3(read_cr3()); /* there were small pages */
	check_eq("a large page", read_often(LARGE + 0x123000), large[0] + 0x123000);
	*entry = large[1] | RW | PTE_PS;
	invlpg(LARGE + 0x1000);
	check_eq("another one", read_often(LARGE + 0x123000), large[1] + 0x123000);
	*entry = 0;
	invlpg(LARGE);
	for (u64 i = 0; i < 512; i++)
		*page_entry(LARGE + i * 0x1000, 1) = (i & 1 ? large[0] : large[1]) + i * 0x1000 + RW;
	fill();
	page_map(LARGE + 0x122000, frame[0] | RW);
	check_eq("small ones in its place", read_often(LARGE + 0x123000), large[0] + 0x123000);
	check_eq("and one apart", read_often(LARGE + 0x122000), 0x100);
}

static void by_rights(void)
{
	unsigned bad = 0;

	page_map(VA, frame[0] | RW);
	for (unsigned i = 0; i < 50; i++) {
		write_often(VA, i);
		page_map(VA, frame[0] | RO);
		write_cr0(read_cr0() | CR0_WP);
		bad += try_write(VA) != PF || trap.f.error != WRITTEN || trap.cr2 != VA;
		write_cr0(read_cr0() & ~(u64)CR0_WP);
		bad += try_write(VA) != NO_TRAP || *(u64 *)frame[0] != 1;
		write_often(VA, i);
		write_cr0(read_cr0() | CR0_WP);
		bad += try_write(VA) != PF || *(u64 *)frame[0] != i + TURNS - 1;
		page_map(VA, frame[0] | RW);
		bad += try_write(VA) != NO_TRAP;
		write_cr0(read_cr0() & ~(u64)CR0_WP);
	}
	check_eq("CR0.WP on and off", bad, 0);
	if (!has_smap() || !has_smep())
		return;
	bad = 0;
	page_identity_user(false);
	for (unsigned i = 0; i < 50; i++) {
		page_map(VA, frame[0] | RW | PTE_U);
		write_often(VA, i);
		write_cr4(read_cr4() | CR4_SMAP | CR4_SMEP);
		bad += try_read(VA) != PF || trap.f.error != 1;
		bad += TRY("stac\n movq $7, (%0)\n clac", : "r"(VA) : "memory") != NO_TRAP || *(u64 *)frame[0] != 7;
		bad += try_write(VA) != PF || trap.f.error != WRITTEN;
		memset((void *)frame[0], 0xc3, 16);
		bad += TRY("call *%0", : "r"(VA) : "memory") != PF;
		write_cr4(read_cr4() & ~(u64)CR4_SMAP);
		bad += read_often(VA) != (0xc3c3c3c3c3c3c3c3 | 1ull << 63);
		bad += TRY("call *%0", : "r"(VA) : "memory") != PF;
		write_cr4(read_cr4() & ~(u64)CR4_SMEP);
		bad += TRY("call *%0", : "r"(VA) : "memory") != NO_TRAP;
	}
	page_identity_user(true);
	check_eq("SMAP and SMEP on and off", bad, 0);
}

static void by_space(void)
{
	u64 first = read_cr3(), other = page_alloc();
	unsigned bad = 0;

	fill();
	memcpy((void *)other, boot_pml4, 4096);
	page_map(VA, frame[0] | RW);
	((u64 *)other)[VA >> 39 & 511] = 0;
	write_cr3(other);
	page_map(VA, frame[1] | RW);
	for (unsigned i = 0; i < 100; i++) {
		bad += read_often(VA) != 0x101;
		write_cr3(first);
		bad += read_often(VA) != 0x100;
		write_cr3(other);
	}
	write_cr3(first);
	check_eq("two address spaces", bad, 0);
}

/* Paging off, in 32-bit code; *at = v; and on again. */
void without_paging(u64 at, u32 v);
__asm__(".pushsection .text\n.globl without_paging\nwithout_paging: push %rbx\n push $0x30\n lea 1f(%rip), %rax\n"
	" push %rax\n lretq\n"
	".code32\n1: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n mov $300, %ecx\n"
	"2: mov %esi, (%edi)\n dec %ecx\n jnz 2b\n or $0x80000000, %eax\n mov %eax, %cr0\n ljmp $8, $3f\n"
	".code64\n3: pop %rbx\n ret\n.popsection");

static void by_paging(void)
{
	u64 table;
	unsigned bad = 0;

	for (unsigned i = 0; i < 20; i++) {
		fill();
		page_map(VA, frame[0] | RW);
		write_often(VA, 0);
		table = (u64)page_entry(VA, 1);
		without_paging(table, (u32)frame[1] | RW);
		bad += read_often(VA) != 0x101;
		without_paging(frame[1], 0x200 + i);
		bad += read_often(VA) != 0x200 + i;
	}
	check_eq("paging off and on", bad, 0);
}

static u64 call_at(u64 va)
{
	u64 r;

	__asm__ volatile("call *%1" : "=a"(r) : "r"(va) : "rcx", "rdx", "memory", "cc");
	return r;
}

static void by_code(void)
{
	u8 code[] = {0xb8, 0, 0, 0, 0, 0xc3};
	unsigned bad = 0;

	page_map(VA, frame[0] | RW);
	page_map(ALIAS, frame[0] | RW);
	for (u32 i = 0; i < 2000; i++) {
		u64 at = i & 1 ? ALIAS : VA;

		write_often(at + 64, i);
		memcpy(code + 1, &i, 4);
		for (unsigned n = 0; n < sizeof(code); n++)
			*(volatile u8 *)(at + n) = code[n];
		for (unsigned n = 0; n < 5; n++)
			bad += call_at(i & 2 ? ALIAS : VA) != i;
	}
	check_eq("code written by two addresses", bad, 0);
	/* lea 1(%rdi), %eax; mov %al, 1f + 1(%rip); 1: mov $0, %eax; ret */
	memcpy((void *)frame[1], (u8[]){0x8d, 0x47, 1, 0x88, 0x05, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xc3}, 15);
	page_map(VA, frame[1] | RW);
	bad = 0;
	for (u64 i = 0; i < 1000; i++) {
		u64 r;

		__asm__ volatile("call *%1" : "=a"(r) : "r"(VA), "D"(i & 63) : "memory", "cc");
		bad += r != (i & 63) + 1;
	}
	check_eq("code that writes the next instruction", bad, 0);
}

static void by_device(void)
{
	u32 version = *(volatile u32 *)(APIC + APIC_VERSION);
	unsigned bad = 0;

	fill();
	for (unsigned i = 0; i < 20; i++) {
		page_map(VA, APIC | RW | PTE_PCD);
		for (unsigned n = 0; n < 100; n++)
			bad += *(volatile u32 *)(VA + APIC_VERSION) != version || *(volatile u64 *)frame[0] != 0x100;
		*(volatile u32 *)(VA + APIC_TPR) = 0x20 + i;
		bad += *(volatile u32 *)(APIC + APIC_TPR) != 0x20 + i;
		page_map(VA, frame[0] | RW);
		bad += read_often(VA) != 0x100;
	}
	*(volatile u32 *)(APIC + APIC_TPR) = 0;
	check_eq("a device's page and memory in turn", bad, 0);
}

/* add(at, n): n times 1 to *at, with the stack at rsp */
u64 add_with_stack(u64 at, u64 n, u64 rsp);
extern u8 add_code[], add_end[];
__asm__(".pushsection .text\n.globl add_with_stack\nadd_with_stack:\nadd_code: mov %rsp, %rax\n mov %rdx, %rsp\n"
	" push %rax\n"
	"1: push %rsi\n incq (%rdi)\n pop %rsi\n dec %rsi\n jnz 1b\n mov (%rdi), %rdx\n pop %rsp\n mov %rdx, %rax\n ret\n"
	"add_end: .popsection");

static void by_half(void)
{
	u64 (*high)(u64, u64, u64) = (u64 (*)(u64, u64, u64))HIGH;
	u64 want = 0;
	unsigned bad = 0;

	memcpy((void *)frame[1], add_code, (size_t)(add_end - add_code));
	page_map(HIGH, frame[1] | RW);
	page_map(HIGH + 0x1000, frame[2] | RW);
	page_map(VA, frame[0] | RW);
	*(u64 *)frame[0] = 0;
	for (unsigned i = 0; i < 60; i++) {
		want += 100;
		bad += add_with_stack(VA, 100, HIGH + 0x2000) != want; /* the stack above */
		want += 100;
		bad += high(VA, 100, frame[2] + 0x1000) != want; /* the code */
		want += 100;
		bad += high(VA, 100, HIGH + 0x2000) != want; /* both */
		want += 100;
		bad += add_with_stack(VA, 100, frame[2] + 0x1000) != want;
		bad += *(u64 *)frame[0] != want;
	}
	check_eq("code and stack in the upper half and back", bad, 0);
}

static void by_user(void)
{
	static const u8 code[] = {0xb9, 0xe8, 3, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0x48, 0x8b, 0x07, 0xcd, 0x81};
	unsigned bad = 0;

	memcpy((void *)frame[1], code, sizeof(code));
	for (unsigned i = 0; i < 20; i++) {
		page_map(ALIAS, frame[1] | RW | PTE_U);
		page_map(VA, frame[0] | RW);
		write_often(VA, i);
		bad += user_run((void (*)(void))ALIAS, VA) != PF || trap.f.error != 5 || trap.cr2 != VA;
		page_map(VA, frame[0] | RW | PTE_U);
		bad += user_run((void (*)(void))ALIAS, VA) != NO_TRAP || trap.f.rax != i + TURNS - 1;
	}
	check_eq("user code finds none of the kernel's pages", bad, 0);
}

void metal_main(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
		frame[i] = page_alloc();
	large[0] = page_alloc_large();
	large[1] = page_alloc_large();
	apic_enable();
	for (unsigned i = 0; i < 2; i++) {
		by_tables();
		by_large();
		by_rights();
		by_space();
		by_paging();
		by_code();
		by_device();
		by_half();
	}
	by_user();
}
