/* SPDX-License-Identifier: MIT */
/*
 * Self- and cross-modifying code. On x86 a store to the running code's own linear address takes effect at the next
 * instruction; through an alias it does after a jump or a serializing instruction, which these checks always put
 * between (CPUID). Every way of writing is tried: plain, unaligned, page-crossing, string, push, locked, vector,
 * through aliases, from the same page, from the same loop.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define VA_CODE 0x7f0000001000ull
#define VA_ALIAS 0x7f0000401000ull
enum { PAGES = 4, PAGE = 4096 };

typedef u64 code_fn(void);
static u8 *const code = (u8 *)VA_CODE, *const alias = (u8 *)VA_ALIAS;
static u64 frames[PAGES];

static void serialize(void)
{
	__asm__ volatile("cpuid" : : "a"(0), "c"(0) : "rbx", "rdx", "memory");
}

static u64 call_code(const void *p)
{
	u64 r;

	__asm__ volatile("call *%1" : "=a"(r) : "r"(p) : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",
		"cc");
	return r;
}

/* mov $value, %eax; ret */
static u8 *put_return(u8 *p, u32 value)
{
	*p++ = 0xb8;
	memcpy(p, &value, 4);
	p[4] = 0xc3;
	return p + 5;
}

static void clear_code(void)
{
	memset(code, 0x90, PAGES * PAGE);
}

/* --- code that changes itself --- */
u64 patch_next(void), patch_loop(u64 n), patch_ahead(void), patch_behind(void), patch_own_tail(void), patch_jump(void);
__asm__(
	/* The next instruction's immediate. */
	"patch_next: movl $1, 1f+1(%rip)\n movl $0x1234, 1f+1(%rip)\n1: mov $1, %eax\n ret\n"
	/* The immediate of an add in the loop, each time. */
	"patch_loop: xor %eax, %eax\n1: .byte 5\n .long 0\n incl 1b+1(%rip)\n dec %rdi\n jnz 1b\n movl $0, 1b+1(%rip)\n"
		"ret\n"
	/* A few instructions ahead, in the same straight line, by a single byte: inc becomes dec. */
	"patch_ahead: mov $10, %eax\n movb $0xc8, 1f+1(%rip)\n nop\n nop\n nop\n1: inc %eax\n movb $0xc0, 1b+1(%rip)\n"
		"ret\n"
	/* An instruction already run, then go back. */
	"patch_behind: xor %ecx, %ecx\n1: mov $5, %eax\n inc %ecx\n cmp $2, %ecx\n je 2f\n movl $6, 1b+1(%rip)\n jmp 1b\n"
	"2: movl $5, 1b+1(%rip)\n ret\n"
	/* The ret itself becomes a nop. */
	"patch_own_tail: mov $1, %eax\n movb $0x90, 1f(%rip)\n1: ret\n mov $2, %eax\n movb $0xc3, 1b(%rip)\n ret\n"
	/* The target of a jump that follows. */
	"patch_jump: mov $3, %eax\n movb $2f-1f, 1f-1(%rip)\n jmp 1f\n1: mov $4, %eax\n ret\n2: movb $0, 1b-1(%rip)\n"
		"ret\n");
__asm__(".pushsection .text\n.popsection");

static void test_self(void)
{
	char name[64];

	for (int i = 0; i < 5; i++) {
		format(name, sizeof name, "the next instruction patched, round %d", i);
		check_eq(name, call_code(patch_next), 0x1234);
	}
	for (u64 i = 1; i <= 300; i += 100) {
		u64 r;

		__asm__ volatile("call patch_loop" : "=a"(r) : "D"(i) : "memory", "cc");
		format(name, sizeof name, "a loop patches itself %lu times", i);
		check_eq(name, r, i * (i - 1) / 2);
	}
	for (int i = 0; i < 3; i++) {
		format(name, sizeof name, "patched ahead, round %d", i);
		check_eq(name, call_code(patch_ahead), 9);
		format(name, sizeof name, "patched behind, round %d", i);
		check_eq(name, call_code(patch_behind), 6);
		format(name, sizeof name, "ret becomes nop, round %d", i);
		check_eq(name, call_code(patch_own_tail), 2);
		format(name, sizeof name, "jump target patched, round %d", i);
		check_eq(name, call_code(patch_jump), 3);
	}
}

/* --- generate, run, rewrite --- */
static void test_jit(void)
{
	u64 bad = 0, first = 0;

	clear_code();
	for (u32 i = 0; i < 10000; i++) {
		u8 *p = code + (i * 37 & 0xfff);

		put_return(p, i);
		if (call_code(p) != i && !bad++)
			first = i;
	}
	report(!bad, "generate, run, rewrite 10000 times", "%lu bad, first %lu", bad, first);
	bad = 0;
	for (u32 i = 0; i < 2000; i++) {
		put_return(code + 64, i);
		if (call_code(code + 64) != i && !bad++)
			first = i;
	}
	report(!bad, "the same place 2000 times", "%lu bad, first %lu", bad, first);
	/* Sixteen functions that call each other in a chain; one of them changes. */
	bad = 0;
	for (int k = 0; k < 16; k++) {
		u8 *p = code + 128 * k;

		*p++ = 0xe8;	/* call next */
		*(int *)p = 128 * (k + 1) - (128 * k + 5);
		memcpy(p + 4, "\x83\xc0", 2);	/* add $k, %eax; ret */
		p[6] = (u8)k;
		p[7] = 0xc3;
	}
	put_return(code + 128 * 16, 1000);
	for (int i = 0; i < 1000; i++) {
		int k = i * 7 & 15;
		u64 want = 1000;

		code[128 * k + 7] = (u8)(i & 63);
		put_return(code + 128 * 16, 1000);
		for (int j = 0; j < 16; j++)
			want += code[128 * j + 7];
		if (call_code(code) != want && !bad++)
			first = (u64)i;
	}
	report(!bad, "a chain of calls with one link rewritten", "%lu bad, first %lu", bad, first);
	/* Code of changing shape: lengths and control flow differ from round to round. */
	bad = 0;
	for (u32 i = 0; i < 3000; i++) {
		u8 *p = code + 256;
		u32 want = i, x = i * 2654435761u;

		*p++ = 0xb8;
		memcpy(p, &i, 4);
		p += 4;
		for (int k = 0; k < 8; k++, x >>= 3) {
			switch (x & 7) {
			case 0: memcpy(p, "\xff\xc0", 2); p += 2; want++; break;
			case 1: memcpy(p, "\x83\xe8\x03", 3); p += 3; want -= 3; break;
			case 2: memcpy(p, "\xeb\x02\xff\xc0", 4); p += 4; break;
			case 3: memcpy(p, "\x85\xc0\x74\x02\xff\xc0", 6); p += 6; want += !!want; break;
			case 4: memcpy(p, "\x0f\xc8", 2); p += 2; want = __builtin_bswap32(want); break;
			case 5: memcpy(p, "\xe8\x02\x00\x00\x00\xeb\x03\xff\xc0\xc3", 10); p += 10; want++; break;
			case 6: memcpy(p, "\x50\x58", 2); p += 2; break;
			default: memcpy(p, "\xd1\xc0", 2); p += 2; want = want << 1 | want >> 31;
			}
		}
		*p = 0xc3;
		if (call_code(code + 256) != want && !bad++)
			first = i;
	}
	report(!bad, "random code, 3000 bodies at one place", "%lu bad, first %lu", bad, first);
}

/* --- ways of writing --- */
static void write_b(u8 *p, const u8 *s) { for (int i = 0; i < 16; i++) ((volatile u8 *)p)[i] = s[i]; }
static void write_q(u8 *p, const u8 *s) { ((volatile u64 *)p)[0] = ((const u64 *)s)[0];
	((volatile u64 *)p)[1] = ((const u64 *)s)[1]; }
static void write_rep_b(u8 *p, const u8 *s) { memcpy(p, s, 16); }
static void write_rep_q(u8 *p, const u8 *s)
{
	u64 n = 2;

	__asm__ volatile("rep movsq" : "+D"(p), "+S"(s), "+c"(n) : : "memory");
}
static void write_rep_down(u8 *p, const u8 *s)
{
	u64 n = 16;

	p += 15, s += 15;
	__asm__ volatile("std\n rep movsb\n cld" : "+D"(p), "+S"(s), "+c"(n) : : "memory");
}
static void write_push(u8 *p, const u8 *s)
{
	__asm__ volatile("mov %%rsp, %%rcx\n lea 16(%0), %%rsp\n push 8(%1)\n push (%1)\n mov %%rcx, %%rsp" : : "r"(p),
		"r"(s) : "rcx", "memory");
}
static void write_call_push(u8 *p, const u8 *s)	/* pop to memory */
{
	__asm__ volatile("push (%1)\n pop (%0)\n push 8(%1)\n pop 8(%0)" : : "r"(p), "r"(s) : "memory");
}
static void write_sse(u8 *p, const u8 *s) { __asm__ volatile("movups (%1), %%xmm0\n"
	"movups %%xmm0, (%0)" : : "r"(p), "r"(s) : "memory"); }
static void write_xchg(u8 *p, const u8 *s)
{
	__asm__ volatile("mov (%1), %%rax\n xchg %%rax, (%0)\n mov 8(%1), %%rax\n xchg %%rax, 8(%0)" : : "r"(p), "r"(s)
		: "rax", "memory");
}
static void write_cmpxchg(u8 *p, const u8 *s)
{
	__asm__ volatile("mov (%0), %%rax\n mov (%1), %%rcx\n lock cmpxchg %%rcx, (%0)\n mov 8(%0), %%rax\n"
		"mov 8(%1), %%rcx\n"
			 "lock cmpxchg %%rcx, 8(%0)" : : "r"(p), "r"(s) : "rax", "rcx", "memory", "cc");
}
static void write_x87(u8 *p, const u8 *s)
{
	__asm__ volatile("fildll (%1)\n fistpll (%0)\n fildll 8(%1)\n fistpll 8(%0)" : : "r"(p), "r"(s) : "memory");
}
static void write_rmw(u8 *p, const u8 *s)
{
	__asm__ volatile("mov (%1), %%rax\n xor (%0), %%rax\n xor %%rax, (%0)\n mov 8(%1), %%rax\n sub 8(%0), %%rax\n"
		"add %%rax, 8(%0)"
			 : : "r"(p), "r"(s) : "rax", "memory", "cc");
}
static void write_movnti(u8 *p, const u8 *s)
{
	__asm__ volatile("mov (%1), %%rax\n movnti %%rax, (%0)\n mov 8(%1), %%rax\n movnti %%rax, 8(%0)" : : "r"(p),
		"r"(s) : "rax", "memory");
}
static void write_stos(u8 *p, const u8 *s)
{
	for (int i = 0; i < 2; i++, s += 8)
		__asm__ volatile("stosq" : "+D"(p) : "a"(*(const u64 *)s) : "memory");
}
static void write_ins(u8 *p, const u8 *s)	/* whatever the port gives, then the rest: an INS write is seen too */
{
	__asm__ volatile("insb" : "+D"(p) : "d"(0x61) : "memory");
	write_b(p - 1, s);
}

static const struct { const char *name; void (*write)(u8 *, const u8 *); } writers[] = {
	{"bytes", write_b}, {"quadwords", write_q}, {"rep movsb", write_rep_b}, {"rep movsq", write_rep_q},
		{"rep movsb down", write_rep_down},
	{"push", write_push}, {"pop", write_call_push}, {"movups", write_sse}, {"xchg", write_xchg},
		{"lock cmpxchg", write_cmpxchg},
	{"fistp", write_x87}, {"xor, add to memory", write_rmw}, {"movnti", write_movnti}, {"stosq", write_stos},
		{"ins", write_ins},
};

static void test_writers(void)
{
	static u8 image[16] aligned(16);
	char name[96];

	for (unsigned w = 0; w < ARRAY_SIZE(writers); w++) {
		u64 bad[3] = {0}, at[3] = {0};

		for (int how = 0; how < 3; how++) { /* direct, through an alias, direct after other code on the page */
			clear_code();
			for (u32 i = 0; i < 60; i++) {
				/* Round the page end from 16 bytes before to just behind it. */
				u32 off = i < 40 ? PAGE - 20 + i / 2 : i * 61;
				u8 *p = code + off;

				memset(image, 0x90, 16);
				put_return(image + (i & 7), i * 0x01010101 + w);
				writers[w].write(how == 1 ? alias + off : p, image);
				serialize();
				if (call_code(p) != (u32)(i * 0x01010101 + w) && !bad[how]++)
					at[how] = off;
			}
		}
		format(name, sizeof name, "code written by %s", writers[w].name);
		report(!bad[0], name, "%lu bad, first at offset %lx", bad[0], at[0]);
		format(name, sizeof name, "code written by %s, through an alias", writers[w].name);
		report(!bad[1], name, "%lu bad, first at offset %lx", bad[1], at[1]);
		format(name, sizeof name, "code written by %s, again", writers[w].name);
		report(!bad[2], name, "%lu bad, first at offset %lx", bad[2], at[2]);
	}
}

/* --- page boundaries and mappings --- */
static void test_straddle(void)
{
	int bad = 0, at = 0;

	clear_code();
	for (int k = 1; k < 10; k++) {		/* k bytes of movabs in the first page */
		u8 *p = code + PAGE - k;

		memcpy(p, "\x48\xb8\x11\x11\x11\x11\x11\x11\x11\x11\xc3", 11);
		for (u32 i = 0; i < 20; i++) {
			u64 want = 0x1111111111111111;

			if (k > 2)
				code[PAGE - k + 2] = 0x11;
			code[PAGE + 9 - k] = (u8)i;	/* the immediate's last byte, in the second page */
			want = (want & ~(0xffull << 56)) | (u64)(u8)i << 56;
			if (call_code(p) != want && !bad++)
				at = k;
			if (k > 2) {
				code[PAGE - k + 2] = (u8)~i;
				want = (want & ~0xffull) | (u8)~i;
				if (call_code(p) != want && !bad++)
					at = -k;
			}
		}
	}
	report(!bad, "a straddling instruction, either page changed", "%d bad, first with %d bytes in the first page",
		bad, at);

	/* The second page is mapped elsewhere: the instruction must be made of the new bytes. */
	memcpy(code + PAGE - 4, "\x48\xb8\x11\x22\x33\x44\x55\x66\x77\x88\xc3", 11);
	check_eq("straddling, before", call_code(code + PAGE - 4), 0x8877665544332211);
	memcpy(code + 2 * PAGE, "\x03\x04\x05\x06\x07\x08\xc3", 7);
	page_map(VA_CODE + PAGE, frames[2] | PTE_P | PTE_W);
	check_eq("straddling, second page remapped", call_code(code + PAGE - 4), 0x0807060504032211 + (0x0000000000000000));
	page_map(VA_CODE + PAGE, frames[1] | PTE_P | PTE_W);
	check_eq("straddling, mapped back", call_code(code + PAGE - 4), 0x8877665544332211);
	/* The second page goes away. */
	page_map(VA_CODE + PAGE, 0);
	TRY("call *%0", : "r"(code + PAGE - 4) : "rax", "rcx", "rdx", "memory");
	report(trap.vector == PF && trap.f.error == 0x10 && trap.cr2 == VA_CODE + PAGE && trap.f.rip == VA_CODE + PAGE - 4,
	       "straddling, second page absent", "vector %d error %lx cr2 %lx rip %lx", trap.vector, trap.f.error,
	       	trap.cr2, trap.f.rip);
	page_map(VA_CODE + PAGE, frames[1] | PTE_P | PTE_W);
	check_eq("straddling, back again", call_code(code + PAGE - 4), 0x8877665544332211);
}

static void test_remap(void)
{
	u64 bad = 0;

	clear_code();
	for (u32 k = 0; k < PAGES; k++)
		put_return(code + k * PAGE + 0x100, 100 + k);
	for (u32 i = 0; i < 400; i++) {
		page_map(VA_ALIAS, frames[i % PAGES] | PTE_P | PTE_W);
		bad += call_code(alias + 0x100) != 100 + i % PAGES;
	}
	report(!bad, "one address, four frames of code", "%lu bad", bad);
	/* A direct jump from one page into another whose mapping changes. */
	code[0] = 0xe9;
	*(int *)(code + 1) = PAGE + 0x100 - 5;
	bad = 0;
	for (u32 i = 0; i < 200; i++) {
		u32 k = 1 + i % 3;

		page_map(VA_CODE + PAGE, frames[k] | PTE_P | PTE_W);
		bad += call_code(code) != 100 + k;
	}
	page_map(VA_CODE + PAGE, frames[1] | PTE_P | PTE_W);
	report(!bad, "a jump into a page that is remapped", "%lu bad", bad);
	bad = 0;
	for (u32 k = 0; k < PAGES; k++)
		page_map(VA_ALIAS + k * PAGE, frames[k] | PTE_P | PTE_W);
	/* Run at both addresses; write by either. */
	for (u32 i = 0; i < 300; i++) {
		put_return((i & 1 ? code : alias) + 0x300, i);
		serialize();
		bad += call_code((i & 2 ? code : alias) + 0x300) != i;
		bad += call_code((i & 2 ? alias : code) + 0x300) != i;
	}
	report(!bad, "code run and written at two addresses", "%lu bad", bad);
	/* The same physical code at two addresses gives two results if it is position-dependent. */
	memcpy(code + 0x400, "\x48\x8d\x05\x00\x00\x00\x00\xc3", 8);
	check_eq("rip-relative code at one address", call_code(code + 0x400), VA_CODE + 0x407);
	check_eq("rip-relative code at another", call_code(alias + 0x400), VA_ALIAS + 0x407);
}

/* A writable page turned into a read-only one and back, with code on it. */
static void test_protect(void)
{
	put_return(code + 0x500, 1);
	check_eq("before read-only", call_code(code + 0x500), 1);
	write_cr0(read_cr0() | CR0_WP);
	page_map(VA_CODE, frames[0] | PTE_P);
	TRY("movl $2, 1(%0)", : "r"(code + 0x500) : "memory");
	check_trap("a store to read-only code", PF, 3, 0);
	check_eq("read-only code runs", call_code(code + 0x500), 1);
	alias[0x501] = 7;
	serialize();
	check_eq("read-only code changed through an alias", call_code(code + 0x500), 7);
	page_map(VA_CODE, frames[0] | PTE_P | PTE_W);
	write_cr0(read_cr0() & ~(u64)CR0_WP);
	put_return(code + 0x500, 3);
	check_eq("writable again", call_code(code + 0x500), 3);
}

/* --- data and stack on the page of running code --- */
u64 data_beside(u64 n), stack_beside(u64 n);
__asm__(".balign 64\n data_beside: xor %eax, %eax\n1: incq 2f(%rip)\n add 2f(%rip), %rax\n dec %rdi\n jnz 1b\n"
	"movq $0, 2f(%rip)\n ret\n"
	".balign 8\n2: .quad 0\n"
	"stack_beside: mov %rsp, %rdx\n lea 4f(%rip), %rsp\n xor %eax, %eax\n1: push %rdi\n call 3f\n pop %rcx\n"
		"add %rcx, %rax\n dec %rdi\n"
	"jnz 1b\n mov %rdx, %rsp\n ret\n3: ret\n.balign 16\n.skip 64\n4:\n");

static void test_beside(void)
{
	u64 r;

	__asm__ volatile("call data_beside" : "=a"(r) : "D"(1000) : "memory", "cc");
	check_eq("data beside running code", r, 500500);
	__asm__ volatile("call stack_beside" : "=a"(r) : "D"(1000) : "rcx", "rdx", "memory", "cc");
	check_eq("a stack beside running code", r, 500500);
}

/* rep stos that overwrites the code behind itself: code of the next instruction, and its own instruction. */
static void test_rep_over(void)
{
	u8 *p = code + 0x600;
	u64 di, si, c, r;

	/* rep stosb; mov $1,%eax; ret - the mov becomes nops, so EAX keeps 0x90. */
	memcpy(p, "\xf3\xaa\xb8\x01\x00\x00\x00\xc3", 8);
	di = (u64)p + 2, c = 5;
	__asm__ volatile("call *%3" : "=a"(r), "+D"(di), "+c"(c) : "r"(p), "a"(0x90) : "memory");
	check_eq("rep stosb over the next instruction", r, 0x90);
	/* From before the instruction over itself: rep movs of identical bytes, then changed ones behind. */
	memcpy(p, "\xf3\xa4\xb8\x01\x00\x00\x00\xc3", 8);
	memcpy(code + 0x700, "\x90\x90\x90\xf3\xa4\xb8\x77\x00\x00\x00\xc3", 11);
	di = (u64)p - 3, c = 11;
	si = (u64)code + 0x700;
	__asm__ volatile("call *%4" : "=a"(r), "+D"(di), "+S"(si), "+c"(c) : "r"(p) : "memory");
	check_eq("rep movsb over itself", r, 0x77);
}

/* A trap handler, an interrupt gate's target and a call target in memory, rewritten. */
static void test_handlers(void)
{
	u8 *p = code + 0x800;
	u64 r = 0, bad = 0;

	for (u32 i = 0; i < 50; i++) {
		/* mov $i, %eax; iretq */
		p[0] = 0xb8;
		memcpy(p + 1, &i, 4);
		memcpy(p + 5, "\x48\xcf", 2);
		idt_set(0x90, p, 0x8e, 0);
		__asm__ volatile("int $0x90" : "=a"(r) : : "memory");
		bad += r != i;
	}
	report(!bad, "an interrupt handler rewritten", "%lu bad, last %lx", bad, r);
}

void metal_main(void)
{
	for (int i = 0; i < PAGES; i++)
		frames[PAGES - 1 - i] = page_alloc();
	for (u64 i = 0; i < PAGES; i++) {
		page_map(VA_CODE + i * PAGE, frames[i] | PTE_P | PTE_W);
		page_map(VA_ALIAS + i * PAGE, frames[i] | PTE_P | PTE_W);
	}
	test_self();
	test_jit();
	test_writers();
	test_straddle();
	test_remap();
	test_protect();
	test_beside();
	test_rep_over();
	test_handlers();
}
