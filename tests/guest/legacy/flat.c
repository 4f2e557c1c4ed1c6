/* SPDX-License-Identifier: MIT */
/*
 * Flat 32-bit code at the ends of the address space, in loops that become hot: stack pointers, displacements and string
 * instructions that wrap at 4 GiB. Both ends are mapped to memory of their own. And what 16-bit code does with
 * segments, over and over: loads, near branches beyond the limit, the same code by two segments.
 */
#include "lib/legacy.h"

#ifndef TURNS
#define TURNS 20000
#endif
enum { CODE_SEG = 0x1000 };

static u32 pd[1024] aligned(4096), low_table[1024] aligned(4096), high_table[1024] aligned(4096);
static u8 top[4096] aligned(4096), bottom[4096] aligned(4096);

static void map_ends(void)
{
	for (u32 i = 0; i < 1024; i++) {
		pd[i] = i << 22 | PTE_PS | PTE_W | PTE_P;
		low_table[i] = i << 12 | PTE_W | PTE_P;
		high_table[i] = (i | 0xffc00) << 12 | PTE_W | PTE_P;
	}
	low_table[0] = (u32)bottom | PTE_W | PTE_P;
	high_table[1023] = (u32)top | PTE_W | PTE_P;
	pd[0] = (u32)low_table | PTE_W | PTE_P;
	pd[1023] = (u32)high_table | PTE_W | PTE_P;
	set_cr4(get_cr4() | CR4_PSE);
	set_cr3((u32)pd);
	set_cr0(get_cr0() | CR0_PG);
}

static u32 word_at(const u8 *page, u32 off)
{
	return *(const volatile u32 *)(page + (off & 0xfff));
}

/* ESP goes from `from` down over the end and up again, TURNS times: what it has pushed is where it should be. */
static u32 stack_turns(u32 from)
{
	u32 sum = 0, turns = TURNS;

	__asm__ volatile("mov %%esp, %%esi; mov %2, %%esp\n"
			 "1: push $1; push %1; sub $8, %%esp; movl $3, 4(%%esp); movl $4, (%%esp); mov 8(%%esp), %%edx;"
			 "add %%edx, %0; add $8, %%esp; pop %%edx; add %%edx, %0; pop %%edx; add %%edx, %0;"
			 "lea -0x20(%%esp), %%esp; movl $5, 0x1c(%%esp); addl $2, 0x18(%%esp); mov 0x1c(%%esp), %%edx;"
			 "add %%edx, %0; lea 0x20(%%esp), %%esp; call 2f; jmp 3f; 2: push %%ebp; mov %%esp, %%ebp;"
			 "mov 4(%%ebp), %%edx; leave; ret; 3: dec %1; jnz 1b; mov %%esi, %%esp"
			 : "+&r"(sum), "+&r"(turns) : "r"(from) : "edx", "esi", "memory");
	return sum;
}

static void stack_test(void)
{
	u32 n = TURNS, want = n * (n + 1) + n * (1 + 5);

	for (u32 from = 0; from <= 0x30; from += is_amd() ? 4 : 2) /* AMD: #SS across the end */
		check_eq("sum of a stack at the bottom", stack_turns(from), want);
	for (u32 from = 0xffffffd0; from; from += 4)
		check_eq("sum of a stack at the top", stack_turns(from), want);
	stack_turns(4);
	check_eq("below 0", word_at(top, 0xff8) << 8 | word_at(top, 0xff4), 0x304);
}

static void displacement_test(void)
{
	u32 a = 0, b = 0, want_a = 0, want_b = 0, base, x;

	for (u32 i = 0; i < 1024; i++) {
		((volatile u32 *)top)[i] = 0x1000000 + i;
		((volatile u32 *)bottom)[i] = 0x2000000 + i;
	}
	for (u32 turn = 0; turn < TURNS; turn++) {
		base = turn & 0x3c;
		__asm__ volatile("mov -0x40(%1), %0; add -0x44(%1), %0; add -0x48(%1), %0"
				 : "=&r"(x) : "r"(base) : "memory");
		a += x;
		base = 0xffffffc0 + (turn & 0x3c);
		__asm__ volatile("mov 0x40(%1), %0; add 0x44(%1), %0; add 0x48(%1), %0; addl $0, 0x4c(%1)"
				 : "=&r"(x) : "r"(base) : "memory");
		b += x;
		__asm__ volatile("mov 0x7fffffff(%1, %2, 2), %0" : "=&r"(x) : "r"(0x80000001), "r"(turn & 7) : "memory");
		b += x;
		__asm__ volatile("mov -8(, %1, 4), %0" : "=&r"(x) : "r"(turn & 3) : "memory");
		a += x;
	}
	for (u32 turn = 0; turn < TURNS; turn++) {
		for (u32 d = 0x40; d <= 0x48; d += 4)
			want_a += 0x1000000 + (((turn & 0x3c) - d) >> 2 & 1023);
		for (u32 d = 0; d <= 8; d += 4)
			want_b += 0x2000000 + ((turn & 0x3c) + d) / 4;
		x = (turn & 7) * 2; /* unaligned */
		want_b += word_at(bottom, x);
		x = (turn & 3) * 4 - 8;
		want_a += word_at(x >> 31 ? top : bottom, x);
	}
	check_eq("negative displacements below 0", a, want_a);
	check_eq("displacements beyond 4 GiB", b, want_b);
}

static void string_test(void)
{
	u32 di = 1, si = 0, cx = 1;

	for (u32 turn = 0; turn < 3000; turn++) {
		__asm__ volatile("rep stosb" : "=&D"(di), "=&c"(cx) : "0"(0xffffffe0), "1"(0x20), "a"(turn) : "memory");
		if (di | cx)
			break;
		__asm__ volatile("rep movsb" : "=&D"(di), "=&S"(si), "=&c"(cx)
				 : "0"(0x100), "1"(0xfffffff0), "2"(0x20) : "memory");
		if (si != 0x10 || di != 0x120 || bottom[0x10f] != (u8)turn || bottom[0x110] != bottom[0])
			break;
	}
	check_eq("EDI at the end", cx, 0);
	check_eq("ESI wraps", si, 0x10);
	check_eq("EDI", di, 0x120);
	check_eq("copied from both ends", bottom[0x10f] << 8 | bottom[0x110], (u8)2999 << 8 | bottom[0]);
}

/* -- 16-bit code ------------------------------------------------------------------------------------------------- */

#define CODE16(name, text)                                                                                           \
	extern const char name[], name##_end[];                                                                      \
	__asm__(".pushsection .rodata\n" #name ":\n.code16\n" text "\nlret\n.code32\n" #name "_end:\n.popsection")

static struct real_regs r;

static void run(const char *from, const char *end)
{
	for (u8 *p = (u8 *)(CODE_SEG << 4); from < end;)
		*p++ = (u8)*from++;
	r.ds = 0x2000;
	r.es = 0x3000;
	r.eflags = FL_1;
	real_call(CODE_SEG, 0, &r);
}
#define RUN(name) run(name, name##_end)

CODE16(loads, "mov $2000, %cx; xor %dx, %dx; 1: mov %cx, %ax; and $0xff, %ax; add $0x2000, %ax; mov %ax, %ds;"
	      "mov %cx, 0; push %ds; pop %es; add %es:0, %dx; push %cs; pop %ds; mov %ds, %bx; lds %cs:far_at - loads, %si;"
	      "mov %ds, %di; add %di, %dx; add %si, %dx; les %cs:far_at - loads, %bp; mov %es, %di; sub %di, %dx;"
	      "pushl $0x3000; popl %fs; push %fs; pop %di; mov %di, %gs; loop 1b; jmp 2f; far_at: .word 7, 0x2100; 2:");
CODE16(flags, "mov $3000, %cx; xor %dx, %dx; 1: pushf; pop %ax; sti; pushf; pop %bx; cli; pushf; pop %si; xor %bx, %ax;"
	      "add %ax, %dx; xor %bx, %si; add %si, %dx; push $0x8d7; popf; sbb $0, %dx; pushf; popf; loop 1b");
CODE16(aliases, "mov $400, %cx; xor %dx, %dx; 1: lcall $0x1000, $2f - aliases; lcall $0xff0, $2f - aliases + 0x100;"
		"lcall $0xf00, $2f - aliases + 0x1000; loop 1b; jmp 9f; 2: call 3f; alias_back: push %cs; pop %ax;"
		"add %ax, %dx; lret;"
		"3: pop %ax; push %ax; add %ax, %dx; mov %sp, %bp; mov $5f - aliases, %bx; mov %cs, %di; cmp $0x1000, %di;"
		"je 6f; add $0x100, %bx; cmp $0xff0, %di; je 6f; add $0xf00, %bx; 6: call *%bx; ret; 5: inc %dx; ret; 9:");
CODE16(recursion, "mov $300, %si; 1: mov $9, %ax; call 2f; dec %si; jnz 1b; jmp 9f; 2: cmp $2, %ax; jb 3f;"
		  "push %ax; dec %ax; call 2b; pop %ax; dec %ax; dec %ax; call 2b; ret; 3: inc %dx; ret; 9:");

extern const char alias_back[];

static void sixteen_test(void)
{
	u16 sum = 0;

	RUN(loads);
	for (u16 i = 2000; i; i--)
		sum = (u16)(sum + i + 7);
	check_eq("segment loads in a loop", (u16)r.edx, sum);
	RUN(flags);
	check_eq("flags in a loop", (u16)r.edx, (u16)(3000 * (FL_IF + FL_IF - 1)));
	RUN(aliases);
	sum = (u16)(400 * (0x1000 + 0xff0 + 0xf00 + 3 + 3 * (alias_back - aliases) + 0x1100));
	check_eq("one code by three segments", (u16)r.edx, sum);
	r.edx = 0;
	RUN(recursion);
	check_eq("near calls and returns", (u16)r.edx, (u16)(300 * 55));
}

void legacy_main(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	sixteen_test();
	map_ends();
	stack_test();
	displacement_test();
	string_test();
}
