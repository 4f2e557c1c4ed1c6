/* SPDX-License-Identifier: MIT */
/*
 * Operands of flat 32-bit user code under 64-bit paging, in loops that become hot: sums of base, index and displacement
 * are cut to 32 bits, and an access across 4 GiB goes on at 0, though a page is mapped above, too. Faults tell the
 * address that was cut. And runs of pushes and pops, of which one faults. For --memory=mapped as for the checked form.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"across 4 GiB*", "the upper part is read above 4 GiB, not at 0: SDM vol. 3, \"Segmentation in IA-32e Mode\""},
	{"a push across 4 GiB*", "the same"},
	{"a write by CS*", "access rights in compatibility mode: SDM vol. 3, \"Type Checking\""},
	{NULL, NULL}
};

#define EDGE (1ull << 32)
#define TOP 0xfffff000u
#define HOLE 0xffe10000u
#define RW (PTE_P | PTE_W | PTE_U)
enum { TURNS = 6000 };

USER_DATA volatile u32 narrow_words[64] aligned(64);
extern char n_fault_at[], n_cs_at[], n_ro_at[];
extern char n_push_at[], n_pop_at[], n_call_at[], w_push_at[], w_pop_at[], w_call_at[];

/* Each loop adds up what it reads in EAX. EBP counts. */
#define N(name, before, turn) "\n.globl " #name "\n" #name ": mov $0x23, %eax\n mov %eax, %ds\n mov %eax, %es\n" \
	"xor %eax, %eax\n mov $6000, %ebp\n" before "\n1: " turn "\n dec %ebp\n jnz 1b\n int $0x81\n"
/* In 64-bit code RSP begins each turn where RDI is; RSI is 16 bytes above the end of a page that may be read only. */
#define N64(name, turn) "\n.globl " #name "\n" #name ": mov $0xffe12010, %esi\n mov %rsp, %rdi\n mov $6000, %ebp\n" \
	"1: mov %rdi, %rsp\n" turn "\n dec %ebp\n jnz 1b\n int $0x81\n"
__asm__(".pushsection .user, \"ax\", @progbits\n.code32\n"
	N(n_index, "mov $narrow_words + 64, %ebx\n mov $-4, %ecx", "add (%ebx,%ecx,4), %eax")
	N(n_index_only, "mov $narrow_words, %ecx\n shr $2, %ecx\n or $0x40000000, %ecx", "add 4(,%ecx,4), %eax")
	N(n_both, "mov $0xfff00000, %ecx\n mov $narrow_words + 0x100000, %ebx",
	  "add 8(%ebx,%ecx), %eax\n add 4(%ecx,%ebx), %eax")
	N(n_up, "mov $narrow_words, %ebx\n sub $0x70000000, %ebx", "add 0x70000000(%ebx), %eax")
	N(n_half, "mov $narrow_words, %ebx\n sub $0x80000000, %ebx", "add 0x80000004(%ebx), %eax")
	N(n_down, "mov $4, %ebx", "add -8(%ebx), %eax")
	N(n_beyond, "mov $0xfffffff0, %ebx", "add 0x14(%ebx), %eax")
	N(n_high, "", "add 0xfffffff8, %eax")
	N(n_write, "mov $0xfffffff0, %ebx", "addl $1, 0x18(%ebx)\n mov 0x18(%ebx), %eax")
	N(n_across, "mov $0xfffffffe, %ebx", "mov (%ebx), %eax\n add $0x10001, %eax\n mov %eax, (%ebx)")
	N(n_wide, "mov $0xfffffff8, %ebx", "movups (%ebx), %xmm0\n movd %xmm0, %eax\n psrldq $8, %xmm0\n movd %xmm0, %ecx\n"
	  "add %ecx, %eax")
	N(n_push, "mov %esp, %edi\n mov $2, %esp", "push $0x12345678\n pop %eax\n call 2f\n jmp 3f\n 2: ret\n 3:")
	N(n_stack, "mov %esp, %edi\n mov $8, %esp", "push %ebp\n push %ebp\n push $7\n mov 4(%esp), %ecx\n sub %ebp, %ecx\n"
	  "add %ecx, %eax\n pop %ecx\n add %ecx, %eax\n add $8, %esp")
	N(n_fault, "mov $narrow_words, %ebx\n mov $0xffe10000, %ecx\n sub %ebx, %ecx",
	  "cmp $1, %ebp\n je 2f\n mov (%ebx), %eax\n jmp 3f\n 2: mov %ecx, %esi\n n_fault_at: mov 4(%ebx,%esi), %eax\n 3:")
	N(n_ro, "mov $0xffe11000, %ebx", "mov (%ebx), %eax\n cmp $1, %ebp\n jne 3f\n n_ro_at: mov %eax, 0x10(%ebx)\n 3:")
	N(n_cs, "mov $narrow_words, %ebx",
	  "mov %cs:(%ebx), %eax\n cmp $1, %ebp\n jne 3f\n n_cs_at: mov %eax, %cs:(%ebx)\n 3:")
	N(n_short, "mov $0x12340000, %ebx", "add %cs:4(%bx), %eax")
	N(n_high_byte, "mov $narrow_words, %ebx", "mov (%ebx), %ah\n mov %ah, 1(%ebx)")
	N(n_pushes, "mov %esp, %edi", "mov %edi, %esp\n cmp $1, %ebp\n jne 2f\n mov $0xffe12008, %esp\n"
	  "2: push %eax\n push %ecx\n n_push_at: push %edx\n pop %edx\n pop %ecx\n pop %eax")
	N(n_pops, "mov %esp, %edi", "mov %edi, %esp\n push $5\n push $6\n push $7\n cmp $1, %ebp\n jne 2f\n"
	  "mov $0xffe12ff8, %esp\n 2: pop %edx\n pop %ecx\n n_pop_at: pop %esi")
	N(n_call, "mov %esp, %edi", "mov %edi, %esp\n cmp $1, %ebp\n jne 2f\n mov $0xffe12004, %esp\n"
	  "2: push %eax\n n_call_at: call 3f\n jmp 4f\n 3: ret\n 4: pop %eax")
	".code64\n.globl n_touch\nn_touch: movabs $0x100000000, %rdi\n mov (%rdi), %eax\n mov %eax, (%rdi)\n"
	"mov %eax, -8(%rdi)\n mov (%rdi), %eax\n int $0x81\n"
	N64(w_pushes, "cmp $1, %ebp\n jne 2f\n mov %rsi, %rsp\n 2: push %rax\n push $5\n w_push_at: push %r9\n pop %r9\n"
	    "pop %rcx\n pop %rax")
	N64(w_pops, "push $5\n push $6\n push $7\n cmp $1, %ebp\n jne 2f\n lea 0xfe0(%rsi), %rsp\n"
	    "2: pop %rdx\n pop %r10\n w_pop_at: pop %rcx")
	N64(w_call, "cmp $1, %ebp\n jne 2f\n lea -8(%rsi), %rsp\n 2: push %rax\n w_call_at: call 3f\n jmp 4f\n 3: ret\n"
	    "4: pop %rax")
	".popsection");

#define CASES(_) _(n_index) _(n_index_only) _(n_both) _(n_up) _(n_half) _(n_down) _(n_beyond) _(n_high) _(n_write) \
	_(n_across) _(n_wide) _(n_push) _(n_stack) _(n_fault) _(n_ro) _(n_cs) _(n_short) _(n_high_byte) _(n_touch) \
	_(n_pushes) _(n_pops) _(n_call) _(w_pushes) _(w_pops) _(w_call)
#define DECLARE(name) void name(void);
CASES(DECLARE)

static u8 *top, *bottom, *above;

static void map_ends(void)
{
	u64 low = page_alloc();

	top = (u8 *)page_alloc();
	bottom = (u8 *)page_alloc();
	above = (u8 *)page_alloc();
	for (u64 i = 0; i < 512; i++)
		((u64 *)low)[i] = i << 12 | PTE_P | PTE_W;
	((u64 *)low)[0] = (u64)bottom | RW;
	*page_entry(0, 2) = low | RW;
	*page_entry(0xffe00000, 2) = 0;
	page_map(TOP, (u64)top | RW);
	page_map(EDGE, (u64)above | RW);
	page_map(HOLE + 0x1000, page_alloc() | PTE_P | PTE_U);
	page_map(HOLE + 0x2000, page_alloc() | RW);
	write_cr3(read_cr3());
}

static u32 *word(u8 *page, u32 off)
{
	return (u32 *)(page + off);
}

static void fill(void)
{
	for (u32 i = 0; i < 4096; i += 4) {
		*word(top, i) = 0x1000 + i;
		*word(bottom, i) = 0x2000 + i;
		*word(above, i) = 0x30000000;
	}
	for (u32 i = 0; i < 64; i++)
		narrow_words[i] = 0x100 + i;
}

static u32 go(void (*code)(void))
{
	fill();
	user_run_flags(code, 0, FL_1, SEL_USER_CODE32, user_stack_top - 64);
	__asm__ volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(SEL_DATA));
	return (u32)trap.f.rax;
}

static void sums(void)
{
	check_eq("an index of -4", go(n_index), TURNS * 0x10c);
	check_eq("an index that wraps", go(n_index_only), TURNS * 0x101);
	check_eq("base and index that wrap", go(n_both), TURNS * 0x203);
	check_eq("a displacement that wraps", go(n_up), TURNS * 0x100);
	check_eq("a displacement of 2 GiB", go(n_half), TURNS * 0x101);
	check_eq("below 0", go(n_down), TURNS * (0x1000 + 0xffc));
	check_eq("beyond 4 GiB", go(n_beyond), TURNS * 0x2004);
	check_eq("an absolute address", go(n_high), TURNS * (0x1000 + 0xff8));
	check_eq("writes beyond 4 GiB", go(n_write), 0x2008 + TURNS);
	check_eq("writes beyond 4 GiB: where", *word(bottom, 8), 0x2008 + TURNS);
	check_eq("16-bit addresses", go(n_short), TURNS * 0x2004);
	go(n_high_byte);
	check_eq("AH", narrow_words[0], 0);
}

/* To AMD's processors it is beyond the segment's limit. */
static void refused_edge(void)
{
	user_run(n_touch, 0);
	go(n_across);
	check_eq("across 4 GiB: refused", trap.vector << 16 | trap.f.error, GP << 16);
	go(n_wide);
	check_eq("across 4 GiB: a vector is refused", trap.vector << 16 | trap.f.error, GP << 16);
	go(n_push);
	check_eq("a push across 4 GiB is refused", trap.vector << 16 | trap.f.error, SS << 16);
	check_eq("across 4 GiB: nothing above", *word(above, 0), 0x30000000);
	check_eq("a stack below 0", go(n_stack), TURNS * 7);
}

static void edge(void)
{
	u32 want;

	fill();
	user_run(n_touch, 0);
	fill();
	want = (*word(top, 0xffc) >> 16) + (*word(bottom, 0) << 16) + 0x10001u * TURNS;
	check_eq("across 4 GiB: read and written", go(n_across), want);
	check_eq("across 4 GiB: where", *word(top, 0xffc) >> 16 | *word(bottom, 0) << 16, want);
	check_eq("across 4 GiB: nothing above", *word(above, 0), 0x30000000);
	check_eq("across 4 GiB: a vector", go(n_wide), 0x1000 + 0xff8 + 0x2000);
	check_eq("a push across 4 GiB", go(n_push), 0x12345678);
	check_eq("a push across 4 GiB: nothing above", *word(above, 0), 0x30000000);
	check_eq("a stack below 0", go(n_stack), TURNS * 7);
}

static void faults(void)
{
	go(n_fault);
	check_trap("a hole", PF, PTE_U, (u64)n_fault_at);
	check_eq("a hole: CR2", read_cr2(), HOLE + 4);
	go(n_ro);
	check_trap("a page that may be read", PF, PTE_P | PTE_W | PTE_U, (u64)n_ro_at);
	check_eq("a page that may be read: CR2", read_cr2(), HOLE + 0x1010);
	go(n_cs);
	check_trap("a write by CS", GP, 0, (u64)n_cs_at);
}

/* The third, or a call: RSP is as the others left it. */
static void run(const char *name, void (*code)(void), bool wide, bool write, const char *at, u32 where, u32 rsp)
{
	static char text[80];

	if (wide)
		user_run(code, 0);
	else
		go(code);
	format(text, sizeof(text), "%s, %d bits", name, wide ? 64 : 32);
	check_trap(text, PF, write ? PTE_P | PTE_W | PTE_U : PTE_U, (u64)at);
	check_eq(text, read_cr2(), HOLE + where);
	check_eq(text, trap.f.rsp, HOLE + rsp);
}

static void runs(void)
{
	run("pushes", n_pushes, false, true, n_push_at, 0x1ffc, 0x2000);
	run("pushes", w_pushes, true, true, w_push_at, 0x1ff8, 0x2000);
	run("pops", n_pops, false, false, n_pop_at, 0x3000, 0x3000);
	run("pops", w_pops, true, false, w_pop_at, 0x3000, 0x3000);
	run("a push and a call", n_call, false, true, n_call_at, 0x1ffc, 0x2000);
	run("a push and a call", w_call, true, true, w_call_at, 0x1ff8, 0x2000);
}

void metal_main(void)
{
	map_ends();
	for (unsigned i = 0; i < 2; i++) {
		sums();
		(is_amd() ? refused_edge : edge)();
		faults();
		runs();
	}
}
