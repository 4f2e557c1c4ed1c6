/* SPDX-License-Identifier: MIT */
/*
 * Control flow and the ordinary instructions in the forms a translator gets wrong: calls and returns that do not
 * pair, jumps and instructions at page ends (with the next page elsewhere in physical memory), every push and pop,
 * rip-relative and absolute operands, high-byte registers, string instructions, flags across memory accesses,
 * compatibility mode.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define VA_CODE 0x7f0000001000ull	/* pages mapped to scattered frames */
#define VA_DATA 0x7f0000101000ull

static u8 *const data_va = (u8 *)VA_DATA;
static u64 scratch[64];

static void map_scattered(u64 va, int n)
{
	u64 frames[16];

	for (int i = n - 1; i >= 0; i--, page_alloc())
		frames[i] = page_alloc();
	for (int i = 0; i < n; i++)
		page_map(va + (u64)i * 4096, frames[i] | PTE_P | PTE_W);
}

/* --- loops, calls, returns --- */
static void test_loops(void)
{
	u64 count = scaled(300000), n = count, sum = 0, c, r;

	__asm__ volatile("1: add %0, %1\n dec %0\n jnz 1b" : "+r"(n), "+r"(sum) : : "cc");
	check_eq("loop of 300000", sum, count * (count + 1) / 2);
	__asm__ volatile("mov $1000, %%ecx\n xor %%eax, %%eax\n1: inc %%eax\n loop 1b" : "=a"(r), "=c"(c));
	check_eq("loop instruction", r, 1000);
	__asm__ volatile("mov $1000, %%ecx\n xor %%eax, %%eax\n1: inc %%eax\n cmp $10, %%eax\n loopne 1b" : "=a"(r),
		"=c"(c));
	check_eq("loopne stops on ZF", r << 32 | c, 10ull << 32 | 990);
	__asm__ volatile("mov $5, %%ecx\n xor %%eax, %%eax\n1: inc %%eax\n cmp %%eax, %%eax\n loope 1b" : "=a"(r), "=c"(c));
	check_eq("loope runs to zero", r << 32 | c, 5ull << 32);
	__asm__ volatile("mov $0x100000003, %%rcx\n xor %%eax, %%eax\n1: inc %%eax\n addr32 loop 1b" : "=a"(r), "=c"(c));
	check_eq("addr32 loop counts ECX, zero-extends", r << 32 | c, 3ull << 32);
	__asm__ volatile("mov $0x100000000, %%rcx\n xor %%eax, %%eax\n jrcxz 2f\n or $1, %%eax\n2: jecxz 3f\n"
		"or $2, %%eax\n3:"
			 : "=a"(r), "=c"(c));
	check_eq("jrcxz, jecxz", r, 1);
}

static u64 deep(u64 n)
{
	return n ? deep(n - 1) + n : 0;
}

static noinline u64 fib(u64 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static u64 on_stack(u64 (*fn)(u64), u64 arg, u64 sp)
{
	u64 r;

	__asm__ volatile("mov %%rsp, %%rbx\n mov %3, %%rsp\n call *%2\n mov %%rbx, %%rsp" : "=a"(r), "+D"(arg)
		: "r"(fn), "r"(sp)
			 : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return r;
}

u64 deep_asm(u64 n);
__asm__("deep_asm: push %rdi\n test %rdi, %rdi\n jz 1f\n dec %rdi\n call deep_asm\n add (%rsp), %rax\n pop %rdi\n ret\n"
	"1: xor %eax, %eax\n pop %rdi\n ret");

static void test_recursion(void)
{
	u64 n = scaled(100000);

	check_eq("fib(14)", fib(14), 377);
	check_eq("recursion 100000 deep", on_stack(deep_asm, n, 24 << 20), n * (n + 1) / 2);
	n = scaled(20000);
	check_eq("recursion in C", on_stack(deep, n, 24 << 20), n * (n + 1) / 2);
}

#define F(n) static noinline u64 f##n(u64 x) { __asm__ volatile(""); return x * 3 + n; }
F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
static u64 (*const table[16])(u64) = {f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15};

static void test_indirect(void)
{
	u64 x = 1, want = 1, r, i, n = scaled(20000);

	for (i = 0; i < n; i++)
		x = table[(i * 7 + (i >> 4)) & 15](x);
	for (i = 0; i < n; i++)
		want = want * 3 + ((i * 7 + (i >> 4)) & 15);
	check_eq("calls through a table", x, want);
	r = 0;
	__asm__ volatile("xor %%ecx, %%ecx\n1: mov %%ecx, %%edx\n and $3, %%edx\n jmp *9f(, %%rdx, 8)\n"
			 "2: add $1, %0\n jmp 6f\n3: add $100, %0\n jmp 6f\n4: add $10000, %0\n jmp 6f\n5: add $1000000, %0\n"
			 "6: inc %%ecx\n cmp $2000, %%ecx\n jne 1b\n jmp 8f\n.balign 8\n9: .quad 2b, 3b, 4b, 5b\n8:"
			 : "+r"(r) : : "rcx", "rdx", "cc");
	check_eq("jumps through a table", r, 500 * 1010101ull);
	__asm__ volatile("mov $1f, %%r13\n push %%r13\n jmp *(%%rsp)\n ud2\n1: pop %%rax\n sub %%r13, %%rax" : "=a"(r) :
		: "r13");
	check_eq("jmp *(%rsp)", r, 0);
	__asm__ volatile("mov $1f, %%r12\n call *%%r12\n jmp 2f\n1: mov $77, %%eax\n ret\n2:" : "=a"(r) : : "r12",
		"memory");
	check_eq("call *%r12", r, 77);
	__asm__ volatile("mov $1f, %%rax\n push %%rax\n call *(%%rsp)\n add $8, %%rsp\n jmp 2f\n1: mov (%%rsp), %%rax\n"
		"ret\n"
			 "2: sub $2b, %%rax\n" : "=a"(r) : : "memory", "cc");
	report((s64)r < 0 && (s64)r > -32, "call *(%rsp): target read before the push", "return address off by %lx", r);
}

/* Two coroutines that switch stacks under each other. */
static u64 co_rsp[2], co_trail;
void co_switch(u64 *save, u64 *load);
__asm__("co_switch: push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp, (%rdi)\n"
	"mov (%rsi), %rsp\n"
	"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret");

static noinline void co_deeper(int n)
{
	if (n)
		co_deeper(n - 1);
	else
		co_switch(&co_rsp[1], &co_rsp[0]);
	co_trail = co_trail * 5 + (u64)n;
}

static void co_body(void)
{
	for (int i = 0;; i++)
		co_deeper(i % 20);
}

static noinline void co_resume(int n)
{
	if (n)
		co_resume(n - 1);
	else
		co_switch(&co_rsp[0], &co_rsp[1]);
	co_trail = co_trail * 7 + (u64)n;
}

static void test_coroutines(void)
{
	u64 *sp = (u64 *)(20 << 20), want = 1;
	int rounds = (int)scaled(2000);

	*--sp = 0;
	*--sp = (u64)co_body;
	sp -= 6;
	co_rsp[1] = (u64)sp;
	co_trail = 1;
	for (int i = 0; i < rounds; i++)
		co_resume(i % 13);
	for (int i = 0; i < rounds; i++) {
		if (i)
			for (int n = 0; n <= (i - 1) % 20; n++)
				want = want * 5 + (u64)n;
		for (int n = 0; n <= i % 13; n++)
			want = want * 7 + (u64)n;
	}
	check_eq("coroutines: stacks switched under returns", co_trail, want);
}

static u64 jump_buf[8];
u64 jump_set(u64 *buf);
void jump_to(u64 *buf, u64 value);
__asm__("jump_set: mov %rbx, (%rdi)\n mov %rbp, 8(%rdi)\n mov %r12, 16(%rdi)\n mov %r13, 24(%rdi)\n"
	"mov %r14, 32(%rdi)\n"
	"mov %r15, 40(%rdi)\n lea 8(%rsp), %rax\n mov %rax, 48(%rdi)\n mov (%rsp), %rax\n mov %rax, 56(%rdi)\n"
		"xor %eax, %eax\n ret\n"
	"jump_to: mov %rsi, %rax\n mov (%rdi), %rbx\n mov 8(%rdi), %rbp\n mov 16(%rdi), %r12\n mov 24(%rdi), %r13\n"
	"mov 32(%rdi), %r14\n mov 40(%rdi), %r15\n mov 48(%rdi), %rsp\n jmp *56(%rdi)");

static noinline u64 sink_down(u64 n)
{
	if (!n)
		jump_to(jump_buf, 1);
	return n ? sink_down(n - 1) + 1 : 0;
}

static void test_returns(void)
{
	volatile u64 jumps = 0;
	const u64 rounds = scaled(500);
	u64 r, s;

	while (jumps < rounds) {
		if (jump_set(jump_buf))
			jumps++;
		else
			sink_down(jumps % 60);
		if (jumps < rounds)
			sink_down(jumps % 60);
	}
	check_eq("long jumps out of calls", jumps, rounds);
	__asm__ volatile("mov $1f, %%rax\n push %%rax\n ret\n ud2\n1: mov $5, %%eax" : "=a"(r) : : "memory");
	check_eq("push, ret as a jump", r, 5);
	__asm__ volatile("call 1f\n1: pop %%rax\n sub $1b, %%rax" : "=a"(r) : : "memory", "cc");
	check_eq("call, pop", r, 0);
	__asm__ volatile("call 1f\n4: mov $1, %%eax\n jmp 3f\n1: addq $2f - 4b, (%%rsp)\n ret\n2: mov $2, %%eax\n3:"
			 : "=a"(r) : : "memory", "cc");
	check_eq("return address changed", r, 2);
	__asm__ volatile("mov %%rsp, %%rdx\n push $3\n push $4\n call 1f\n jmp 2f\n1: mov 16(%%rsp), %%rax\n ret $16\n"
		"2: sub %%rsp, %%rdx"
			 : "=a"(r), "=d"(s) : : "memory", "cc");
	check_eq("ret imm16", r << 8 | s, 3 << 8);
	r = 0;
	for (int i = 0; i < 300; i++) /* Twenty calls, one return past them all. */
		__asm__ volatile("mov %%rsp, %%rdx\n mov $20, %%ecx\n1: dec %%ecx\n jz 2f\n call 1b\n2: mov %%rdx, %%rsp\n"
			"inc %0"
				 : "+r"(r) : : "rcx", "rdx", "memory", "cc");
	check_eq("calls abandoned", r, 300);
	__asm__ volatile("xor %%eax, %%eax\n lea 1f(%%rip), %%rcx\n mov $50, %%edx\n2: push %%rcx\n dec %%edx\n jnz 2b\n"
			 "ret\n1: inc %%eax\n cmp $50, %%eax\n jne 3f\n jmp 4f\n3: ret\n4:" : "=a"(r) : : "rcx", "rdx",
			 	"memory", "cc");
	check_eq("fifty returns without calls", r, 50);
}

/* --- code at page ends --- */
typedef u64 code_fn(void);

static void test_page_ends(void)
{
	u8 *code = (u8 *)VA_CODE, *end = code + 4096;
	static const u8 movabs[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xc3};
	static const u8 loop[] = {0xb9, 100, 0, 0, 0, 0x31, 0xc0, 0x48, 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xf9, 0xc3};
	int bad = -1;

	map_scattered(VA_CODE, 4);
	for (int k = 0; k <= 11; k++) {
		memset(end - 16, 0x90, 32);
		memcpy(end - k, movabs, sizeof movabs);
		if (((code_fn *)(end - k))() != 0x0807060504030201 && bad < 0)
			bad = k;
	}
	report(bad < 0, "movabs across a page end, every split", "first bad with %d bytes in the first page", bad);
	bad = -1;
	for (int k = 0; k <= (int)sizeof loop; k++) {
		memset(end - 32, 0x90, 64);
		memcpy(end - k, loop, sizeof loop);
		if (((code_fn *)(end - k))() != 100 && bad < 0)
			bad = k;
	}
	report(bad < 0, "a loop across a page end, every split", "first bad with %d bytes in the first page", bad);
	end[-1] = 0xc3;
	check_eq("ret as the last byte", ((u64(*)(u64, u64, u64, u64))(end - 1))(0, 0, 0, 0) & 0, 0);
	/* jmp rel8 as the last two bytes, to the next page's last byte, and back through a near jump. */
	memset(end, 0x90, 4096);
	memcpy(end - 7, "\xb8\x2a\x00\x00\x00\xeb\x7f", 7);
	end[0x7f] = 0xe9;
	*(int *)(end + 0x80) = 0xfff - 0x84;
	end[0xfff] = 0xc3;
	check_eq("jumps to page ends", ((code_fn *)(end - 7))(), 42);
	/* A call whose return address is the first byte of the next page. */
	memcpy(end - 5, "\xe8", 1);
	*(int *)(end - 4) = 0x100;
	memcpy(end, "\x48\xff\xc0\xc3", 4);
	memcpy(end + 0x100, "\xb8\x07\x00\x00\x00\xc3", 6);
	check_eq("call as the last instruction of a page", ((code_fn *)(end - 5))(), 8);
	/* Falling through page after page. */
	memset(code, 0x90, 4 * 4096);
	memcpy(code, "\x31\xc0", 2);
	for (int i = 1; i < 4; i++)
		memcpy(code + 4096 * i - 1, "\xff\xc0", 2);
	code[4 * 4096 - 1] = 0xc3;
	check_eq("falling through four pages", ((code_fn *)code)(), 3);
}

/* --- addressing --- */
static u64 rip_word = 0x1122334455667788;
static u32 rip_dword = 0x80000001;

static void test_addressing(void)
{
	u64 r, s, t;

	__asm__ volatile("mov rip_word(%%rip), %0\n addl $0x7fffffff, rip_dword(%%rip)\n setz %b1\n movzbl %b1, %k1\n"
			 "cmpl $0, rip_dword(%%rip)\n movl $0x12345678, rip_dword(%%rip)\n sete %b2\n movzbl %b2, %k2"
			 : "=r"(r), "=&q"(s), "=&q"(t) : : "memory", "cc");
	check_eq("rip-relative load", r, 0x1122334455667788);
	check_eq("rip-relative with immediate", s << 1 | t, 3);
	check_eq("rip-relative store of an immediate", *(volatile u32 *)&rip_dword, 0x12345678);
	__asm__ volatile("lea rip_word(%%rip), %0" : "=r"(r));
	check_eq("lea rip-relative", r, (u64)&rip_word);
	scratch[0] = 0x8877665544332211;
	__asm__ volatile("mov $-1, %%rax\n movabs scratch, %%al\n mov %%rax, %0\n movabs scratch, %%ax\n mov %%rax, %1\n"
			 "movabs scratch, %%eax" : "=&r"(r), "=&r"(s), "=&a"(t) : : "memory");
	check_eq("movabs load al", r, 0xffffffffffffff11);
	check_eq("movabs load ax", s, 0xffffffffffff2211);
	check_eq("movabs load eax", t, 0x44332211);
	*(u64 *)data_va = 0;
	__asm__ volatile("movabs %%rax, 0x7f0000101000\n movabs %%al, 0x7f0000101008" : : "a"(0x0102030405060708)
		: "memory");
	check_eq("movabs store rax", *(u64 *)data_va, 0x0102030405060708);
	check_eq("movabs store al", data_va[8], 8);
	for (int i = 0; i < 64; i++)
		scratch[i] = (u64)i * 0x0101010101010101;
	__asm__ volatile("mov %3, %%r12\n mov $5, %%r13\n mov (%%r12), %0\n mov 16(%%r12, %%r13, 8), %1\n"
		"lea 8(%%r12), %%r13\n"
			 "mov (%%r13), %2\n" : "=&r"(r), "=&r"(s), "=&r"(t) : "r"(scratch) : "r12", "r13");
	check_eq("bases r12, r13", r + s + t, scratch[0] + scratch[7] + scratch[1]);
	__asm__ volatile("push $0x33\n push $0x44\n mov $8, %%r12d\n mov (%%rsp, %%r12), %0\n mov -8(%%rsp, %%r12), %1\n"
		"add $16, %%rsp"
			 : "=&r"(r), "=&r"(s) : : "r12", "memory", "cc");
	check_eq("rsp with index r12", r << 8 | s, 0x3344);
	__asm__ volatile("mov $0xffffffff00000000, %%rax\n or %2, %%rax\n mov 8(%%eax), %0\n mov $-8, %%rcx\n"
		"lea 16(%%eax, %%ecx), %1"
			 : "=&r"(r), "=&r"(s) : "r"((u64)scratch) : "rax", "rcx");
	check_eq("32-bit addresses wrap", r == scratch[1] && s == (u64)scratch + 8, 1);
	__asm__ volatile("mov %2, %%r15\n mov $3, %%r14\n mov %%r15, %%r13\n mov %%r14, %%r12\n"
			 "1: mov (%%r13, %%r12, 8), %%r11\n add %%r11, %%r10\n lea (%%r15, %%r14, 4), %%r9\n"
			 	"mov (%%r9, %%r14, 4), %%r8\n"
			 "xor %%r8, %%r11\n mov %%r11, %0\n mov %%r13, %1\n sub %%r15, %1" : "=&r"(r), "=&r"(s) : "r"(scratch)
			 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc");
	check_eq("only r8-r15 in use", r | s, 0);
}

static void test_high_bytes(void)
{
	u64 r, s;

	*(u32 *)data_va = 0x44332211;
	__asm__ volatile("mov $0x1234, %%eax\n mov $0xabcd, %%ebx\n mov %%ah, %%bl\n mov %%bh, %%al\n" : "=a"(r), "=b"(s));
	check_eq("mov of high bytes", r << 16 | s, 0x12ab << 16 | 0xab12);
	__asm__ volatile("mov $0x1234, %%eax\n mov $0xabcd, %%edx\n mov 1(%2), %%ah\n add 2(%2), %%dh\n add %%ah, 3(%2)"
			 : "=&a"(r), "=&d"(s) : "S"(data_va) : "memory", "cc");
	check_eq("high bytes and memory, loads", r << 16 | s, 0x2234 << 16 | 0xdecd);
	check_eq("high bytes and memory, stores", *(u32 *)data_va, 0x66332211);
	__asm__ volatile("mov $0x9900, %%ecx\n mov $0x5522, %%eax\n xchg %%ch, (%2)\n mov $0x7700, %%ebx\n"
		"lock cmpxchg %%bh, 1(%2)"
			 : "=&c"(r), "=&a"(s) : "S"(data_va) : "rbx", "memory", "cc");
	check_eq("xchg, cmpxchg of high bytes", r << 32 | *(u32 *)data_va, 0x1100ull << 32 | 0x66337799);
	__asm__ volatile("mov $0x0200, %%eax\n mov $0x8000, %%ecx\n movzbl %%ah, %%eax\n movsbl %%ch, %%ecx\n"
		"shl %%cl, %%ah"
			 : "=&a"(r), "=&c"(s) : : "cc");
	check_eq("movzx, movsx of high bytes", r << 32 | s, 2ull << 32 | 0xffffff80);
	__asm__ volatile("mov $0x0100, %%edx\n mov $0x40, %%eax\n setz %%dh\n mov $0, %%ecx\n lahf\n mov %%ah, %%cl\n"
		"sahf\n seto %%ch"
			 : "=&d"(r), "=&c"(s) : : "rax", "cc");
	report(true, "setcc of high bytes runs", "%lx %lx", r, s);
}

/* --- push and pop --- */
static void test_stack(void)
{
	u64 r, s, t;

	__asm__ volatile("mov %%rsp, %%rcx\n push %%rsp\n pop %%rax\n sub %%rcx, %%rax\n mov %%rsp, %%rdx\n"
		"sub %%rcx, %%rdx"
			 : "=a"(r), "=d"(s) : : "rcx", "memory", "cc");
	check_eq("push rsp pushes the old value", r | s, 0);
	__asm__ volatile("mov %%rsp, %%rcx\n push $0x1234\n lea -64(%%rsp), %%rdx\n push %%rdx\n pop %%rsp\n"
		"mov %%rsp, %%rax\n"
			 "mov %%rcx, %%rsp\n sub %%rdx, %%rax" : "=a"(r) : : "rcx", "rdx", "memory", "cc");
	check_eq("pop rsp takes the value", r, 0);
	__asm__ volatile("push $0x11\n push $0x22\n push $0x33\n pop 8(%%rsp)\n pop %%rax\n pop %%rdx" : "=a"(r),
		"=d"(s) : : "memory");
	check_eq("pop 8(%rsp): address after the increment", r << 8 | s, 0x22 << 8 | 0x33);
	__asm__ volatile("push $0x11\n push $0x22\n push 8(%%rsp)\n pop %%rax\n pop %%rdx\n pop %%rcx" : "=a"(r),
		"=d"(s) : : "rcx", "memory");
	check_eq("push 8(%rsp): address before the decrement", r << 8 | s, 0x11 << 8 | 0x22);
	__asm__ volatile("push $0x11\n push %%rsp\n push (%%rsp)\n pop %%rax\n pop %%rdx\n sub %%rdx, %%rax\n pop %%rcx"
			 : "=a"(r) : : "rcx", "rdx", "memory", "cc");
	check_eq("push (%rsp)", r, 0);
	__asm__ volatile("mov %%rsp, %%rcx\n mov $0xabcd1234, %%eax\n push %%ax\n pushw $0x5678\n mov (%%rsp), %%edx\n"
		"pop %%ax\n popw %%ax\n"
			 "sub %%rsp, %%rcx" : "=d"(r), "=c"(s), "=a"(t) : : "memory", "cc");
	check_eq("16-bit push and pop", r << 32 | (t & 0xffff) | s << 16, 0x12345678ull << 32 | 0x1234);
	__asm__ volatile("push $-1\n pop %%rax\n push $0x7fffffff\n pop %%rdx\n pushw $-2\n mov $-1, %%rcx\n pop %%cx\n"
		: "=a"(r), "=d"(s), "=c"(t));
	check_eq("push of immediates", (r + 1) | (s ^ 0x7fffffff) | (t ^ (u64)-2), 0);
	*(u64 *)data_va = 0x0123456789abcdef;
	__asm__ volatile("push (%1)\n pop 8(%1)\n push %%rbp\n mov %%rsp, %%rbp\n push 8(%1)\n mov -8(%%rbp), %0\n"
		"leave" : "=&r"(r) : "r"(data_va) : "memory");
	check_eq("push and pop of memory", r, 0x0123456789abcdef);
	/* ENTER with nesting levels copies frame pointers. */
	__asm__ volatile("mov %%rsp, %%rdx\n push %%rbp\n push $0xa1\n push $0xa2\n mov %%rdx, %%rbp\n sub $8, %%rbp\n"
		"enter $16, $3\n"
			 "mov %%rsp, %%rax\n sub %%rdx, %%rax\n mov 32(%%rsp), %%rcx\n mov 24(%%rsp), %%rsi\n"
			 	"mov 16(%%rsp), %%rdi\n sub %%rbp, %%rdi\n"
			 "leave\n mov -8(%%rdx), %%rbp\n mov %%rdx, %%rsp" : "=a"(r), "=c"(s), "=S"(t) : : "rdx", "rdi",
			 	"memory", "cc");
	check_eq("enter 16, 3: size", r, (u64)-(8 * 3 + 8 + 3 * 8 + 16));
	check_eq("enter 16, 3: display", s << 16 | t, 0xa1ull << 16 | 0xa2);
	__asm__ volatile("mov %%rsp, %%rdx\n push %%rbp\n enter $24, $0\n mov %%rsp, %%rax\n sub %%rdx, %%rax\n leave\n"
		"pop %%rbp\n sub %%rsp, %%rdx"
			 : "=a"(r), "=d"(s) : : "memory", "cc");
	check_eq("enter, leave", r, (u64)-40);
	check_eq("leave: stack even", s, 0);
	__asm__ volatile("pushf\n pop %%rax\n mov %%rax, %%rcx\n xor $0x8d5, %%rcx\n push %%rcx\n popf\n pushf\n"
		"pop %%rcx\n xor %%rcx, %%rax"
			 : "=a"(r) : : "rcx", "memory", "cc");
	check_eq("pushf, popf", r, 0x8d5);
	__asm__ volatile("push %%fs\n push %%gs\n mov (%%rsp), %%rax\n pop %%gs\n pop %%fs\n" : "=a"(r) : : "memory");
	check_eq("push gs", r & 0xffff, SEL_DATA);
	/* A stack whose pushes run over a page boundary, misaligned. */
	__asm__ volatile("mov %%rsp, %%rcx\n mov %1, %%rsp\n mov $100, %%edx\n1: push %%rdx\n call 2f\n dec %%edx\n"
		"jnz 1b\n xor %%eax, %%eax\n"
			 "mov $100, %%edx\n3: pop %%rsi\n add %%rsi, %%rax\n dec %%edx\n jnz 3b\n mov %%rcx, %%rsp\n jmp 4f\n"
			 	"2: ret\n4:"
			 : "=&a"(r) : "r"(VA_DATA + 4096 + 203) : "rcx", "rdx", "rsi", "memory", "cc");
	check_eq("misaligned stack over a page end", r, 5050);
}

/* --- flags --- */
static void test_flags(void)
{
	u64 bad = 0, first = 0;

	for (u64 k = 0; k < 64; k++) {
		u64 f = (k & 1) | (k & 2) << 1 | (k & 4) << 2 | (k & 8) << 3 | (k & 16) << 3 | (k & 32) << 6, after;
		u8 *p = data_va + 4096 * (k & 3) + (k & 4 ? 4092 : 8);

		__asm__ volatile("push %1\n popf\n mov (%2), %%rax\n mov %%rax, 8(%2)\n push %%rax\n pop 16(%2)\n"
			"movzbl (%2), %%ecx\n"
				 "lea 3(%%rax, %%rcx), %%rdx\n xchg %%rdx, (%2)\n mov %%rax, (%2)\n not %%rax\n bswap %%rax\n"
				 	"jmp 1f\n1: call 2f\n"
				 "jmp 3f\n2: movsb\n dec %%rdi\n ret\n3: inc %%rdi\n mov %%fs, %%eax\n pushf\n pop %0"
				 : "=&r"(after) : "r"(f), "r"(p), "S"(scratch), "D"(scratch + 8) : "rax", "rcx", "rdx", "memory");
		/* dec and inc touch all but CF; so CF is compared here, the rest below. */
		if ((after ^ f) & FL_CF && !bad++)
			first = f;
		__asm__ volatile("push %1\n popf\n mov (%2), %%rax\n mov %%rax, 8(%2)\n push %%rax\n pop 16(%2)\n"
			"movzbl (%2), %%ecx\n"
				 "lea 3(%%rax, %%rcx), %%rdx\n xchg %%rdx, (%2)\n mov %%rax, (%2)\n not %%rax\n bswap %%rax\n"
				 	"jmp 1f\n1: call 2f\n"
				 "jmp 3f\n2: ret\n3: mov $4, %%ecx\n mov %2, %%rdi\n rep stosb\n mov %%fs, %%eax\n"
				 	"xor %%ecx, %%ecx\n push %1\n popf\n"
				 "rep movsb\n jrcxz 4f\n4: cmovz %%rax, %%rcx\n rol %%cl, %%rax\n pushf\n pop %0"
				 : "=&r"(after) : "r"(f), "r"(p), "S"(scratch) : "rax", "rcx", "rdx", "rdi", "memory");
		(void)after;
		__asm__ volatile("push %1\n popf\n mov (%2), %%rax\n mov %%rax, 8(%2)\n push %%rax\n pop 16(%2)\n"
			"movzbl (%2), %%ecx\n"
				 "lea 3(%%rax, %%rcx), %%rdx\n xchg %%rdx, (%2)\n mov %%rax, (%2)\n not %%rax\n bswap %%rax\n"
				 	"jmp 1f\n1: call 2f\n"
				 "jmp 3f\n2: ret\n3: mov $4, %%ecx\n rep lodsb\n mov %%fs, %%eax\n jrcxz 4f\n4: cmovz %%rax, %%rdx\n"
				 	"setc %%al\n"
				 "movd %%eax, %%xmm0\n movups %%xmm0, 32(%2)\n in $0x61, %%al\n pushf\n pop %0"
				 : "=&r"(after) : "r"(f), "r"(p), "S"(scratch) : "rax", "rcx", "rdx", "rdi", "memory");
		if ((after ^ f) & FL_ARITH && !bad++)
			first = f;
	}
	report(!bad, "flags live across loads, stores, calls, string moves", "%lu bad, first %lx", bad, first);

	bad = 0;
	for (u64 k = 0; k < 256; k++) {
		u64 after, ah;

		__asm__ volatile("mov %2, %%rax\n shl $8, %%eax\n sahf\n xor %%eax, %%eax\n pushf\n pop %0\n mov %2, %%rax\n"
			"shl $8, %%eax\n sahf\n"
				 "mov $0, %%eax\n lahf\n movzbl %%ah, %%eax\n mov %%rax, %1" : "=&r"(after), "=&r"(ah) : "r"(k)
				 	: "rax", "cc");
		if (ah != ((k & 0xd5) | 2) && !bad++)
			first = k;
	}
	report(!bad, "sahf, lahf", "%lu bad, first %lx", bad, first);

	bad = 0;
	for (u64 k = 0; k < 64; k++) {
		u64 f = (k & 1) | (k & 2) << 1 | (k & 4) << 2 | (k & 8) << 3 | (k & 16) << 3 | (k & 32) << 6;
		bool c = f & 1, p = f & 4, z = f & 0x40, s = f & 0x80, o = f & 0x800;
		bool want[16] = {o, !o, c, !c, z, !z, c || z, !(c || z), s, !s, p, !p, s != o, s == o, z || s != o, !z &&
			s == o};
		u64 got_j = 0, got_s = 0, got_c = 0, w = 0;

#define COND(n, cc) { u64 v; u64 one = 1; \
	__asm__ volatile("push %1\n popf\n mov $0, %k0\n j" cc " 1f\n jmp 2f\n1: mov $1, %k0\n2:" : "=&r"(v) : "r"(f) \
		: "cc", "memory"); \
	got_j |= v << n; \
	__asm__ volatile("push %1\n popf\n mov $0, %k0\n set" cc " %b0" : "=&q"(v) : "r"(f) : "cc", "memory"); \
		got_s |= v << n; \
	__asm__ volatile("push %1\n popf\n mov $0, %k0\n cmov" cc " %2, %0" : "=&r"(v) : "r"(f), "m"(one) : "cc", \
		"memory"); got_c |= v << n; }
		COND(0, "o") COND(1, "no") COND(2, "c") COND(3, "nc") COND(4, "z") COND(5, "nz") COND(6, "be") COND(7, "a")
		COND(8, "s") COND(9, "ns") COND(10, "p") COND(11, "np") COND(12, "l") COND(13, "ge") COND(14, "le") COND(15,
			"g")
		for (int i = 0; i < 16; i++)
			w |= (u64)want[i] << i;
		if ((got_j != w || got_s != w || got_c != w) && !bad++)
			first = f << 32 | (got_j ^ w) | (got_s ^ w) << 16;
	}
	report(!bad, "jcc, setcc, cmovcc of all conditions", "%lu bad, first %lx", bad, first);
}

/* --- atomics --- */
static void test_atomics(void)
{
	u64 r, s, t;
	u8 *split = data_va + 4096 - 3;

	for (int pass = 0; pass < 2; pass++) {
		u8 *p = pass ? split : data_va;
		const char *where = pass ? " (over a page end)" : "";
		char name[64];
#define NAMED(n) (format(name, sizeof name, "%s%s", n, where), name)
		*(u64 *)p = 100;
		__asm__ volatile("mov $5, %%eax\n lock xadd %%rax, (%1)\n" : "=&a"(r) : "r"(p) : "memory", "cc");
		check_eq(NAMED("xadd"), r << 32 | *(u64 *)p, 100ull << 32 | 105);
		__asm__ volatile("mov $105, %%eax\n mov $7, %%ecx\n lock cmpxchg %%rcx, (%2)\n setz %%cl\n movzbl %%cl, %%ecx"
				 : "=&a"(r), "=&c"(s) : "r"(p) : "memory", "cc");
		check_eq(NAMED("cmpxchg equal"), r << 32 | s << 16 | *(u64 *)p, 105ull << 32 | 1 << 16 | 7);
		__asm__ volatile("mov $105, %%eax\n mov $9, %%ecx\n lock cmpxchg %%rcx, (%2)\n setz %%cl\n movzbl %%cl, %%ecx"
				 : "=&a"(r), "=&c"(s) : "r"(p) : "memory", "cc");
		check_eq(NAMED("cmpxchg unequal"), r << 32 | s << 16 | *(u64 *)p, 7ull << 32 | 7);
		__asm__ volatile("mov $-1, %%rax\n cmpxchg %%ecx, (%1)" : "=&a"(r) : "r"(p), "c"(3) : "memory", "cc");
		check_eq(NAMED("cmpxchg of 32 bits unequal zero-extends eax"), r, 7);
		*(u64 *)p = 0x1111111122222222;
		__asm__ volatile("lock cmpxchg8b (%3)\n setz %b2" : "=a"(r), "=d"(s), "=&q"(t) : "r"(p), "a"(0x22222222),
			"d"(0x11111111), "b"(0x33), "c"(0x44)
				 : "memory", "cc");
		check_eq(NAMED("cmpxchg8b"), *(u64 *)p, 0x4400000033);
		if (!pass) {
			((u64 *)p)[1] = 0x99;
			__asm__ volatile("lock cmpxchg16b (%3)\n setz %b2" : "=a"(r), "=d"(s), "=&q"(t)
					 : "r"(p), "a"(0x4400000033), "d"(0x99), "b"(0x55), "c"(0x66) : "memory", "cc");
			check_eq("cmpxchg16b", ((u64 *)p)[0] << 8 | ((u64 *)p)[1], 0x5566);
		}
		*(u64 *)p = 0x10;
		__asm__ volatile("mov $0x20, %%eax\n xchg %%eax, (%1)" : "=&a"(r) : "r"(p) : "memory");
		check_eq(NAMED("xchg"), r << 8 | *(u64 *)p, 0x1020);
		__asm__ volatile("lock incl (%0)\n lock addl $5, (%0)\n lock orl $0x100, (%0)\n lock negl (%0)\n"
			"lock notl (%0)\n lock subl $1, (%0)\n"
				 "lock btsl $20, (%0)\n lock decl (%0)" : : "r"(p) : "memory", "cc");
		check_eq(NAMED("lock forms"), *(u32 *)p, ((0x20 + 1 + 5) | 0x100 | 0x100000) - 3);
	}
	memset(data_va, 0, 8192);
	__asm__ volatile("lock bts %1, (%2)\n setc %b0" : "=&q"(r) : "r"(-9l), "r"(data_va + 4096) : "memory", "cc");
	check_eq("bts with a negative bit offset", data_va[4094], 0x80);
	__asm__ volatile("btc %0, (%1)\n bt %0, (%1)\n" : : "r"(30000l), "r"(data_va) : "memory", "cc");
	check_eq("btc with a far bit offset", data_va[3750], 1);
}

/* --- string instructions against a byte model --- */
static u8 model[3 * 4096], pattern[3 * 4096];

static bool same_as_model(void)
{
	const u8 *a = data_va, *b = model;
	u64 n = sizeof model / 8;
	bool same;

	__asm__ volatile("repe cmpsq\n sete %b3" : "+S"(a), "+D"(b), "+c"(n), "=&q"(same) : : "memory", "cc");
	return same;
}

static void fill(u8 *p, size_t n, u32 seed)
{
	while (n--)
		*p++ = (u8)((seed = seed * 1103515245 + 12345) >> 16);
}

static void string_movs(int size, u64 *di, u64 *si, u64 *n, bool down)
{
	if (down)
		__asm__ volatile("std");
	switch (size) {
	case 1: __asm__ volatile("rep movsb" : "+D"(*di), "+S"(*si), "+c"(*n) : : "memory"); break;
	case 2: __asm__ volatile("rep movsw" : "+D"(*di), "+S"(*si), "+c"(*n) : : "memory"); break;
	case 4: __asm__ volatile("rep movsl" : "+D"(*di), "+S"(*si), "+c"(*n) : : "memory"); break;
	default: __asm__ volatile("rep movsq" : "+D"(*di), "+S"(*si), "+c"(*n) : : "memory");
	}
	__asm__ volatile("cld");
}

static void string_stos(int size, u64 *di, u64 *n, u64 a, bool down)
{
	if (down)
		__asm__ volatile("std");
	switch (size) {
	case 1: __asm__ volatile("rep stosb" : "+D"(*di), "+c"(*n) : "a"(a) : "memory"); break;
	case 2: __asm__ volatile("rep stosw" : "+D"(*di), "+c"(*n) : "a"(a) : "memory"); break;
	case 4: __asm__ volatile("rep stosl" : "+D"(*di), "+c"(*n) : "a"(a) : "memory"); break;
	default: __asm__ volatile("rep stosq" : "+D"(*di), "+c"(*n) : "a"(a) : "memory");
	}
	__asm__ volatile("cld");
}

static bool string_scan(int size, u64 *di, u64 *n, u64 a, bool down)
{
	u64 f;

	if (down)
		__asm__ volatile("std");
	switch (size) {
	case 1: __asm__ volatile("repne scasb\n pushf\n pop %2" : "+D"(*di), "+c"(*n), "=&r"(f) : "a"(a) : "memory",
		"cc"); break;
	case 2: __asm__ volatile("repne scasw\n pushf\n pop %2" : "+D"(*di), "+c"(*n), "=&r"(f) : "a"(a) : "memory",
		"cc"); break;
	case 4: __asm__ volatile("repne scasl\n pushf\n pop %2" : "+D"(*di), "+c"(*n), "=&r"(f) : "a"(a) : "memory",
		"cc"); break;
	default: __asm__ volatile("repne scasq\n pushf\n pop %2" : "+D"(*di), "+c"(*n), "=&r"(f) : "a"(a) : "memory", "cc");
	}
	__asm__ volatile("cld");
	return f & FL_ZF;
}

static bool string_cmps(int size, u64 *di, u64 *si, u64 *n, bool down)
{
	u64 f;

	__asm__ volatile("cmp %%eax, %%eax" : : : "cc");
	if (down)
		__asm__ volatile("std");
	switch (size) {
	case 1: __asm__ volatile("repe cmpsb\n pushf\n pop %3" : "+D"(*di), "+S"(*si), "+c"(*n), "=&r"(f) : : "memory",
		"cc"); break;
	case 2: __asm__ volatile("repe cmpsw\n pushf\n pop %3" : "+D"(*di), "+S"(*si), "+c"(*n), "=&r"(f) : : "memory",
		"cc"); break;
	case 4: __asm__ volatile("repe cmpsl\n pushf\n pop %3" : "+D"(*di), "+S"(*si), "+c"(*n), "=&r"(f) : : "memory",
		"cc"); break;
	default: __asm__ volatile("repe cmpsq\n pushf\n pop %3" : "+D"(*di), "+S"(*si), "+c"(*n), "=&r"(f) : : "memory",
		"cc");
	}
	__asm__ volatile("cld");
	return f & FL_ZF;
}

static const int counts[] = {0, 1, 2, 7, 8, 9, 31, 65, 300};
static const int starts[] = {0, 1, 5, 3800, 4090, 4093, 4095};

static void test_movs(bool down)
{
	int bad = 0;
	unsigned stride = scaled(50) == 50 ? 1 : 5;
	char first[96] = "";

	for (int size = 1; size <= 8; size *= 2)
	for (unsigned ci = 0; ci < ARRAY_SIZE(counts); ci += stride)
	for (unsigned a = 0; a < ARRAY_SIZE(starts); a++)
	for (unsigned b = 0; b < ARRAY_SIZE(starts); b++) {
		int n = counts[ci], so = starts[a] + (down ? 4096 : 0), d = starts[b] + (down ? 4096 : 0),
			step = down ? -size : size;
		u64 di = (u64)data_va + (u64)d, si = (u64)data_va + (u64)so, c = (u64)n;

		if (n * size > 4096)
			n = 512 / size, c = (u64)n;
		memcpy(data_va, pattern, sizeof pattern);
		memcpy(model, pattern, sizeof pattern);
		for (int i = 0; i < n; i++) {
			u8 tmp[8];

			__builtin_memcpy(tmp, model + so + i * step, 8);
			for (int k = 0; k < size; k++)
				model[d + i * step + k] = tmp[k];
		}
		string_movs(size, &di, &si, &c, down);
		if ((c || di != (u64)data_va + (u64)(d + n * step) || si != (u64)data_va + (u64)(so + n * step) ||
		     !same_as_model()) && !bad++)
			format(first, sizeof first, "size %d count %d from %x to %x: rcx %lx rsi %lx rdi %lx", size, n, so, d,
				c, si, di);
	}
	report(!bad, down ? "rep movs downwards, overlaps and page ends" : "rep movs upwards, overlaps and page ends",
		"%d bad, first %s", bad, first);
}

static void test_stos_scan(bool down)
{
	int bad = 0, bad_scan = 0, bad_cmps = 0;
	unsigned stride = scaled(50) == 50 ? 1 : 3;
	char first[96] = "", first_scan[96] = "", first_cmps[96] = "";

	for (int size = 1; size <= 8; size *= 2)
	for (unsigned ci = 0; ci < ARRAY_SIZE(counts) - (stride > 1); ci += stride)
	for (unsigned b = 0; b < ARRAY_SIZE(starts); b++) {
		int n = counts[ci], d = starts[b] + (down ? 4096 : 0), step = down ? -size : size;
		u64 di = (u64)data_va + (u64)d, c = (u64)n, a = 0xf0e1d2c3b4a59687, si;

		memcpy(data_va, pattern, sizeof pattern);
		memcpy(model, pattern, sizeof pattern);
		if (n * size > 4096)
			n = 512 / size, c = (u64)n;
		for (int i = 0; i < n; i++)
			memcpy(model + d + i * step, &a, (size_t)size);
		string_stos(size, &di, &c, a, down);
		if ((c || di != (u64)data_va + (u64)(d + n * step) || !same_as_model()) && !bad++)
			format(first, sizeof first, "size %d count %d at %x: rcx %lx rdi %lx", size, n, d, c, di);
		if (!n)
			continue;
		/* Zeros, and the wanted value at the last place. */
		memset(data_va, 0, 3 * 4096);
		memcpy(data_va + d + (n - 1) * step, &a, (size_t)size);
		di = (u64)data_va + (u64)d;
		c = (u64)n + 3;
		if ((!string_scan(size, &di, &c, a, down) || c != 3 || di != (u64)data_va + (u64)(d + n * step)) && !bad_scan++)
			format(first_scan, sizeof first_scan, "size %d count %d at %x: rcx %lx rdi %lx", size, n, d, c, di);
		memset(model, 0, 3 * 4096);
		di = (u64)data_va + (u64)d;
		si = (u64)model + (u64)d;
		c = (u64)n + 3;
		if ((string_cmps(size, &di, &si, &c, down) || c != 3 || di != (u64)data_va + (u64)(d + n * step) ||
			di - (u64)data_va != si - (u64)model) &&
		    !bad_cmps++)
			format(first_cmps, sizeof first_cmps, "size %d count %d at %x: rcx %lx rdi %lx rsi %lx", size, n, d, c,
				di, si);
	}
	report(!bad, down ? "rep stos downwards" : "rep stos upwards", "%d bad, first %s", bad, first);
	report(!bad_scan, down ? "repne scas downwards" : "repne scas upwards", "%d bad, first %s", bad_scan, first_scan);
	report(!bad_cmps, down ? "repe cmps downwards" : "repe cmps upwards", "%d bad, first %s", bad_cmps, first_cmps);
}

static void test_strings(void)
{
	u64 r, di, si, c;

	fill(pattern, sizeof pattern, 7);
	test_movs(false);
	test_movs(true);
	test_stos_scan(false);
	test_stos_scan(true);
	fill(data_va, 4096, 3);
	si = (u64)data_va;
	c = 9;
	__asm__ volatile("rep lodsb" : "=a"(r), "+S"(si), "+c"(c) : "0"(0x1100) : "memory");
	check_eq("rep lodsb", r, 0x1100ull | data_va[8]);
	c = 0x100000002;
	di = (u64)data_va;
	__asm__ volatile("addr32 rep stosb" : "+D"(di), "+c"(c) : "a"(0x5a) : "memory");
	check_eq("addr32 rep stosb: rcx", c, 0);
	/* With RCX zero nothing is touched, even a non-canonical address. */
	di = NON_CANONICAL, si = NON_CANONICAL, c = 0;
	TRY("rep movsb", "+D"(di), "+S"(si), "+c"(c) : : "memory");
	check_none("rep movs of nothing at a bad address");
	__asm__ volatile("mov $0, %%eax\n cmp $1, %%eax\n mov $0, %%ecx\n repe cmpsb\n setc %%al\n repne scasb\n setc %%ah"
			 : "=a"(r), "+S"(si), "+D"(di), "=c"(c) : : "memory", "cc");
	check_eq("cmps, scas of nothing keep flags", r, 0x0101);
	scratch[0] = 0x0706050403020100;
	__asm__ volatile("mov $3, %%eax\n xlat" : "=a"(r) : "b"(scratch) : "memory");
	check_eq("xlat", r, 3);
	si = (u64)scratch, c = 4;
	__asm__ volatile("rep outsb" : "+S"(si), "+c"(c) : "d"(0x80) : "memory");
	check_eq("rep outsb", si - (u64)scratch + c, 4);
	di = (u64)data_va + 4094, c = 4;
	memset(data_va + 4090, 0xee, 16);
	__asm__ volatile("rep insb" : "+D"(di), "+c"(c) : "d"(0x71) : "memory");
	check_eq("rep insb over a page end", di - (u64)data_va - 4094 + c, 4);
	check_eq("rep insb writes no more", data_va[4098], 0xee);
}

/* --- unaligned and page-crossing data --- */
static void test_crossing(void)
{
	int bad = 0, at = 0;
	u8 *end = data_va + 4096;

	for (int k = -70; k <= 4; k++) {
		u64 v64;
		u32 v32;
		u16 v16;
		u8 got[64];

		fill(data_va, 3 * 4096, (u32)k);
		memcpy(&v64, end + k, 8);
		memcpy(&v32, end + k, 4);
		memcpy(&v16, end + k, 2);
		bad += *(volatile u64 *)(end + k) != v64 || *(volatile u32 *)(end + k) != v32 ||
			*(volatile u16 *)(end + k) != v16;
		__asm__ volatile("movups (%0), %%xmm1\n movups %%xmm1, (%1)" : : "r"(end + k), "r"(got) : "memory");
		bad += !!memcmp(got, end + k, 16);
		__asm__ volatile("movups %%xmm1, 100(%0)\n movups 100(%0), %%xmm2\n movups %%xmm2, (%1)" :
			: "r"(end + k - 100), "r"(got) : "memory");
		bad += !!memcmp(got, end + k, 16);
		if (has_avx()) {
			__asm__ volatile("vmovups (%0), %%ymm1\n vmovups %%ymm1, (%1)" : : "r"(end + k), "r"(got) : "memory");
			bad += !!memcmp(got, end + k, 32);
		}
		*(volatile u64 *)(end + k) = 0x1122334455667788;
		memcpy(&v64, end + k, 8);
		bad += v64 != 0x1122334455667788;
		*(volatile u32 *)(end + k) += 0x1000;
		memcpy(&v32, end + k, 4);
		bad += v32 != 0x55668788;
		__asm__ volatile("fldt (%0)\n fstpt 32(%0)" : : "r"(end + k) : "memory");
		__asm__ volatile("incq (%0)\n negw 1(%0)\n rolq $8, (%0)" : : "r"(end + k) : "memory", "cc");
		if (bad && !at)
			at = k;
	}
	report(!bad, "accesses across a page end", "%d bad, first at offset %d", bad, at);
}

/* --- compatibility mode --- */
u64 compat_run(u64 arg);
__asm__(
	"compat_run: push %rbx\n push %rbp\n push %rdi\n mov %rsp, %rbp\n"
	"mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n"
	"lea compat_back(%rip), %rax\n"
	"mov $compat_stack_end, %esp\n"
	"ljmp *compat_in(%rip)\n"
	"compat_in: .long compat_code\n .word 0x30\n"
	".code32\n"
	"compat_code:\n"
	"mov %edi, %eax\n"
	"inc %eax\n dec %eax\n inc %ecx\n"		/* 40+r, 48+r are INC and DEC here */
	"push %eax\n pushl $7\n mov %esp, %edx\n pop %ebx\n pop %ecx\n"
	"cmp %eax, %ecx\n jne 9f\n cmp $7, %ebx\n jne 9f\n"
	"mov $compat_word, %ebx\n movl $0x1000, (%ebx)\n add %eax, (%ebx)\n mov (%ebx), %eax\n"
	"mov compat_word, %ecx\n cmp %eax, %ecx\n jne 9f\n"
	"call 5f\n jmp 6f\n5: add $0x10, %eax\n ret\n6:\n"
	"pusha\n xor %eax, %eax\n xor %ebx, %ebx\n popa\n"
	"push %es\n pop %es\n pushf\n popf\n"
	"push %ebp\n enter $8, $1\n leave\n pop %ebp\n"
	"mov $3, %ecx\n7: inc %eax\n loop 7b\n"
	"push $0x12345678\n pushw $0x55\n popw %cx\n pop %ecx\n cmp $0x12345678, %ecx\n jne 9f\n"
	"mov $99, %edx\n aaa\n mov $0, %al\n daa\n mov %edi, %eax\n"
	"lea -1(%esp), %ecx\n cmp %ecx, %esp\n jb 9f\n"
	"mov $0xfffffff0, %ebx\n mov compat_word + 0x10(%ebx), %ecx\n"	/* wraps at 4 GiB */
	"cmp compat_word, %ecx\n jne 9f\n"
	"mov $compat_bound, %ebx\n mov $5, %ecx\n bound %ecx, (%ebx)\n"
	"add $0x1013, %eax\n"
	"jmp 8f\n9: mov $0xdead, %eax\n8:\n"
	"ljmp $8, $compat_back\n"
	".code64\n"
	"compat_back: mov %rbp, %rsp\n pop %rdi\n pop %rbp\n pop %rbx\n ret\n"
	".data\n.balign 8\ncompat_word: .long 0\ncompat_bound: .long 0, 10\n.bss\n.balign 16\n.skip 4096\n"
		"compat_stack_end:\n.text\n");

u64 compat_far(void);
__asm__("compat_far: push %rbx\n mov %rsp, %rbx\n pushq $0x30\n lea 1f(%rip), %rax\n push %rax\n lretq\n.code32\n"
	"1: mov $0x11, %eax\n push $8\n push $2f\n lret\n.code64\n2: add $0x22, %eax\n mov %rbx, %rsp\n pop %rbx\n ret");

static void test_compat(void)
{
	u64 r;

	for (int i = 0; i < 3; i++) {
		char name[40];

		format(name, sizeof name, "32-bit code, round %d", i);
		check_eq(name, compat_run(0x2000 + (u64)i), 0x2000 + (u64)i + 0x1013);
	}
	__asm__ volatile("mov %1, %%rdi\n call compat_far" : "=a"(r) : "r"(0ull) : "rdi", "memory", "cc", "rcx", "rdx");
	check_eq("lretq to 32-bit code, lret back", r, 0x33);
}

/* --- segment bases --- */
static void test_bases(void)
{
	u64 r, s, t;

	for (int i = 0; i < 64; i++)
		scratch[i] = 0x100 + (u64)i;
	wrmsr(MSR_FS_BASE, (u64)scratch);
	wrmsr(MSR_GS_BASE, (u64)scratch + 64);
	__asm__ volatile("mov %%fs:8, %0\n mov %%gs:8, %1\n mov $16, %%ecx\n mov %%fs:(%%rcx, %%rcx), %2" : "=&r"(r),
		"=&r"(s), "=&r"(t) : : "rcx");
	check_eq("fs and gs bases", r << 40 | s << 20 | t, 0x101ull << 40 | 0x109ull << 20 | 0x104);
	__asm__ volatile("movq $0x77, %%gs:0\n .byte 0x64\n lea 8, %0\n incq %%fs:8\n push %%fs:8\n pop %%fs:16\n"
		"mov $-8, %%rax\n mov %%gs:(%%rax), %1"
			 : "=&r"(r), "=&r"(s) : : "rax", "memory", "cc");
	check_eq("stores through bases", scratch[8] << 40 | scratch[2] << 20 | s, 0x77ull << 40 | 0x102ull << 20 | 0x107);
	check_eq("lea ignores the base", r, 8);
	wrmsr(MSR_KERNEL_GS_BASE, (u64)scratch + 128);
	__asm__ volatile("swapgs\n mov %%gs:0, %0\n swapgs\n mov %%gs:0, %1" : "=&r"(r), "=&r"(s));
	check_eq("swapgs", r << 20 | s, 0x110 << 20 | 0x77);
	wrmsr(MSR_FS_BASE, 0xffffffff80000000);
	wrmsr(MSR_GS_BASE, VA_DATA);
	*(u64 *)data_va = 0x4242;
	__asm__ volatile("mov $0x80000000, %%eax\n add %2, %%rax\n mov %%fs:(%%rax), %0\n xor %%ecx, %%ecx\n"
		"mov %%gs:(%%ecx), %1"
			 : "=&r"(r), "=&r"(s) : "r"((u64)scratch) : "rax", "rcx", "cc");
	check_eq("a negative base", r, 0x100);
	check_eq("base added after the 32-bit address", s, 0x4242);
	if (has_fsgsbase()) {
		write_cr4(read_cr4() | CR4_FSGSBASE);
		__asm__ volatile("wrfsbase %2\n rdfsbase %0\n rdgsbase %1\n wrgsbase %2" : "=&r"(r), "=&r"(s)
			: "r"((u64)scratch));
		check_eq("wrfsbase, rdfsbase, rdgsbase", (r ^ (u64)scratch) | (s ^ VA_DATA), 0);
		check_eq("wrgsbase", rdmsr(MSR_GS_BASE), (u64)scratch);
		__asm__ volatile("mov $0xffffffffffff, %%rax\n wrfsbase %%eax\n rdfsbase %0" : "=&r"(r) : : "rax");
		check_eq("wrfsbase of 32 bits", r, 0xffffffff);
	}
	__asm__ volatile("mov %0, %%fs\n mov %0, %%gs" : : "r"(SEL_DATA));
	check_eq("loading fs sets its base", rdmsr(MSR_FS_BASE) | rdmsr(MSR_GS_BASE), 0);
	/* movs takes a segment for its source only. */
	wrmsr(MSR_GS_BASE, 8);
	scratch[1] = 0x1234;
	scratch[20] = 0;
	__asm__ volatile("gs movsq" : : "S"(scratch), "D"(scratch + 20) : "memory");
	check_eq("gs movsq", scratch[20], 0x1234);
	wrmsr(MSR_GS_BASE, 0);
}

/* --- x87, SSE, AVX --- */
static void test_vectors(void)
{
	static double d[4] aligned(32);
	static float f[8] aligned(32);
	static u8 area[1024] aligned(64);
	u64 r, *bits = (u64 *)d;
	u32 *fbits = (u32 *)f;

	__asm__ volatile("fninit\n fld1\n fldpi\n fmulp\n fstpl %0\n fildl %1\n fsqrt\n fistpl %1" : "=m"(d[0]),
		"+m"(fbits[0]) : : "memory");
	check_eq("fldpi", bits[0], 0x400921fb54442d18);
	fbits[0] = 144;
	__asm__ volatile("fildl %0\n fsqrt\n fistpl %0" : "+m"(fbits[0]));
	check_eq("fild, fsqrt, fistp", fbits[0], 12);
	__asm__ volatile("fld1\n fldz\n fcomip %%st(1), %%st\n fstp %%st(0)\n setb %b0\n movzbl %b0, %k0" : "=q"(r) :
		: "cc");
	check_eq("fcomip sets flags", r, 1);
	__asm__ volatile("fld1\n fxch\n fnstsw %%ax\n fstp %%st(0)" : "=a"(r));
	check_eq("fnstsw", r & 0x3800, 0x3800);
	bits[0] = 0x3ff8000000000000;	/* 1.5 */
	bits[1] = 0x4002000000000000;	/* 2.25 */
	__asm__ volatile("movsd %1, %%xmm0\n mulsd %2, %%xmm0\n cvttsd2si %%xmm0, %0" : "=r"(r) : "m"(d[0]), "m"(d[1]));
	check_eq("mulsd, cvttsd2si", r, 3);
	__asm__ volatile("movupd %1, %%xmm0\n movapd %%xmm0, %%xmm9\n addpd %1, %%xmm9\n shufpd $1, %%xmm9, %%xmm9\n"
		"movq %%xmm9, %0\n"
			 "pcmpeqd %%xmm9, %%xmm9\n pmovmskb %%xmm9, %%eax" : "=r"(r) : "m"(*(char(*)[16])d) : "rax");
	check_eq("addpd, shufpd", r, 0x4012000000000000);
	__asm__ volatile("mov $0x5f80, %%eax\n push %%rax\n ldmxcsr (%%rsp)\n stmxcsr (%%rsp)\n pop %0\n push $0x1f80\n"
		"ldmxcsr (%%rsp)\n pop %%rax"
			 : "=&r"(r) : : "rax", "memory");
	check_eq("ldmxcsr, stmxcsr", r & 0xffff, 0x5f80);
	__asm__ volatile("mov $0x1234, %%eax\n movd %%eax, %%xmm15\n fxsave64 (%0)\n pxor %%xmm15, %%xmm15\n"
		"fxrstor64 (%0)\n movd %%xmm15, %%eax"
			 : "+r"((u64){(u64)area}) : : "rax", "memory");
	check_eq("fxsave, fxrstor", *(u32 *)(area + 160 + 15 * 16), 0x1234);
	if (!has_avx()) {
		report_skip("AVX", "not in CPUID");
		return;
	}
	for (int i = 0; i < 8; i++)
		fbits[i] = 0x3f800000;	/* 1.0 */
	__asm__ volatile("vmovups %1, %%ymm1\n vaddps %1, %%ymm1, %%ymm12\n vextractf128 $1, %%ymm12, %%xmm3\n"
		"vmovd %%xmm3, %k0"
			 : "=r"(r) : "m"(*(char(*)[32])f));
	check_eq("vaddps of 256 bits", r, 0x40000000);
	__asm__ volatile("movaps %%xmm1, %%xmm1\n vextractf128 $1, %%ymm1, %%xmm3\n vmovd %%xmm3, %%eax\n"
		"vmovaps %%xmm1, %%xmm1\n"
			 "vextractf128 $1, %%ymm1, %%xmm3\n vmovd %%xmm3, %%ecx\n shl $32, %%rcx\n or %%rcx, %%rax" : "=a"(r) :
			 	: "rcx", "cc");
	check_eq("VEX.128 clears the upper half, SSE keeps it", r, 0x3f800000);
	memset(area, 0, sizeof area);
	__asm__ volatile("vmovups %1, %%ymm5\n mov $7, %%eax\n xor %%edx, %%edx\n xsave64 (%0)\n vzeroall\n"
		"xrstor64 (%0)\n vextractf128 $1, %%ymm5, %%xmm3\n"
			 "vmovd %%xmm3, %%eax" : : "r"(area), "m"(*(char(*)[32])f) : "rax", "rdx", "memory");
	check_eq("xsave: XSTATE_BV", *(u64 *)(area + 512) & 6, 6);
	check_eq("xsave: upper half", *(u32 *)(area + 576 + 5 * 16), 0x3f800000);
	__asm__ volatile("xgetbv" : "=a"(r) : "c"(0) : "rdx");
	check_eq("xgetbv", r & 0xffffffff, 7);
}

/*
 * Code behind an instruction that leaves its unit (an x87 one while CR0.TS is set), to which later code leads back: it
 * is never reached from above. The instruction itself is never executed.
 */
static void test_behind_exits(void)
{
	u64 turns = scaled(20000), count = turns, sum = 0, never = 0, cr0 = read_cr0();

	write_cr0(cr0 | CR0_TS);
	__asm__ volatile("1: test %2, %2; jz 3f; fnop; 2: inc %0; dec %1; jnz 1b; jmp 9f; 3: add $2, %0; jmp 2b; 9:"
			 : "+r"(sum), "+r"(count) : "r"(never));
	write_cr0(cr0);
	check_eq("code behind an exit", sum, 3 * turns);
}

/* Branches forward to a return, or to little more: the flags are those of the branch, or of what stands between. */
__asm__("tail_cmp: cmp %rsi, %rdi; jle 1f; lea 5(%rdi), %rax; sub %rsi, %rax; ret; 1: ret\n"
	"tail_two: cmp %rsi, %rdi; je 1f; test %rdi, %rdi; js 1f; mov $1, %eax; cmp %rdi, %rsi; ret;"
		" 1: mov $7, %eax; ret\n"
	"tail_dec: cmp %rsi, %rdi; dec %rdi; jz 1f; mov %rdi, %rax; add %rsi, %rax; ret; 1: lea 3(%rsi), %rax; ret\n"
	"tail_set: cmp %rsi, %rdi; ja 1f; mov $2, %eax; add $3, %rax; ret; 1: mov %rsi, %rax; sub %rdi, %rax; ret\n"
	"tail_pop: push %rbx; mov %rdi, %rbx; cmp %rsi, %rbx; jl 1f; xor %eax, %eax; pop %rbx; ret;"
		" 1: mov $9, %eax; pop %rbx; ret\n");
u64 tail_cmp(u64, u64), tail_two(u64, u64), tail_dec(u64, u64), tail_set(u64, u64), tail_pop(u64, u64);

static u64 flags_after_call(u64 (*f)(u64, u64), u64 a, u64 b, u64 *result)
{
	u64 flags;

	__asm__ volatile("call *%[f]\n pushf\n pop %[flags]" : [flags] "=&r"(flags), "=a"(*result), "+D"(a), "+S"(b)
			 : [f] "r"(f) : "memory", "cc");
	return flags & 0x8d5;
}

static u64 flags_of_cmp(u64 a, u64 b)
{
	u64 flags;

	__asm__ volatile("cmp %2, %1\n pushf\n pop %0" : "=r"(flags) : "r"(a), "r"(b) : "cc");
	return flags & 0x8d5;
}

static void test_tails(void)
{
	u64 bad[5] = {0}, n = scaled(20000), r, f;

	for (u64 i = 0; i < n; i++) {
		u64 a = i * 0x9e3779b97f4a7c15 >> 60, b = i >> 3 & 15, max = i & 1 ? ~a : a;

		f = flags_after_call(tail_cmp, max, b, &r);
		bad[0] += f != ((s64)max <= (s64)b ? flags_of_cmp(max, b) : flags_of_cmp(max + 5, b));
		f = flags_after_call(tail_two, max, b, &r);
		bad[1] += max == b || (s64)max < 0 ?
			r != 7 || f != (max == b ? flags_of_cmp(a, a) : flags_of_cmp(max, 0)) :
			r != 1 || f != flags_of_cmp(b, max);
		f = flags_after_call(tail_dec, a, b, &r);
		bad[2] += a == 1 ? r != b + 3 || f != ((flags_of_cmp(a, b) & FL_CF) | 0x44) : r != a - 1 + b;
		f = flags_after_call(tail_set, a, b, &r);
		bad[3] += a > b ? r != b - a || f != flags_of_cmp(b, a) : r != 5;
		f = flags_after_call(tail_pop, a, b, &r);
		bad[4] += a < b ? r != 9 || f != flags_of_cmp(a, b) : r != 0 || f != 0x44;
	}
	check_eq("flags of a branch to a return", bad[0], 0);
	check_eq("two branches to one return", bad[1], 0);
	check_eq("a return with the carry of before", bad[2], 0);
	check_eq("flags set behind a branch", bad[3], 0);
	check_eq("a pop and a return behind a branch", bad[4], 0);
}

/* --- targets of indirect calls that see the flags they are entered with, though they overwrite them soon --- */
extern u8 enter_inc[], enter_sbb[], enter_shl[], enter_div[];
__asm__("enter_inc: mov %rax, %rcx\n inc %rcx\n setc %al\n ret\n"
	"enter_sbb: lea 1(%rax), %rcx\n sbb %rax, %rax\n neg %rax\n ret\n"
	"enter_shl: mov $0, %ecx\n shl %cl, %rax\n pushf\n pop %rax\n ret\n"
	"enter_div: mov %rax, %rcx\n div %r8\n add $1, %rcx\n ret");

static u64 enter_behind_cmp(const u8 *to, u64 a, u64 b)
{
	u64 r;

	__asm__ volatile("xor %%eax, %%eax\n cmp %[b], %[a]\n call *%[to]"
			 : "=&a"(r) : [a] "r"(a), [b] "r"(b), [to] "r"(to) : "rcx", "memory", "cc");
	return r;
}

static void test_entries(void)
{
	u64 bad[4] = {0}, n = scaled(4000);

	for (u64 i = 0; i < n; i++) {
		u64 a = i * 0x9e3779b97f4a7c15 >> 60, b = i >> 3 & 15;
		register u64 divisor __asm__("r8") = i % 64;

		bad[0] += enter_behind_cmp(enter_inc, a, b) != (a < b);
		bad[1] += enter_behind_cmp(enter_sbb, a, b) != (a < b);
		bad[2] += (enter_behind_cmp(enter_shl, a, b) & 0x8d5) != flags_of_cmp(a, b);
		if (TRY("xor %%edx, %%edx\n cmp %[b], %[a]\n call *%[to]", "+r"(divisor) : [a] "r"(a), [b] "r"(b),
			[to] "r"(enter_div) : "rax", "rcx", "rdx", "memory", "cc") == DE)
			bad[3] += divisor || (trap.f.rflags & 0x8d5) != flags_of_cmp(a, b);
		else
			bad[3] += !divisor;
	}
	check_eq("entered with a carry that INC leaves", bad[0], 0);
	check_eq("entered with a carry that is used and overwritten", bad[1], 0);
	check_eq("entered with flags that a shift by 0 leaves", bad[2], 0);
	check_eq("entered with flags that a division by 0 shows", bad[3], 0);
}

void metal_main(void)
{
	map_scattered(VA_DATA, 5);
	test_loops();
	test_recursion();
	test_behind_exits();
	test_indirect();
	test_coroutines();
	test_returns();
	test_tails();
	test_entries();
	test_page_ends();
	test_addressing();
	test_high_bytes();
	test_stack();
	test_flags();
	test_atomics();
	test_strings();
	test_crossing();
	test_bases();
	test_compat();
	test_vectors();
}
