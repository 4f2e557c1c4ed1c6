/* SPDX-License-Identifier: MIT */
/*
 * A frame of code that one process has run, another writes to - by a system call, or in a mapping of its own - and a
 * third runs again: what stands there now must be what runs, and as in any other place. (Direct execution remembers of
 * frames that they have no sensitive instructions.)
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, ROUNDS = 24, CALLS = 300 };

static const uint8_t plain[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $n, %eax; ret */
#ifdef __x86_64__
static const uint8_t clock_code[] = {0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3};
static const uint8_t cpuid_code[] = {0x53, 0x31, 0xc9, 0x89, 0xf8, 0x0f, 0xa2, 0x01, 0xd8, 0x01, 0xd0, 0x5b, 0xc3};
#else
static const uint8_t clock_code[] = {0x0f, 0x31, 0xc3};
static const uint8_t cpuid_code[] = {
	0x53, 0x31, 0xc9, 0x8b, 0x44, 0x24, 0x08, 0x0f, 0xa2, 0x01, 0xd8, 0x01, 0xd0, 0x5b, 0xc3};
#endif

static int file;
static uint64_t limit; /* between two readings: half a minute */

static uint64_t read_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static uint32_t read_cpuid(uint32_t a)
{
	uint32_t b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return a + b + d;
}

/* What runs there is plain code that says n, or (n < 0) the clock; or CPUID. */
static int run(int n, int of_cpuid)
{
	void *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
	uint64_t (*clock)(void) = (uint64_t (*)(void))code;
	int (*number)(void) = (int (*)(void))code;
	uint32_t (*cpuid)(uint32_t) = (uint32_t (*)(uint32_t))code;

	for (int i = 0; i < CALLS; i++) {
		if (of_cpuid && cpuid(7) != read_cpuid(7))
			return 1;
		if (!of_cpuid && n < 0 && read_tsc() - clock() + limit > 2 * limit)
			return 2;
		if (!of_cpuid && n >= 0 && number() != n)
			return 3;
	}
	return 0;
}

static int run_in_child(int n, int of_cpuid)
{
	int status;

	if (!fork())
		_exit(run(n, of_cpuid));
	wait(&status);
	if (status)
		printf("code %d, cpuid %d: status %#x\n", n, of_cpuid, (unsigned)status);
	return status;
}

static void put(const uint8_t *code, size_t size, int how)
{
	uint8_t *at;

	if (how && pwrite(file, code, size, 0) != (ssize_t)size)
		_exit(9);
	if (how)
		return;
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	memcpy(at, code, size);
	munmap(at, PAGE);
}

int main(void)
{
	uint64_t start = read_tsc();
	uint8_t say[sizeof(plain)];
	int failed = 0;

	usleep(100000);
	limit = (read_tsc() - start) * 300;
	file = memfd_create("code", 0);
	if (ftruncate(file, PAGE))
		return 9;
	for (int i = 0; i < ROUNDS && !failed; i++) {
		memcpy(say, plain, sizeof(plain));
		say[1] = (uint8_t)i;
		put(say, sizeof(say), i & 1);
		failed |= run_in_child(i, 0) || run_in_child(i, 0);
		put(clock_code, sizeof(clock_code), i & 2);
		failed |= run_in_child(-1, 0);
		put(say, sizeof(say), i & 4);
		failed |= run_in_child(i, 0);
		put(cpuid_code, sizeof(cpuid_code), i & 2);
		failed |= run_in_child(-1, 1);
	}
	return failed != 0;
}
