/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic flags that nobody reads, but a page fault shows: each instruction that produces flags, and each way from
 * there to an access that faults - straight on, with the operands overwritten, over branches, calls, returns, indirect
 * jumps and round loops. The frame's flags must be those that PUSHF finds right behind the instruction. Each way runs
 * many times without a fault first, so that it is met in every form a translator may give it.
 *
 * Registers of a way: operands in RAX, RBX, RCX and at 64(%r11); R8: the address that faults in the end; RDI: the flags
 * before; R11: a table of addresses, of which the first is R8.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{"*", "undefined flags"}, {0}};

#define VA_NONE 0x7f0000200000ull

enum { WAYS = 9, WARM = 150 };

struct producer {
	const char *name;
	void (*plain)(void), (*way[WAYS])(void);
	u64 undefined;
};

__asm__(
	".altmacro\n"
	".macro begin label\n .p2align 4\n\\label: mov %rsp, %rbp\n push %rdi\n popfq\n .endm\n"
	".macro finish\n mov %rbp, %rsp\n ret\n .endm\n"
	".macro moved\n lea 3(%rax), %rax\n lea 7(%rbx), %rbx\n mov $77, %ecx\n .endm\n"
	/* name, flags undefined, bit 0: moves RSP, bit 1: reads flags; the instruction */
	".macro producer name, undefined, kind, insn:vararg\n"
	"begin w\\@_plain\n \\insn\n pushfq\n pop %rdx\n finish\n"
	"begin w\\@_0\n \\insn\n mov (%r8), %r9\n finish\n"
	"begin w\\@_1\n \\insn\n moved\n mov (%r8), %r9\n finish\n"
	"begin w\\@_2\n \\insn\n jz 1f\n lea 3(%rax), %rax\n mov (%r11), %r9\n lea 3(%rbx), %rbx\n"
	"1: mov (%r8), %r9\n finish\n"
	"begin w\\@_3\n \\insn\n jc 1f\n mov (%r8), %r9\n finish\n .skip 64, 0x90\n"
	"1: mov %r11, %rbx\n mov (%r8), %r9\n finish\n"
	"begin w\\@_4\n \\insn\n call 1f\n finish\n1: mov (%r8), %r9\n ret\n"
	".if \\kind & 1\n"
	"begin w\\@_5\n \\insn\n pop %r9\n pop %r9\n moved\n push %rax\n mov (%r8), %r9\n finish\n"
	".else\n"
	"begin w\\@_5\n call 1f\n moved\n mov (%r8), %r9\n finish\n1: \\insn\n ret\n"
	".endif\n"
	"begin w\\@_6\n lea 1f(%rip), %r10\n \\insn\n jmp *%r10\n1: mov (%r11), %rbx\n mov (%r8), %r9\n finish\n"
	/* round a loop: the access at its top faults the fourth time; flags before are those of the last time */
	"begin w\\@_7\n mov %rax, %r12\n mov %rbx, %r13\n mov %rcx, %r14\n mov $3, %r15d\n"
	"1: mov (%r11,%r15,8), %rdx\n mov (%rdx), %r9\n mov %rsi, 64(%r11)\n"
	"mov %r12, %rax\n mov %r13, %rbx\n mov %r14, %rcx\n lea -1(%r15), %r15\n"
	".if \\kind & 1\n mov %rbp, %rsp\n .endif\n"
	".if \\kind & 2\n push %rdi\n popfq\n .endif\n"
	"\\insn\n mov %r15, %rcx\n lea 1(%rcx), %rcx\n jrcxz 2f\n jmp 1b\n2: finish\n"
	/* a loop whose branch reads the flags; the access behind it */
	"begin w\\@_8\n mov %rax, %r12\n mov %rbx, %r13\n mov %rcx, %r14\n mov $2, %r15d\n"
	"1: mov %rsi, 64(%r11)\n mov %r12, %rax\n mov %r13, %rbx\n mov %r14, %rcx\n lea -1(%r15), %r15\n"
	".if \\kind & 1\n mov %rbp, %rsp\n .endif\n"
	".if \\kind & 2\n push %rdi\n popfq\n .endif\n"
	"\\insn\n jns 3f\n mov (%r11), %rbx\n3: mov %r15, %rcx\n jrcxz 2f\n js 1b\n jns 1b\n"
	"2: moved\n mov (%r8), %r9\n finish\n"
	".pushsection .rodata\n4: .asciz \"\\name\"\n .popsection\n"
	".pushsection .producers, \"aw\", @progbits\n .quad 4b, w\\@_plain, w\\@_0, w\\@_1, w\\@_2, w\\@_3, "
	"w\\@_4, w\\@_5, w\\@_6, w\\@_7, w\\@_8, \\undefined\n .popsection\n"
	".endm\n"
	".pushsection .producers, \"aw\", @progbits\n .globl producers\n producers:\n .popsection\n"
	"producer <cmp of 64 bits>, 0, 0, cmp %rbx, %rax\n"
	"producer <cmp of 32 bits>, 0, 0, cmp %ebx, %eax\n"
	"producer <cmp of 16 bits>, 0, 0, cmp %bx, %ax\n"
	"producer <cmp of 8 bits>, 0, 0, cmp %bl, %al\n"
	"producer <cmp of a high byte>, 0, 0, cmp %bh, %al\n"
	"producer <cmp with an immediate>, 0, 0, cmp $0x7f, %rax\n"
	"producer <cmp with itself>, 0, 0, cmp %rax, %rax\n"
	"producer <cmp of memory>, 0, 0, cmp %rax, 64(%r11)\n"
	"producer <cmp with memory>, 0, 0, cmp 64(%r11), %ax\n"
	"producer <cmp of memory with an immediate>, 0, 0, cmpb $5, 64(%r11)\n"
	"producer <test>, 0x10, 0, test %rbx, %rax\n"
	"producer <test with itself>, 0x10, 0, test %eax, %eax\n"
	"producer <test of memory>, 0x10, 0, testl $0x80ff, 64(%r11)\n"
	"producer <add>, 0, 0, add %rbx, %rax\n"
	"producer <add of 8 bits>, 0, 0, add %bl, %al\n"
	"producer <add to itself>, 0, 0, add %rax, %rax\n"
	"producer <add of an immediate>, 0, 0, add $-8, %eax\n"
	"producer <add of memory>, 0, 0, add 64(%r11), %rax\n"
	"producer <add to memory>, 0, 0, add %rax, 64(%r11)\n"
	"producer <sub>, 0, 0, sub %ebx, %eax\n"
	"producer <sub from itself>, 0, 0, sub %rax, %rax\n"
	"producer <sub of memory>, 0, 0, sub 64(%r11), %rax\n"
	"producer <sub from rsp>, 0, 1, sub $0x28, %rsp\n"
	"producer <add to rsp>, 0, 1, add $-0x28, %rsp\n"
	"producer <and>, 0x10, 0, and %rbx, %rax\n"
	"producer <or of memory>, 0x10, 0, or 64(%r11), %eax\n"
	"producer <xor>, 0x10, 0, xor %bx, %ax\n"
	"producer <xor with itself>, 0x10, 0, xor %eax, %eax\n"
	"producer <xor of memory>, 0x10, 0, xor %rbx, 64(%r11)\n"
	"producer <neg>, 0, 0, neg %rax\n"
	"producer <neg of 8 bits>, 0, 0, neg %al\n"
	"producer <neg of memory>, 0, 0, negl 64(%r11)\n"
	"producer <inc>, 0, 2, inc %rax\n"
	"producer <dec of memory>, 0, 2, decl 64(%r11)\n"
	"producer <adc>, 0, 2, adc %rbx, %rax\n"
	"producer <adc of an immediate>, 0, 2, adc $0, %eax\n"
	"producer <adc of memory>, 0, 2, adc 64(%r11), %rax\n"
	"producer <sbb>, 0, 2, sbb %rbx, %rax\n"
	"producer <sbb from itself>, 0, 2, sbb %rax, %rax\n"
	"producer <shl>, 0x810, 0, shl $3, %rax\n"
	"producer <shl by 1>, 0x10, 0, shl $1, %eax\n"
	"producer <shr>, 0x810, 0, shr $5, %eax\n"
	"producer <sar>, 0x810, 0, sar $9, %rax\n"
	"producer <shl by cl>, 0x810, 2, shl %cl, %rax\n"
	"producer <shld>, 0x810, 0, shld $5, %rbx, %rax\n"
	"producer <rol>, 0x800, 2, rol $3, %rax\n"
	"producer <imul>, 0xd4, 0, imul %rbx, %rax\n"
	"producer <imul by itself>, 0xd4, 0, imul %eax, %eax\n"
	"producer <imul by an immediate>, 0xd4, 0, imul $77, %rbx, %rax\n"
	"producer <bt>, 0x894, 2, bt %rbx, %rax\n"
	"producer <bts in memory>, 0x894, 2, btsl $3, 64(%r11)\n"
	"producer <bsf>, 0x895, 2, bsf %rbx, %rax\n"
	"producer <xadd>, 0, 0, xadd %rbx, %rax\n"
	"producer <cmpxchg>, 0, 0, cmpxchg %rbx, 64(%r11)\n"
	"producer <lock add>, 0, 0, lock addl %ebx, 64(%r11)\n"
	"producer <sahf>, 0, 2, sahf\n"
	"producer <stc>, 0, 2, stc\n"
	"producer <nothing>, 0, 2, nop\n"
	".noaltmacro\n"
	".pushsection .producers, \"aw\", @progbits\n .quad 0\n .popsection\n");

extern struct producer producers[];

static u64 table[32];

static u64 random_state = 0x9e3779b97f4a7c15ull;

static u64 random64(void)
{
	static const u64 extremes[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffffull, 0x8000000000000000ull, ~0ull};

	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 60 < 6 ? extremes[random_state % ARRAY_SIZE(extremes)] : random_state >> (random_state & 63);
}

struct operands {
	u64 rax, rbx, rcx, memory, flags;
};

static u64 run(void (*fn)(void), const struct operands *o, u64 address)
{
	register u64 r8 __asm__("r8") = address;
	register u64 r11 __asm__("r11") = (u64)table;
	u64 flags = 0, a = o->rax, b = o->rbx, c = o->rcx, d = o->flags, s = o->memory;

	table[0] = address;
	table[8] = o->memory;
	for (int i = 1; i < 8; i++)
		table[i] = (u64)&table[16];
	TRY("push %%rbp\n\tcall *%[fn]\n\tpop %%rbp", "=d"(flags), "+a"(a), "+b"(b), "+c"(c), "+D"(d), "+S"(s),
		"+r"(r8), "+r"(r11)
		: [fn] "m"(fn)
		: "r9", "r10", "r12", "r13", "r14", "r15", "memory", "cc");
	return flags;
}

static bool one(const struct producer *p, unsigned way, u64 *got, u64 *want)
{
	struct operands o = {random64(), random64(), random64() & 0xff, random64(), random64() & FL_ARITH};

	if (random64() & 1)
		o.rbx = o.memory = o.rax;
	*want = run(p->plain, &o, (u64)&table[16]) & FL_ARITH & ~p->undefined;
	run(p->way[way], &o, VA_NONE);
	*got = trap.vector == PF ? trap.f.rflags & FL_ARITH & ~p->undefined : ~0ull;
	return *got == *want;
}

static void warm_up(const struct producer *p, unsigned way)
{
	struct operands o = {random64(), random64(), 3, random64(), 0};

	for (u64 i = 0; i < scaled(WARM); i++)
		run(p->way[way], &o, (u64)&table[16]);
}

void metal_main(void)
{
	for (const struct producer *p = producers; p->name; p++) {
		unsigned wrong = 0, first = 0;
		u64 got = 0, want = 0, g, w;

		for (unsigned way = 0; way < WAYS; way++) {
			warm_up(p, way);
			for (int i = 0; i < 12; i++)
				if (!one(p, way, &g, &w) && !wrong++)
					first = way, got = g, want = w;
		}
		report(!wrong, p->name, "%u wrong, first on way %u: flags %llx, should be %llx", wrong, first,
		       (unsigned long long)got, (unsigned long long)want);
	}
}
