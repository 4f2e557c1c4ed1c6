/* SPDX-License-Identifier: MIT */
/*
 * For guests whose user code is to be run directly (--memory=direct), which asks for an operating system like Linux:
 * its selectors, SYSCALL, FSGSBASE, interrupts on at CPL 3. Any machine must pass them, whatever the form.
 */
#ifndef METAL_DIRECT_H
#define METAL_DIRECT_H
#include "lib/metal.h"

enum { LINUX_CODE32 = 0x23, LINUX_DATA = 0x2b, LINUX_CODE = 0x33, LINUX_NUMBER = 0x7b };
enum { RW = PTE_P | PTE_W | PTE_U, RO = PTE_P | PTE_U, LOOPS = 300 };
#define TEXT 0x7f0000010000ull /* pages for code */
#define DATA 0x7f0000080000ull /* and for what it works on */
#define STACK_TOP 0x7f00000a0000ull
/* Where ringer has, for directly run code, its handler and what it shares with that (src/vmm/direct.h): 16 MiB. */
#define HANDLER_AT 0x410100001000ull
#define HANDOVER_AT 0x410320000000ull
#define MSR_TSC_AUX 0xc0000103u

/* SYSCALL: RAX = 3 * RAX + 1; RCX and R11 as ever. */
void direct_syscall(void);
__asm__(".pushsection .text\ndirect_syscall: lea 1(%rax,%rax,2), %rax\n sysretq\n.popsection");

/* All the state that there is: with less, user code could tell a host that has more enabled. */
static inline u64 direct_xcr0(void)
{
	return cpuid(0xd, 0).a & 0xe7;
}

static inline void direct_setup(void)
{
	gdt[LINUX_CODE32 / 8] = 0x00cffb000000ffff;
	gdt[LINUX_DATA / 8] = 0x00cff3000000ffff;
	gdt[LINUX_CODE / 8] = 0x00affb000000ffff;
	gdt[LINUX_NUMBER / 8] = 0x0040f50000000000; /* of a processor, its limit */
	gdt_reload();
	__asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%fs\n mov %0, %%gs" : : "r"(0));
	write_cr0(read_cr0() | CR0_AM | CR0_WP | CR0_NE | CR0_MP);
	write_cr4(read_cr4() | (has_fsgsbase() ? CR4_FSGSBASE : 0));
	if (read_cr4() & CR4_OSXSAVE)
		__asm__ volatile("xsetbv" : : "c"(0), "a"(direct_xcr0()), "d"(0));
	wrmsr(MSR_STAR, (u64)(LINUX_CODE32) << 48 | (u64)SEL_CODE << 32);
	wrmsr(MSR_LSTAR, (u64)direct_syscall);
	wrmsr(MSR_FMASK, FL_IF | FL_TF | FL_DF | FL_AC | FL_NT);
	page_identity_user(false);
	page_map(STACK_TOP - 0x1000, page_alloc() | RW | PTE_NX);
	page_map(STACK_TOP - 0x2000, page_alloc() | RW | PTE_NX);
}

static inline int direct_run_flags(u64 at, u64 arg, u64 flags)
{
	return user_run_segments((void (*)(void))at, arg, FL_1 | FL_IF | flags, LINUX_CODE, STACK_TOP - 64, LINUX_DATA);
}

static inline int direct_run(u64 at, u64 arg)
{
	return direct_run_flags(at, arg, 0);
}

/* A page of zeros in user space; its address in the identity map. */
static inline u8 *direct_page(u64 va, u64 rights)
{
	u64 page = page_alloc();

	page_map(va, page | rights);
	return (u8 *)page;
}

/* A piece of code between two labels, made by CODE. */
struct code {
	const char *name;
	const u8 *start, *end;
};
#define CODE(name, text) ".globl " #name "_start, " #name "_end\n" #name "_start:\n" text "\n" #name "_end:\n"
#define CODE_DECLARE(name) extern const u8 name##_start[], name##_end[];
#define CODE_OF(name) {#name, name##_start, name##_end}
#define CODE_ROW(name) CODE_OF(name),

static inline u8 *put_code(u8 *to, const struct code *c)
{
	memcpy(to, c->start, (size_t)(c->end - c->start));
	return to + (c->end - c->start);
}
#endif
