/* SPDX-License-Identifier: MIT */
/*
 * Loops over memory whose accesses a translator may check before they begin: with counters that go up and down,
 * from and to constants, entered with other values than those that stand before them, around one another, with
 * pushes in a row. Each runs where its memory lies in one page, over the border of two, and into a page that is
 * not there, at every offset around it; what it leaves, or the frame of its fault, must be what the same code
 * gives in single steps.
 *
 * Registers of a loop: RSI: what is read; RDI: what is written; R12: more to read; R8: a number; R11: a stack.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define VA_READ 0x7f0000400000ull
#define VA_WRITE 0x7f0000500000ull
#define VA_STACK 0x7f0000600000ull

enum { WARM = 200 };

struct loop {
	const char *name;
	void (*fn)(void);
};

#define LOOP(name, code) \
	".p2align 4\n5: mov %rsp, loop_rsp(%rip)\n" code "\n mov loop_rsp(%rip), %rsp\n ret\n" \
	".pushsection .rodata\n6: .asciz \"" name "\"\n.popsection\n" \
	".pushsection .loops, \"aw\", @progbits\n.quad 6b, 5b\n.popsection\n"

__asm__(
	".pushsection .loops, \"aw\", @progbits\n.globl loops\nloops:\n.popsection\n"
	LOOP("up until equal",
	     "mov $8, %ebx; xor %edx, %edx; 1: mov (%rsi,%rbx), %rax; add %rax, %rdx; mov %rdx, (%rdi,%rbx); "
	     "add $8, %rbx; cmp $0x80, %rbx; jne 1b")
	LOOP("up while below",
	     "xor %ecx, %ecx; 1: mov 4(%rsi,%rcx,8), %eax; add $1, %ecx; mov %eax, -8(%rdi,%rcx,8); "
	     "cmp $17, %ecx; jb 1b")
	LOOP("up while less or equal",
	     "mov $-16, %rcx; 1: movzbl 16(%rsi,%rcx), %eax; add %eax, %edx; mov %dl, 16(%rdi,%rcx); "
	     "lea 3(%rcx), %rcx; cmp $16, %rcx; jle 1b")
	LOOP("down to zero",
	     "mov $24, %ecx; xor %edx, %edx; 1: add (%rsi,%rcx,4), %edx; mov %edx, 4(%rdi,%rcx,4); dec %ecx; "
	     "jnz 1b")
	LOOP("down to one",
	     "mov $13, %rcx; 1: mov (%rsi,%rcx,2), %ax; xor %ax, (%rdi,%rcx,2); sub $2, %rcx; cmp $1, %rcx; "
	     "jne 1b")
	LOOP("from below to zero",
	     "mov $-96, %rbx; 1: movdqu 96(%rsi,%rbx), %xmm0; movdqu %xmm0, 96(%rdi,%rbx); add $16, %rbx; "
	     "jnz 1b")
	LOOP("left in the middle",
	     "xor %ebx, %ebx; 1: mov (%rsi,%rbx,8), %rax; mov %rax, (%rdi,%rbx,8); cmp %r8, %rbx; je 2f; "
	     "inc %rbx; cmp $20, %rbx; jne 1b; 2: mov %rbx, %rdx")
	LOOP("entered with another counter",
	     "mov $5, %ebx; test $1, %r8b; jnz 1f; mov $2, %ebx; 1: mov (%rsi,%rbx,8), %rax; "
	     "add %rax, (%rdi,%rbx,8); add $1, %rbx; cmp $12, %rbx; jne 1b")
	LOOP("entered beyond its end",
	     "mov $30, %ebx; test $1, %r8b; jnz 1f; mov $2, %ebx; 1: mov (%rsi,%rbx,8), %rax; "
	     "add %rax, (%rdi,%rbx,8); add $1, %ebx; cmp $12, %ebx; jb 1b")
	LOOP("one behind the other",
	     "mov $0, %ebx; 1: mov (%rsi,%rbx), %rax; add $8, %rbx; add %rax, %rdx; cmp $0x20, %rbx; jne 1b; "
	     "2: mov (%rsi,%rbx), %rcx; mov %rcx, (%rdi,%rbx); add $8, %rbx; cmp $0x40, %rbx; jne 2b")
	LOOP("within another",
	     "mov $6, %r9d; 2: mov $0, %ebx; 1: mov (%rsi,%rbx,8), %rax; mov (%r12,%rbx,8), %rcx; "
	     "xor %rcx, %rax; mov %rax, 16(%rdi,%rbx,8); inc %rbx; cmp $3, %rbx; jne 1b; mov (%rdi), %rdx; "
	     "add $24, %rsi; add $8, %rdi; dec %r9d; jnz 2b")
	LOOP("seldom left",
	     "mov $7, %r9d; 2: mov (%rsi,%r9,8), %rax; test $7, %al; jz 3f; 4: mov %rax, (%rdi,%r9,8); "
	     "mov 8(%rdi), %rdx; dec %r9; jnz 2b; mov loop_rsp(%rip), %rsp; ret; 3: mov 64(%rsi), %rbx; "
	     "lea 8(%rsi), %rsi; jmp 4b")
	LOOP("pushes and pops",
	     "mov %r11, %rsp; mov $9, %ecx; 1: push %rax; push %rcx; push $-77; push %r15; push %rsi; "
	     "pop %rdx; pop %r15; pop %r9; pop %rcx; pop %rax; lea -8(%rsp), %rsp; sub $1, %ecx; jnz 1b")
	LOOP("calls",
	     "mov %r11, %rsp; mov $9, %ecx; 1: push %rcx; push %r14; sub $24, %rsp; mov %rcx, 8(%rsp); "
	     "call 2f; add $24, %rsp; pop %r14; pop %rcx; lea -16(%rsp), %rsp; dec %ecx; jnz 1b; "
	     "mov loop_rsp(%rip), %rsp; ret; 2: push %rbx; push %r13; xor %ebx, %ebx; add $5, %ebx; pop %r13; "
	     "pop %rbx; ret")
	".pushsection .loops, \"aw\", @progbits\n.quad 0\n.popsection\n");

extern struct loop loops[];

struct outcome {
	int vector;
	u64 cr2, rflags, rip, rsp;
	u64 gpr[15]; /* as in struct frame */
};

static u8 *memory[3][2];
static u64 seed;

static u64 random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill(void)
{
	seed = 0x9e3779b97f4a7c15ull;
	for (int area = 0; area < 3; area++)
		for (int page = 0; page < 2; page++)
			for (int i = 0; i < 512; i++)
				((u64 *)memory[area][page])[i] = random64();
}

static u64 sum(void)
{
	u64 s = 0;

	for (int area = 0; area < 3; area++)
		for (int page = 0; page < 2; page++)
			for (int i = 0; i < 512; i++)
				s = (s << 7 | s >> 57) ^ (((u64 *)memory[area][page])[i] + (u64)i);
	return s;
}

static void on_step(struct frame *f)
{
	(void)f;
}

/* With these registers, and these flags besides; back with what it leaves. */
u64 loop_regs[15], loop_flags, loop_rsp;
void (*loop_fn)(void);
void loop_run(void);
__asm__(
	".macro each load, regs:vararg\n .set at, 0\n .irp r, \\regs\n .if \\load\n mov loop_regs+at(%rip), %\\r\n"
	" .else\n mov %\\r, loop_regs+at(%rip)\n .endif\n .set at, at + 8\n .endr\n .endm\n"
	"loop_run: each 1, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbx, rdx, rcx, rax\n"
	"pushfq\n push loop_flags(%rip)\n popfq\n call *loop_fn(%rip)\n pushfq\n popq loop_flags(%rip)\n popfq\n"
	"each 0, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbx, rdx, rcx, rax\n ret\n");

static struct outcome run(const struct loop *l, const u64 *at, u64 number, bool steps)
{
	const u64 regs[15] = {15, 14, 13, VA_READ + 0x800, at[2], 10, 9, number, at[1], at[0], 2, 4, 3, 1};
	struct outcome o = {0};

	memcpy(loop_regs, regs, sizeof(regs));
	loop_fn = l->fn;
	loop_flags = FL_1 | (steps ? FL_TF : 0);
	TRY("call loop_run", : : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
	    "r15", "memory", "cc");
	__asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	o.vector = trap.vector;
	if (trap.vector == NO_TRAP) {
		memcpy(o.gpr, loop_regs, sizeof(o.gpr));
		o.rflags = loop_flags & FL_ARITH;
	} else {
		o.cr2 = trap.cr2;
		o.rflags = trap.f.rflags & FL_ARITH;
		o.rip = trap.f.rip;
		o.rsp = trap.f.rsp;
		memcpy(o.gpr, (const void *)&trap.f, sizeof(o.gpr));
	}
	return o;
}

static unsigned wrong;
static bool slow; /* stress settings: a few of all places */

static void one(const struct loop *l, const u64 *at, u64 number)
{
	struct outcome want, got;
	u64 want_sum, got_sum;

	fill();
	want = run(l, at, number, true);
	want_sum = sum();
	for (int i = 0; i < 3; i++) {
		fill();
		got = run(l, at, number, false);
		got_sum = sum();
		if (!memcmp(&got, &want, sizeof(got)) && got_sum == want_sum)
			continue;
		if (!wrong++)
			print("%s at %llx, %llx, %llx, %llu: vector %d, should be %d; rip %llx, %llx; cr2 %llx, %llx; flags "
			      "%llx, %llx; memory %s\n", l->name, (unsigned long long)at[0], (unsigned long long)at[1],
			      (unsigned long long)at[2], (unsigned long long)number, got.vector, want.vector,
			      (unsigned long long)got.rip, (unsigned long long)want.rip, (unsigned long long)got.cr2,
			      (unsigned long long)want.cr2, (unsigned long long)got.rflags, (unsigned long long)want.rflags,
			      got_sum == want_sum ? "right" : "wrong");
	}
}

/* Reading, writing or the stack at a page's border, the others within a page. */
static void around(const struct loop *l, unsigned which, u64 border)
{
	u64 at[3] = {VA_READ + 0x400, VA_WRITE + 0x400, VA_STACK + 0x400}, number = 0;

	for (int off = -0x110; off <= 0x90; off += slow ? 0x74 : off & 7 ? 4 : 12) {
		at[which] = border + (u64)(s64)off;
		one(l, at, number);
		one(l, at, number + 1);
		number = (number + 2) % 24;
	}
}

static void test(const struct loop *l)
{
	static const u64 areas[] = {VA_READ, VA_WRITE, VA_STACK};
	u64 inside[3] = {VA_READ + 0x400, VA_WRITE + 0x400, VA_STACK + 0x400};

	wrong = 0;
	for (u64 i = 0; i < scaled(WARM); i++)
		run(l, inside, i % 24, false);
	for (unsigned which = 0; which < 3; which++) {
		around(l, which, areas[which] + 0x1000);
		if (slow)
			continue;
		around(l, which, areas[which] + 0x2000);
		around(l, which, areas[which]);
	}
	report(!wrong, l->name, "%u wrong", wrong);
}

void metal_main(void)
{
	static const u64 areas[] = {VA_READ, VA_WRITE, VA_STACK};

	for (int area = 0; area < 3; area++)
		for (int page = 1; page >= 0; page--) { /* not one behind the other */
			memory[area][page] = (u8 *)page_alloc();
			page_map(areas[area] + 0x1000u * (u64)page, (u64)memory[area][page] | PTE_P | PTE_W);
		}
	slow = scaled(50) < 50;
	trap_handle(DB, on_step);
	idt[DB].ist = 2;
	for (const struct loop *l = loops; l->name; l++)
		test(l);
}
