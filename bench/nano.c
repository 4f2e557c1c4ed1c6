/* SPDX-License-Identifier: MIT */
/*
 * Nano-benchmarks after Adams and Agesen (ASPLOS 2006), and a few more: what one privileged operation costs, in TSC
 * cycles, as lines "NANO name cycles". Each is the least of several batches, less an empty loop's time where the
 * operation stands in one. A bare-metal guest like those in tests/guest/metal, whose library it uses.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define NAKED __attribute__((__naked__, __noinline__, __used__))
#define BATCHES 7
#define TIMES 2000
#define PAGES 256
#define AREA 0x10000000ull

/* Cycles of TIMES times the code. */
#define LOOP(code, ...) ({ \
	u64 n_ = TIMES, t_ = rdtsc(); \
	__asm__ volatile("75:\n\t" code "\n\tdec %[n]\n\tjnz 75b" : [n] "+r"(n_) : __VA_ARGS__ ); \
	rdtsc() - t_; })

static u64 empty;

static void say(const char *name, u64 cycles, u64 times)
{
	print("NANO %s %lu\n", name, (cycles + times / 2) / times);
}

#define MEASURE(name, expression) do { \
	u64 best_ = ~0ull; \
	for (int b_ = 0; b_ < BATCHES; b_++) { \
		u64 c_ = (expression); \
		if (c_ < best_) \
			best_ = c_; \
	} \
	say(name, best_ > empty ? best_ - empty : 0, TIMES); \
} while (0)

static NAKED void syscall_entry(void)
{
	__asm__ volatile("sysretq");
}

static NAKED void user_syscalls(void)
{
	__asm__ volatile("mov %rdi, %rbx\n1:\tsyscall\n\tdec %rbx\n\tjnz 1b\n\tint $0x81");
}

static NAKED void skip_fault(void) /* an error code, and an instruction of two bytes */
{
	__asm__ volatile("addq $2, 8(%rsp)\n\tadd $8, %rsp\n\tiretq");
}

static NAKED void skip_divide(void)
{
	__asm__ volatile("addq $2, (%rsp)\n\tiretq");
}

static NAKED void leaf(void)
{
	__asm__ volatile("ret");
}

static u64 syscalls(void)
{
	u64 t = rdtsc();

	user_run(user_syscalls, TIMES);
	return rdtsc() - t;
}

static void simple(void)
{
	empty = ~0ull;
	for (int b = 0; b < BATCHES; b++) {
		u64 c = LOOP("", "i"(0));

		empty = c < empty ? c : empty;
	}
	MEASURE("in", LOOP("inb $0x80, %%al", "i"(0) : "rax", "memory"));
	MEASURE("cr8wr", LOOP("mov %[v], %%cr8", [v] "r"(0ull) : "memory"));
	MEASURE("call/ret", LOOP("call *%[f]", [f] "r"(leaf) : "memory"));
	MEASURE("call/ret, direct", LOOP("call leaf", "i"(0) : "memory"));
	MEASURE("cli/sti", LOOP("sti\n\tnop\n\tcli", "i"(0) : "memory"));
	MEASURE("pushf/popf", LOOP("pushfq\n\tpopfq", "i"(0) : "memory"));
	MEASURE("rdtsc", LOOP("rdtsc", "i"(0) : "rax", "rdx", "memory"));
	MEASURE("cpuid", LOOP("xor %%eax, %%eax\n\tcpuid", "i"(0) : "rax", "rbx", "rcx", "rdx", "memory"));
	MEASURE("rdmsr (LSTAR)", LOOP("rdmsr", "c"(MSR_LSTAR) : "rax", "rdx", "memory"));
	MEASURE("MMIO read (local APIC)", LOOP("mov (%[p]), %%eax", [p] "r"(0xfee00030ull) : "rax", "memory"));
}

static void faults(void)
{
	idt_set(PF, skip_fault, 0x8e, 0);
	idt_set(DE, skip_divide, 0x8e, 0);
	*page_entry(AREA - 0x1000, 1) = 0;
	MEASURE("pgfault", LOOP("movb (%[p]), %%cl", [p] "a"(AREA - 0x1000) : "rcx", "memory"));
	MEASURE("divzero", LOOP("div %%ecx", "c"(0) : "memory"));
	idt_reset();
}

static void map_area(u64 flags)
{
	static u64 page;

	page = page ? page : page_alloc();
	for (int i = 0; i < PAGES; i++) {
		*page_entry(AREA + 0x1000ull * (u64)i, 1) = flags ? page | flags : 0;
		invlpg(AREA + 0x1000ull * (u64)i);
	}
}

static void touch_area(void)
{
	for (int i = 0; i < PAGES; i++)
		(void)*(volatile u8 *)(AREA + 0x1000ull * (u64)i);
}

enum change { UNCHANGED, TO_NP, TO_P, TO_P_TOUCHED };

/* One pass over the area's entries, which lie in one page table; INVLPG where an operating system needs it. */
static u64 change_entries(enum change c)
{
	u64 *e = page_entry(AREA, 1), t;

	map_area(PTE_P | PTE_W);
	touch_area();
	if (c >= TO_P)
		for (int i = 0; i < PAGES; i++) {
			e[i] &= ~(u64)PTE_P;
			invlpg(AREA + 0x1000ull * (u64)i);
		}
	t = rdtsc();
	for (int i = 0; i < PAGES; i++) {
		volatile u64 *p = &e[i];

		if (c == UNCHANGED)
			*p = *p;
		else if (c == TO_NP)
			*p &= ~(u64)PTE_P;
		else
			*p |= PTE_P;
		if (c == TO_NP)
			invlpg(AREA + 0x1000ull * (u64)i);
		if (c == TO_P_TOUCHED)
			(void)*(volatile u8 *)(AREA + 0x1000ull * (u64)i);
	}
	return rdtsc() - t;
}

static void entries(void)
{
	static const char *const names[] = {"ptemod, unchanged", "ptemod, P to NP, INVLPG", "ptemod, NP to P",
					    "ptemod, NP to P and touched"};

	page_entry(AREA, 1);
	for (int c = UNCHANGED; c <= TO_P_TOUCHED; c++) {
		u64 best = ~0ull;

		for (int b = 0; b < BATCHES; b++) {
			u64 cycles = change_entries((enum change)c);

			best = cycles < best ? cycles : best;
		}
		say(names[c], best, PAGES);
	}
}

/* To another address space and back, touching eight pages in each: half of that is one switch. */
static u64 switches(u64 other)
{
	u64 own = read_cr3(), t = rdtsc();

	for (int i = 0; i < TIMES / 2; i++) {
		write_cr3(other);
		for (u64 p = 0; p < 8; p++)
			(void)*(volatile u8 *)(AREA + 0x1000 * p);
		write_cr3(own);
		for (u64 p = 0; p < 8; p++)
			(void)*(volatile u8 *)(AREA + 0x1000 * p);
	}
	return rdtsc() - t;
}

static void address_spaces(void)
{
	u64 other = page_alloc();

	map_area(PTE_P | PTE_W);
	memcpy((void *)other, (void *)(read_cr3() & PTE_ADDR), 4096);
	MEASURE("CR3 switch, 8 pages touched", switches(other));
}

static volatile u64 ticks;

static void tick(struct frame *f)
{
	ticks++;
	apic_eoi();
}

/* A fixed amount of work with the timer at about 10 kHz, less the same with it stopped, by the interrupts taken. */
static u64 spin(void)
{
	u64 t = rdtsc();

	for (volatile u64 i = 0; i < 60000000; i++)
		;
	return rdtsc() - t;
}

static void timer(void)
{
	u64 quiet = spin(), busy, again = spin();
	u32 per_100us;

	quiet = again < quiet ? again : quiet;
	apic_enable();
	trap_handle(0x40, tick);
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, 0x10040);
	apic_write(APIC_TMICT, ~0u);
	wait_us(10000);
	per_100us = (~0u - apic_read(APIC_TMCCT)) / 100;
	ticks = 0;
	apic_write(APIC_LVTT, 0x20040);
	apic_write(APIC_TMICT, per_100us);
	sti();
	busy = spin();
	cli();
	apic_write(APIC_TMICT, 0);
	report(ticks > 10, "timer interrupts came", "%lu", ticks);
	say("timer interrupt", busy > quiet ? busy - quiet : 0, ticks ? ticks : 1);
}

void metal_main(void)
{
	wrmsr(MSR_STAR, 0x001b000800000000ull);
	wrmsr(MSR_LSTAR, (u64)syscall_entry);
	wrmsr(MSR_FMASK, FL_IF);
	simple();
	MEASURE("syscall", syscalls());
	faults();
	entries();
	address_spaces();
	timer();
}
