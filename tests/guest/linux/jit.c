/* SPDX-License-Identifier: MIT */
/*
 * Code that is made and changed at run time, in every way that a just-in-time compiler does it: pages turned from
 * writable to executable and back; pages that are both; code that writes the instruction it is about to run, or itself
 * in a loop; two mappings of one file, one written and one run; code and data in one page; functions and instructions
 * across page boundaries; other code at an address that was unmapped; a child that changes its copy.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "guest.h"

enum { SIZE = 4 * 4096, ALL = PROT_READ | PROT_WRITE | PROT_EXEC };

static uint8_t *map(int protection)
{
	return mmap(NULL, SIZE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* The code takes its argument in rdi, its low byte in al too. It has a REX prefix, for which 32-bit code has a NOP. */
#ifdef __x86_64__
#define REX "\x48"
#else
#define REX "\x90"
#endif

/* lea value(%rdi), %rax; ret: 8 bytes */
static size_t make_add(uint8_t *at, uint32_t value)
{
	memcpy(at, REX "\x8d\x87", 3);
	memcpy(at + 3, &value, 4);
	at[7] = 0xc3;
	return 8;
}

static unsigned long call(uint8_t *code, unsigned long value)
{
	unsigned long result;

#ifdef __x86_64__
	asm volatile("sub $128, %%rsp; call *%1; add $128, %%rsp" /* below the red zone */
#else
	asm volatile("call *%1"
#endif
		     : "=a"(result), "+r"(code), "+D"(value) : "0"(value) : "memory", "cc");
	return result;
}

/* What an instruction names its operand by, its last field: where it is, or (64 bits) how far away. */
static void put_operand(uint8_t *field, const uint8_t *operand)
{
#ifdef __x86_64__
	int32_t value = (int32_t)(operand - (field + 4));
#else
	const uint8_t *value = operand;
#endif

	memcpy(field, &value, 4);
}

static void test_protect(void)
{
	uint8_t *code = map(PROT_READ | PROT_WRITE);
	unsigned long sum = 0;
	uint32_t i;

	for (i = 0; i < 300; i++) {
		mprotect(code, SIZE, PROT_READ | PROT_WRITE);
		make_add(code + i % 50 * 8, i);
		mprotect(code, SIZE, PROT_READ | PROT_EXEC);
		sum = call(code + i % 50 * 8, sum);
	}
	check(sum == 299 * 300 / 2, "writable, then executable: %lu", sum);
	munmap(code, SIZE);
}

static void test_rewrite(void)
{
	uint8_t *code = map(ALL);
	unsigned long sum = 0;
	uint32_t i;

	make_add(code, 0);
	for (i = 0; i < 20000; i++) {
		code[3] = i;
		sum = call(code, sum) & 0xffffffff;
	}
	printf("one byte rewritten each time: %lx\n", sum);
	for (i = 0; i < 2000; i++) {
		make_add(code + i * 8 % 4096, i);
		sum += call(code + (i * 8 + 2048 * (i & 1)) % 4096 * (i > 1000), i);
		sum = call(code + i * 8 % 4096, sum);
	}
	printf("a page filled and run: %lx\n", sum);
	munmap(code, SIZE);
}

/* The instruction after the store is changed by the store: the processor must see the new one. */
static void test_next_instruction(void)
{
	/* mov %al, 1f+1; 1: mov $0, %al; movzbl %al, %eax; ret */
	static const uint8_t text[] = { 0x90, 0x88, 0x05, 0, 0, 0, 0, 0xb0, 0, 0x0f, 0xb6, 0xc0, 0xc3 };
	uint8_t *code = map(ALL);
	unsigned long wrong = 0;
	uint32_t i;

	memcpy(code, text, sizeof(text));
	put_operand(code + 3, code + 8);
	for (i = 0; i < 3000; i++)
		wrong += call(code, i & 0xff) != (i & 0xff);
	memcpy(code + 4096 - 8, text, sizeof(text)); /* the store before, what it changes behind a page boundary */
	put_operand(code + 4096 - 8 + 3, code + 4096);
	for (i = 0; i < 3000; i++)
		wrong += call(code + 4096 - 8, i & 0xff) != (i & 0xff);
	check(!wrong, "a store changes the next instruction: %lu wrong", wrong);
	munmap(code, SIZE);
}

/* A loop that counts in its own immediate. */
static void test_self_counting(void)
{
	/* 1: incl 2f+1; 2: mov $0, %eax; cmp %edi, %eax; jne 1b; ret */
	static const uint8_t text[] = { 0xff, 0x05, 0, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0x39, 0xf8, 0x75, 0xf1, 0xc3 };
	uint8_t *code = map(ALL);

	memcpy(code + 100, text, sizeof(text));
	put_operand(code + 102, code + 107);
	check(call(code + 100, 5000) == 5000, "a loop counts in its own code");
	memcpy(code + 4096 - 9, text, sizeof(text));
	put_operand(code + 4096 - 7, code + 4096 - 2);
	check(call(code + 4096 - 9, 3000) == 3000, "and across a page boundary");
	munmap(code, SIZE);
}

static void test_two_views(void)
{
	int fd = memfd_create("code", 0);
	uint8_t *writable, *executable, *again;
	unsigned long sum = 0;
	uint32_t i;

	if (ftruncate(fd, SIZE))
		return;
	writable = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	executable = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	again = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 4096);
	for (i = 0; i < 2000; i++) {
		make_add(writable + 4096, i);
		sum = call(executable + 4096, sum);
		sum = call(again, sum);
	}
	check(sum == 1999 * 2000, "written in one view, run in two others: %lu", sum);
	for (i = 0; i < 200; i++) {
		uint32_t value = i * 3;

		if (pwrite(fd, &value, 4, 4096 + 3) != 4)
			return;
		sum += call(executable + 4096, 0);
	}
	check(sum == 1999 * 2000 + 199 * 300, "written by a system call: %lu", sum);
	munmap(writable, SIZE);
	munmap(executable, SIZE);
	munmap(again, SIZE);
	close(fd);
}

static void test_data_beside(void)
{
	uint8_t *code = map(ALL);
	uint64_t *data = (uint64_t *)(code + 2048);
	unsigned long sum = 0;
	uint32_t i;

	make_add(code, 1);
	for (i = 0; i < 100000; i++) {
		data[i % 200] += i;
		sum = call(code, sum) + data[(i + 7) % 200] % 3;
	}
	printf("code and data in one page: %lu\n", sum);
	munmap(code, SIZE);
}

static void test_boundaries(void)
{
	uint8_t *code = map(ALL);
	unsigned long sum = 0, at;

	for (at = 4096 - 10; at < 4096 + 2; at++) {
		make_add(code + at, (uint32_t)at);
		sum = call(code + at, sum);
		code[at + 3]++; /* the byte that holds the low part of the value, on one page or the other */
		sum = call(code + at, sum);
		mprotect(code + 4096, 4096, PROT_READ | PROT_EXEC);
		sum = call(code + at, sum);
		mprotect(code + 4096, 4096, ALL);
	}
	printf("functions across a page boundary: %lu\n", sum);
	munmap(code, SIZE);
}

static void test_remap(void)
{
	uint8_t *code = map(ALL), *other = map(ALL), *place = map(ALL);
	unsigned long wrong = 0;
	uint32_t i;

	for (i = 0; i < 200; i++) {
		mmap(place, 4096, ALL, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		make_add(place, i);
		wrong += call(place, 1) != i + 1;
	}
	check(!wrong, "new memory with other code at the same address: %lu wrong", wrong);
	for (i = 0; i < 100; i++) {
		make_add(code, i);
		make_add(other, i + 1000);
		wrong += call(code, 0) != i;
		code = mremap(code, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place);
		wrong += call(place, 0) != i;
		code = mremap(other, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place);
		wrong += call(place, 0) != i + 1000;
		code = map(ALL);
		other = map(ALL);
	}
	check(!wrong, "code moved by mremap: %lu wrong", wrong);
}

static void test_fork(void)
{
	uint8_t *code = map(ALL);
	unsigned long wrong = 0;
	uint32_t i;
	int status;
	pid_t pid;

	make_add(code, 1);
	wrong += call(code, 1) != 2;
	fflush(stdout);
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			make_add(code, i + 5);
			_exit(call(code, 0) == i + 5 ? 0 : 1);
		}
		wrong += call(code, 5) != 6;
		waitpid(pid, &status, 0);
		wrong += status != 0;
		wrong += call(code, 7) != 8;
	}
	check(!wrong, "a child changes its copy of the code: %lu wrong", wrong);
}

/* A chain of many small functions that jump to one another, then changed one by one. */
static void test_chain(void)
{
	enum { LINKS = 1000, LINK = 16 };
	uint8_t *code = map(ALL);
	unsigned long sum = 0;
	uint32_t i;
	int32_t to;

	for (i = 0; i < LINKS; i++) {
		make_add(code + i * LINK, i & 0xf);
		memcpy(code + i * LINK, REX "\x81\xc7", 3); /* add value, %rdi */
		to = (int32_t)((i + 7) % LINKS * LINK) - (int32_t)(i * LINK + 12);
		code[i * LINK + 7] = 0xe9;
		memcpy(code + i * LINK + 8, &to, 4);
	}
	memcpy(code + LINKS * LINK, REX "\x89\xf8\xc3", 4); /* mov %rdi, %rax; ret */
	for (i = 0; i < LINKS; i += 13) {
		to = (int32_t)(LINKS * LINK) - (int32_t)(i * LINK + 12);
		memcpy(code + i * LINK + 8, &to, 4); /* end the chain here */
		sum += call(code, 0);
		to = (int32_t)((i + 7) % LINKS * LINK) - (int32_t)(i * LINK + 12);
		memcpy(code + i * LINK + 8, &to, 4);
		code[i * LINK + 3] ^= 0x3;
	}
	printf("a chain, opened and closed: %lu\n", sum);
	munmap(code, SIZE);
}

int main(void)
{
	test_protect();
	test_rewrite();
	test_next_instruction();
	test_self_counting();
	test_two_views();
	test_data_beside();
	test_boundaries();
	test_remap();
	test_fork();
	test_chain();
}
