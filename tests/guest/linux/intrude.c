/* SPDX-License-Identifier: MIT */
/*
 * Processes that compute, and look for the machine below: code that tells of the processor in pages that run already,
 * over the ends of pages, through a second mapping; signals, a page protected and exchanged, and vector state while it
 * computes; several processes with the same code and other data at equal addresses. Each compares what it gets with
 * what it got by other means, so that it must pass anywhere.
 */
#include <cpuid.h>
#include <sched.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "catch.h"

enum { PAGE = 4096, CHILDREN = 5 };

/* A function of no arguments: CPUID of leaf EDI folded into RAX. RBX is kept. */
static const uint8_t ask[] = { 0x53, 0x89, 0xf8, 0x31, 0xc9, 0x0f, 0xa2, 0x48, 0xc1, 0xe3, 0x20, 0x48, 0x09, 0xd8,
	0x48, 0xc1, 0xe1, 0x10, 0x48, 0x31, 0xc8, 0x48, 0x31, 0xd0, 0x5b, 0xc3 };
/* As long, without it: counts instead. */
static const uint8_t plain[] = { 0x53, 0x89, 0xf8, 0x31, 0xc9, 0xff, 0xc0, 0x48, 0xc1, 0xe3, 0x20, 0x48, 0x31, 0xdb,
	0x48, 0xc1, 0xe1, 0x10, 0x48, 0x31, 0xc8, 0x90, 0x90, 0x90, 0x5b, 0xc3 };
_Static_assert(sizeof(ask) == sizeof(plain), "one takes the other's place");

static const uint32_t leaves[] = { 0, 2, 0x80000000, 0x80000002, 0x80000003, 0x80000004, 0x40000000 };

static uint64_t asked(uint32_t leaf)
{
	uint32_t a, b, c, d;

	__cpuid_count(leaf, 0, a, b, c, d);
	return (((uint64_t)b << 32 | a) ^ (uint64_t)c << 16) ^ d;
}

static uint64_t call(const uint8_t *at, uint32_t leaf)
{
	return ((uint64_t (*)(uint32_t))(uintptr_t)at)(leaf);
}

/* The code at every place around the end of a page, made from one that does something else and has run. */
static bool test_pages(uint8_t *run, uint8_t *write)
{
	unsigned bad = 0;

	for (unsigned at = PAGE - sizeof(ask) - 2; at < PAGE + 2; at++)
		for (unsigned i = 0; i < COUNT(leaves); i++) {
			memcpy(write + at, plain, sizeof(plain));
			__builtin___clear_cache((char *)run, (char *)run + 2 * PAGE);
			for (unsigned n = 0; n < 50; n++)
				bad += call(run + at, n) != n + 1;
			memcpy(write + at, ask, sizeof(ask));
			asm volatile("cpuid" : : "a"(0), "c"(0) : "ebx", "edx", "memory"); /* serializes */
			for (unsigned n = 0; n < 20; n++)
				bad += call(run + at, leaves[i]) != asked(leaves[i]);
		}
	return !bad;
}

static void test_code(void)
{
	int fd = memfd_create("code", 0);
	uint8_t *one = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *run, *write;

	check(test_pages(one, one), "CPUID in pages that run and are written");
	if (ftruncate(fd, 2 * PAGE))
		exit(1);
	run = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	write = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(test_pages(run, write), "and written through another mapping");
	close(fd);
}

/* --- while it computes --- */

static volatile sig_atomic_t ticks;
static uint64_t *volatile target;
static int change; /* 1: protect it, 2: put another page there */

static void on_alarm(int signo)
{
	asm volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm15; fninit; fld1"
		::: "xmm0", "xmm7", "xmm15");
	ticks++;
	if (change && ticks % 4 == 3) {
		if (change == 1)
			mprotect((void *)target, PAGE, PROT_NONE);
		else
			mmap((void *)target, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
}

static void alarms(long us)
{
	struct itimerval every = { { 0, us }, { 0, us } };

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &every, NULL);
}

/* All 16 vectors, an x87 register, and the flags of one loop to the next. */
static uint64_t vectors(uint64_t seed)
{
	uint64_t sum;

	asm volatile("movq %1, %%xmm0; punpcklqdq %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm7; pxor %%xmm15, %%xmm15\n"
		"fninit; fldpi; mov $20000, %%ecx\n"
		"1: paddq %%xmm0, %%xmm15; paddq %%xmm7, %%xmm15; fadd %%st(0), %%st; fchs\n"
		"psrlq $1, %%xmm7; paddq %%xmm0, %%xmm7\n"
		"test $1023, %%ecx; jnz 2f; push %%rcx; mov $39, %%eax; syscall; pop %%rcx\n"
		"2: test $15, %%ecx; jnz 3f; fstp %%st(0); fldpi; 3: dec %%ecx; jnz 1b\n"
		"movq %%xmm15, %0; fistpll -8(%%rsp); xor -8(%%rsp), %0; fninit"
		: "=&r"(sum) : "r"(seed) : "rax", "rcx", "r11", "xmm0", "xmm7", "xmm15", "memory", "cc");
	return sum;
}

static void test_vectors(void)
{
	uint64_t want[4];
	unsigned bad = 0, rounds = 0;

	for (unsigned i = 0; i < 4; i++)
		want[i] = vectors(0x123456789abcdef * (i + 1));
	ticks = 0;
	alarms(2000);
	while (ticks < 60 && rounds < 100000)
		for (unsigned i = 0; i < 4; i++, rounds++)
			bad += vectors(0x123456789abcdef * (i + 1)) != want[i];
	alarms(0);
	check(!bad, "vector and x87 state over signals and system calls");
}

static void touch(void *a, void *b)
{
	uint64_t *p = a;

	for (;;) {
		asm volatile("incq (%0)" : : "r"(p) : "memory");
		if (p[8] != 77)
			asm volatile("ud2");
	}
}

static void test_changes(void)
{
	unsigned bad = 0;

	target = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < 20; i++) {
		mprotect((void *)target, PAGE, PROT_READ | PROT_WRITE);
		target[8] = 77;
		change = 1 + i % 2;
		ticks = 0;
		alarms(1000);
		bad += catch_run(touch, (void *)target, NULL) != (change == 1 ? SIGSEGV : SIGILL);
		bad += change == 1 && caught.addr != (uintptr_t)target && caught.addr != (uintptr_t)&target[8];
		alarms(0);
	}
	change = 0;
	check(!bad, "a page protected, and exchanged, while it is used");
}

/* --- processes --- */

static uint64_t own[PAGE / 8] __attribute__((aligned(PAGE)));

static int child(unsigned number)
{
	uint8_t *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned bad = 0;

	own[1] = number;
	memcpy(code, plain, sizeof(plain));
	code[5] = 0x83; /* add $number, %eax; lengths: the two bytes of INC, and one of the shift behind it */
	code[6] = 0xc0;
	code[7] = (uint8_t)number;
	memset(code + 8, 0x90, 3);
	for (unsigned i = 1; i <= 400000; i++) {
		own[0] += number;
		bad += own[1] != number || own[0] != (uint64_t)i * number || call(code, i) != i + number;
		if (i % 20000 == 0)
			sched_yield();
	}
	return bad != 0;
}

static void test_processes(void)
{
	pid_t pid[CHILDREN];
	unsigned bad = 0;
	int status;

	fflush(stdout);
	for (unsigned i = 0; i < CHILDREN; i++)
		if (!(pid[i] = fork()))
			_exit(child(i + 3));
	for (unsigned i = 0; i < CHILDREN; i++) {
		waitpid(pid[i], &status, 0);
		bad += status != 0;
	}
	check(!bad, "processes with other data at equal addresses");
	check(!own[0] && !own[1], "and nothing of it here");
}

int main(void)
{
	catch_init();
	test_code();
	test_vectors();
	test_changes();
	test_processes();
	return 0;
}
