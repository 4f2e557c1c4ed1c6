/* SPDX-License-Identifier: MIT */
/*
 * XSAVE and its kin in 32-bit code of a 64-bit program: they know eight vector registers. What 64-bit code has in
 * XMM8 to ZMM31 is neither saved nor restored, and the bytes of an area that are those registers' stay as they were
 * (SDM vol. 1, "State components" of SSE, AVX and AVX-512). Linked without PIE, so that the code lies below 4 GiB.
 */
#include "catch.h"
#include "features.h"

#define USER_CS64 "0x33"
#define USER_CS32 "0x23"
#define USER_DS "0x2b"

enum { X87 = 1, SSE = 2, AVX = 4, OPMASK = 0x20, ZMM_UPPER = 0x40, ZMM16 = 0x80, AREA = 4096, XMM = 160, HEADER = 512 };

static uint8_t area[AREA] __attribute__((aligned(64))), mine[AREA] __attribute__((aligned(64))),
	after[AREA] __attribute__((aligned(64)));
uint64_t saved_stack __attribute__((used));
uint8_t low_stack[8192] __attribute__((used, aligned(16)));
static uint32_t all, offset[8], size[8];

/* f(at, mask): the instruction with its area at EDI and its mask in EAX. */
#define IN_32(name, instruction) \
	void name(void *, uint64_t); \
	asm(".text; .globl " #name "\n" #name ": push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15;" \
	    "mov %rsp, saved_stack; mov $low_stack + 8192, %rsp; pushq $" USER_CS32 "; pushq $1f; lretq; .code32\n" \
	    "1: mov $" USER_DS ", %eax; mov %eax, %ds; mov %esi, %eax; xor %edx, %edx; " instruction " (%edi);" \
	    "ljmp $" USER_CS64 ", $2f; .code64\n" \
	    "2: mov saved_stack, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret")

IN_32(save32, "xsave");
IN_32(savec32, "xsavec");
IN_32(saveopt32, "xsaveopt");
IN_32(restore32, "xrstor");

#define SAVE(at) asm volatile("xsave64 %0" : "+m"(at) : "a"(all), "d"(0) : "memory")
#define RESTORE(at) asm volatile("xrstor64 %0" ::"m"(at), "a"(all), "d"(0) : "memory")

static void set_header(uint8_t *at, uint64_t used, uint64_t form)
{
	memset(at + HEADER, 0, 64);
	memcpy(at + HEADER, &used, 8);
	memcpy(at + HEADER + 8, &form, 8);
}

static uint64_t header(const uint8_t *at, int word)
{
	uint64_t value;

	memcpy(&value, at + HEADER + 8 * word, 8);
	return value;
}

/* An area in which every vector register has bytes of its own. */
static void fill(uint8_t *at, uint8_t seed)
{
	for (int i = XMM; i < AREA; i++)
		at[i] = (uint8_t)(seed + i * 7 + i / 64 * 3);
	memset(at, 0, XMM);
	*(uint16_t *)at = 0x37f;
	*(uint32_t *)(at + 24) = 0x1f80;
	*(uint32_t *)(at + 28) = 0xffff;
	set_header(at, all, 0);
}

/* Registers as in `mine`, the instruction, and what they are then: no other function, which might use them, between. */
static void run(void (*code)(void *, uint64_t), uint32_t mask)
{
	memset(after, 0, AREA);
	RESTORE(mine);
	code(area, mask);
	SAVE(after);
}

/* A part of an area: the same as in `a`, as in `b`, zeros, or something else. */
static const char *compare(const uint8_t *at, const uint8_t *a, const uint8_t *b, int n)
{
	static const uint8_t zeros[1024];

	return !memcmp(at, a, n) ? "first" : !memcmp(at, b, n) ? "second" : !memcmp(at, zeros, n) ? "zeros" : "other";
}

static void show(const char *what, const uint8_t *at, const uint8_t *a, const uint8_t *b, const uint32_t *place)
{
	printf("%-22s xmm0-7 %s, 8-15 %s", what, compare(at + XMM, a + XMM, b + XMM, 128),
	       compare(at + XMM + 128, a + XMM + 128, b + XMM + 128, 128));
	for (int i = 2; i < 8; i++) {
		uint32_t half = size[i] / 2, o = place[i];

		if (!(all >> i & 1))
			continue;
		printf("; %d: %s", i, compare(at + o, a + offset[i], b + o, half));
		printf(" %s", compare(at + o + half, a + offset[i] + half, b + o + half, half));
	}
	printf("\n");
}

static void test_save(const char *what, void (*code)(void *, uint64_t), uint32_t mask)
{
	static uint8_t old[AREA];

	fill(mine, 1);
	fill(area, 100);
	memset(area, 0x55, HEADER);
	set_header(area, 0, 0);
	memcpy(old, area, AREA);
	run(code, mask);
	/* ZMM16: what 32-bit code has of it is initial by the manual; Zen 4 says that it is in use. */
	printf("in use %jx, form %jx\n", header(area, 0) & ~(uint64_t)ZMM16, header(area, 1));
	show(what, area, mine, old, offset);
	check(!memcmp(area + XMM + 128, old + XMM + 128, HEADER - XMM - 128), "nothing between XMM7 and the header");
	if (all & ZMM16 && code != savec32)
		check(!memcmp(area + offset[7], old + offset[7], size[7]), "nothing of ZMM16 to ZMM31");
	check(!memcmp(after + XMM, mine + XMM, 256), "the registers are as before");
}

/* The upper registers, which 32-bit code has not, are as before in each case. */
static void check_upper(void)
{
	check(!memcmp(after + XMM + 128, mine + XMM + 128, 128), "XMM8 to XMM15 stay");
	for (int i = 2; i < 7; i++)
		if (all >> i & 1 && i != 5)
			check(!memcmp(after + offset[i] + size[i] / 2, mine + offset[i] + size[i] / 2, size[i] / 2),
			      "upper halves of 8 to 15 stay");
	if (all & ZMM16)
		check(!memcmp(after + offset[7], mine + offset[7], size[7]), "ZMM16 to ZMM31 stay");
}

static void test_restore(const char *what, uint32_t mask, uint64_t used)
{
	fill(mine, 1);
	fill(area, 100);
	set_header(area, used, 0);
	run(restore32, mask);
	show(what, after, mine, area, offset);
	check_upper();
}

/* In the compacted form, with what XSAVEC has made of other registers. */
static void test_compact(uint32_t mask)
{
	fill(mine, 100);
	fill(area, 7);
	set_header(area, 0, 0);
	run(savec32, mask);
	fill(mine, 1);
	run(restore32, all);
	fill(area, 100);
	show("compacted", after, mine, area, offset);
	check_upper();
}

int main(void)
{
	if (!have("xsave"))
		return 0;
	all = X87 | SSE | (have("avx") ? AVX : 0) | (have("avx512f") ? OPMASK | ZMM_UPPER | ZMM16 : 0);
	for (uint32_t i = 2; i < 8; i++) {
		uint32_t c, d;

		if (all >> i & 1)
			__cpuid_count(13, i, size[i], offset[i], c, d);
	}
	test_save("xsave", save32, all);
	test_save("xsave, sse", save32, SSE);
	test_save("xsave, but sse", save32, all & ~SSE);
	if (have("xsaveopt"))
		test_save("xsaveopt", saveopt32, all);
	if (have("xsavec")) {
		test_save("xsavec", savec32, all);
		test_save("xsavec, but avx", savec32, all & ~AVX);
		test_compact(all);
		test_compact(all & ~AVX);
	}
	test_restore("xrstor", all, all);
	test_restore("xrstor, sse", SSE, all);
	test_restore("xrstor, but sse", all & ~SSE, all);
	test_restore("xrstor, initial", all, 0);
	test_restore("xrstor, sse initial", SSE | X87, 0);
	test_restore("xrstor, avx initial", all, all & ~AVX);
}
