/* SPDX-License-Identifier: MIT */
/*
 * XSAVE's own rules: CPUID's layout agrees with what the instructions do; state saved and restored comes back; the
 * header says what was saved; components in their initial state; XSAVEC's and XSAVEOPT's forms; XGETBV; and what XRSTOR
 * refuses. What is printed does not depend on which components a processor has beyond AVX-512.
 */
#include "catch.h"
#include "features.h"

/* Asked once: the library's string functions, which have() calls, change vector registers. */
static bool avx, avx512;

enum { LEGACY = 400, AVX_HALVES = 256 }; /* in 32 bits, the places of the registers that it has not among them */
enum { X87 = 1, SSE = 2, AVX = 4, AVX512 = 0xe0, AREA = 16384 };

static uint8_t area[AREA] __attribute__((aligned(64)));
static uint8_t other[AREA] __attribute__((aligned(64)));

static void leaf(uint32_t subleaf, uint32_t r[4])
{
	__cpuid_count(13, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
}

#define SAVE(instruction, at, mask) asm volatile(instruction " %0" : "+m"(at) : "a"(mask), "d"(0) : "memory")
#define RESTORE(at, mask) asm volatile("xrstor64 %0" ::"m"(at), "a"(mask), "d"(0) : "memory")

static uint64_t header(const uint8_t *at, int word)
{
	uint64_t value;

	memcpy(&value, at + 512 + 8 * word, 8);
	return value;
}

static void test_layout(void)
{
	uint64_t xcr0 = feature_xcr0();
	uint32_t r[4], i, end = 576, outside = 0;

	leaf(0, r);
	check((r[EAX] & xcr0) == xcr0, "XCR0 enables only what CPUID offers");
	check((xcr0 & 3) == 3, "x87 and SSE are enabled");
	for (i = 2; i < 32; i++) {
		uint32_t c[4];

		if (!(xcr0 >> i & 1))
			continue;
		leaf(i, c);
		if (c[EBX] + c[EAX] > end)
			end = c[EBX] + c[EAX];
		if ((avx && i == 2) || (avx512 && i >= 5 && i <= 7))
			printf("component %u: offset %u size %u, %s\n", i, c[EBX], c[EAX], c[ECX] & 1 ? "supervisor" : "user");
		outside += c[EBX] + c[EAX] > r[ECX];
	}
	check(!outside, "all components lie within the largest area");
	check(end == r[EBX], "the size for what is enabled is the end of the last component");
}

static void set_registers(uint64_t seed)
{
	uint8_t values[64];
	int i;

	for (i = 0; i < 64; i++)
		values[i] = seed * (i + 1) + i;
	asm volatile("movups %0, %%xmm3" ::"m"(values) : "xmm3");
	if (avx)
		asm volatile("vmovups %0, %%ymm4" ::"m"(values) : "xmm4");
	if (avx512)
		asm volatile("vmovups %0, %%zmm5; vmovups %0, %%zmm21; kmovw %0, %%k3" ::"m"(values) : "xmm5");
	asm volatile("fninit; fildll %0" ::"m"(values));
}

static uint64_t get_registers(void)
{
	static uint8_t v[5][64];
	uint64_t h = HASH_START;

	asm volatile("movups %%xmm3, %0" : "=m"(v[0])::"memory");
	if (avx)
		asm volatile("vmovups %%ymm4, %0" : "=m"(v[1])::"memory");
	if (avx512)
		asm volatile("vmovups %%zmm5, %0; vmovups %%zmm21, %1; kmovw %%k3, %2"
			     : "=m"(v[2]), "=m"(v[3]), "=m"(v[4])::"memory");
	h = hash(h, v, sizeof(v));
	asm volatile("fistpll %0; fninit" : "=m"(v[0])::"memory");
	return hash(h, v[0], 8);
}

static uint32_t all;

static void test_round_trip(void)
{
	uint64_t first;

	memset(area, 0x11, sizeof(area));
	memset(area + 512, 0, 64);
	set_registers(7);
	SAVE("xsave64", area, all);
	first = get_registers();
	set_registers(99);
	RESTORE(area, all);
	check(get_registers() == first, "all registers come back");
	printf("in use: %jx, registers %016jx\n", header(area, 0) & all, first);
	printf("area of x87 and SSE %016jx\n", hash(hash(HASH_START, area, 2), area + 32, LEGACY - 32));
	if (avx)
		printf("area of AVX %016jx\n", hash(HASH_START, area + 576, AVX_HALVES));
}

static void test_partial(void)
{
	uint64_t before;

	set_registers(5);
	before = get_registers();
	set_registers(5);
	memset(other, 0, sizeof(other));
	SAVE("xsave64", other, SSE);
	printf("SSE alone: %jx\n", header(other, 0));
	set_registers(6);
	RESTORE(area, X87);
	RESTORE(other, SSE);
	printf("mixed %016jx, before %016jx\n", get_registers(), before);
}

static void test_initial(void)
{
	uint64_t registers;

	memset(other, 0, sizeof(other));
	*(uint16_t *)other = 0x37f;
	*(uint32_t *)(other + 24) = 0x1f80;
	memset(area, 0xee, 1024);
	memset(area + 512, 0, 64);
	set_registers(3);
	RESTORE(other, all); /* an area with nothing in use: every component becomes initial */
	SAVE("xsave64", area, all);
	registers = get_registers();
	printf("initial: in use %jx registers %016jx\n", header(area, 0) & all & ~(uint64_t)(X87 | SSE), registers);
	if (avx) {
		set_registers(4);
		asm volatile("vzeroupper");
		SAVE("xsave64", area, all);
		printf("after vzeroupper: AVX in use %d\n", (header(area, 0) & AVX) != 0);
	}
	if (have("xgetbv1")) {
		uint32_t low, high;

		RESTORE(other, all);
		set_registers(4);
		asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
		printf("XINUSE %x\n", low & all);
	}
}

static void test_compact(void)
{
	uint64_t first;

	if (!have("xsavec"))
		return;
	memset(area, 0, sizeof(area));
	set_registers(11);
	SAVE("xsavec64", area, all);
	first = get_registers();
	printf("compact: in use %jx format %jx\n", header(area, 0), header(area, 1));
	if (avx)
		printf("area of AVX %016jx\n", hash(HASH_START, area + 576, AVX_HALVES));
	set_registers(12);
	RESTORE(area, all);
	check(get_registers() == first, "and back");
	set_registers(13);
	SAVE("xsavec64", area, X87 | SSE);
	printf("compact, little: in use %jx format %jx\n", header(area, 0), header(area, 1));
}

static void test_optimised(void)
{
	uint64_t first;

	if (!have("xsaveopt"))
		return;
	set_registers(21);
	memset(area, 0, sizeof(area));
	SAVE("xsaveopt64", area, all);
	first = get_registers();
	RESTORE(area, all);
	SAVE("xsaveopt64", area, all); /* may leave out what has not changed: the area must still restore the same */
	set_registers(22);
	RESTORE(area, all);
	check(get_registers() == first, "XSAVEOPT twice, and back");
}

static void restore_code(void *at, void *mask)
{
	asm volatile("xrstor64 (%0)" ::"r"(at), "a"(*(uint32_t *)mask), "d"(0) : "memory");
}

static void save_code(void *at, void *mask)
{
	asm volatile("xsave64 (%0)" ::"r"(at), "a"(*(uint32_t *)mask), "d"(0) : "memory");
}

static void set_code(void *bit, void *unused)
{
	(void)unused;
	asm volatile("xsetbv" ::"a"((uint32_t)(long)bit), "d"(0), "c"(0));
}

static void report(const char *what, void (*code)(void *, void *), void *at)
{
	int signo = catch_run(code, at, &all);

	printf("%-24s %s trap %lu\n", what, catch_name(signo), caught.trap);
}

static void test_refusals(void)
{
	char *end = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(end + 4096, 4096, PROT_NONE);
	memset(other, 0, sizeof(other));
	*(uint32_t *)(other + 24) = 0x1f80;
	report("unaligned restore", restore_code, other + 8);
	report("unaligned save", save_code, other + 16);
	other[512 + 16] = 1;
	report("header's reserved bytes", restore_code, other);
	other[512 + 16] = 0;
	*(uint64_t *)(other + 512) = 1ull << 62;
	report("unknown component", restore_code, other);
	*(uint64_t *)(other + 512) = 2;
	*(uint32_t *)(other + 24) = 0x1f80 | 1 << 20;
	report("bad MXCSR", restore_code, other);
	report("save over the end", save_code, end + 4096 - 576 + 64);
	report("restore from the end", restore_code, end + 4096 - 512);
	report("XSETBV", set_code, (void *)3);
	asm volatile("fninit");
}

int main(void)
{
	if (!have("xsave"))
		return 0;
	avx = have("avx");
	avx512 = have("avx512f");
	all = X87 | SSE | (avx ? AVX : 0) | (avx512 ? AVX512 : 0);
	catch_init();
	test_layout();
	test_round_trip();
	test_partial();
	test_initial();
	test_compact();
	test_optimised();
	test_refusals();
}
