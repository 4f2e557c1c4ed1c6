/* SPDX-License-Identifier: MIT */
/*
 * What several processors must see of each other: locked operations of every width and place, the order of stores and
 * loads, pages whose rights are lowered on one and used on the other, code that one writes and the other runs, and
 * counters on a page with code. It says the same with one processor; with several it is a test.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "guest.h"

enum { THREADS = 4, ROUNDS = 100000, PAGE = 4096, PATCHES = 2000, PROTECTS = 300, ORDERS = 100000 };

#define UNUSED __attribute__((unused))

static void run(void *(*f)(void *))
{
	pthread_t t[THREADS];

	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, f, (void *)i);
	for (long i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

/* -- locked operations */

static struct {
	uint8_t b;
	uint16_t w;
	uint32_t d;
	unsigned long q;
	unsigned bits[2];
} __attribute__((packed, aligned(64))) sum;
static uint8_t line[192] __attribute__((aligned(64)));

static void *add(UNUSED void *arg)
{
	unsigned long *across = (unsigned long *)(line + 64 - sizeof(long) / 2); /* over a cache line's end */
	unsigned long one = 1;

	for (int i = 0; i < ROUNDS; i++) {
		asm volatile("lock incb %0" : "+m"(sum.b)::"cc");
		asm volatile("lock addw $3, %0" : "+m"(sum.w)::"cc");
		asm volatile("lock subl $5, %0" : "+m"(sum.d)::"cc");
		one = 1;
		asm volatile("lock xadd %1, %0" : "+m"(sum.q), "+r"(one)::"cc");
		asm volatile("lock btcl $9, %0" : "+m"(sum.bits[0])::"cc");
		if (i % 16 == 0)
			asm volatile("lock inc%z0 %0" : "+m"(*across)::"cc");
	}
	return NULL;
}

static void locked(void)
{
	unsigned long across;

	run(add);
	memcpy(&across, line + 64 - sizeof(across) / 2, sizeof(across));
	printf("locked: %x %x %x %lx %x %lu\n", sum.b, sum.w, sum.d, sum.q, sum.bits[0],
	       across);
}

/* -- order: whoever sees the flag sees the data */

static volatile long data, flag, done;

static void *writer(UNUSED void *arg)
{
	for (long i = 1; i <= ORDERS; i++) {
		data = i;
		flag = i;
	}
	done = 1;
	return NULL;
}

static void order(void)
{
	bool wrong = false;
	pthread_t t;

	pthread_create(&t, NULL, writer, NULL);
	while (!done) {
		long f = flag, d = data;

		wrong |= d < f;
	}
	pthread_join(t, NULL);
	check(!wrong, "stores are seen in order");
}

/* -- rights that are lowered */

static uint8_t *shared;
static _Atomic long writes, faults;
static _Atomic bool stop;
static __thread sigjmp_buf back;

static void on_segv(UNUSED int sig)
{
	faults++;
	siglongjmp(back, 1);
}

static void *write_on(UNUSED void *arg)
{
	while (!stop) {
		if (sigsetjmp(back, 1)) {
			sched_yield();
			continue;
		}
		shared[100]++;
		writes++;
	}
	return NULL;
}

static void rights(void)
{
	bool moved = false;
	pthread_t t;

	signal(SIGSEGV, on_segv);
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_create(&t, NULL, write_on, NULL);
	for (int i = 0; i < PROTECTS; i++) {
		uint8_t before;

		mprotect(shared, PAGE, PROT_READ);
		before = *(volatile uint8_t *)(shared + 100);
		for (volatile int k = 0; k < 2000; k++)
			;
		moved |= *(volatile uint8_t *)(shared + 100) != before;
		mprotect(shared, PAGE, PROT_READ | PROT_WRITE);
		if (i % 8 == 0) {
			madvise(shared, PAGE, MADV_DONTNEED);
			sched_yield();
		}
	}
	stop = true;
	pthread_join(t, NULL);
	check(!moved, "a page that may only be read does not change");
	munmap(shared, PAGE);
}

/* -- code */

static uint8_t *code;
static _Atomic long wanted, seen;

static void *call_on(UNUSED void *arg)
{
	long n = 0, last = 0;

	while (last < PATCHES) {
		long want = wanted;

		if (want == last) {
			n += ((int (*)(void))code)() == (int)last; /* keeps the code hot */
			continue;
		}
		asm volatile("cpuid" : "=a"(last) : "0"(0) : "rbx", "rcx", "rdx", "memory");
		last = ((int (*)(void))code)();
		if (last != want) {
			printf("WRONG code: %ld for %ld\n", last, want);
			exit(1);
		}
		seen = last;
	}
	return (void *)n;
}

/* mov $n, %eax; ret: n is changed while the other runs it, then all of the code is put somewhere else on the page. */
static void patch(void)
{
	pthread_t t;

	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, "\x0f\x1f\x00\xb8\0\0\0\0\xc3", 9);
	pthread_create(&t, NULL, call_on, NULL);
	for (long i = 1; i <= PATCHES; i++) {
		__atomic_store_n((uint32_t *)(code + 4), (uint32_t)i, __ATOMIC_SEQ_CST);
		wanted = i;
		while (seen != i)
			sched_yield();
	}
	pthread_join(t, NULL);
	check(seen == PATCHES, "code that another writes runs as it was written");
}

static uint8_t *fresh;
static _Atomic long round_of, answer;

static void *run_fresh(UNUSED void *arg)
{
	for (long i = 1; i <= 200; i++) {
		while (round_of != i)
			;
		asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
		answer = ((int (*)(void))(fresh + i % 16 * 64))();
		round_of = -i;
	}
	return NULL;
}

static void written_by_one(void)
{
	long wrong = 0;
	pthread_t t;

	fresh = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_create(&t, NULL, run_fresh, NULL);
	for (long i = 1; i <= 200; i++) {
		uint8_t *at = fresh + i % 16 * 64;
		int value = (int)i * 77;

		at[0] = 0xb8;
		memcpy(at + 1, &value, 4);
		at[5] = 0xc3;
		round_of = i;
		while (round_of != -i)
			;
		wrong += answer != value;
	}
	pthread_join(t, NULL);
	check(!wrong, "code that one wrote anew the other runs");
}

/* A counter that lies beside the code that counts. */
static void *count_beside(UNUSED void *arg)
{
	for (int i = 0; i < ROUNDS / 4; i++)
		((void (*)(void))code)();
	return NULL;
}

static void beside(void)
{
	uint64_t n;

#ifdef __x86_64__
	memcpy(code, "\xf0\x48\xff\x05\xf8\x00\x00\x00\xc3", 9); /* lock incq 0x100(%rip); ret */
#else
	uint8_t *counter = code + 0x100;

	memcpy(code, "\xf0\xff\x05", 3); /* lock incl code + 0x100; ret */
	memcpy(code + 3, &counter, 4);
	code[7] = 0xc3;
#endif
	memset(code + 0x100, 0, 8);
	run(count_beside);
	memcpy(&n, code + 0x100, 8);
	printf("beside code: %lu\n", (unsigned long)n);
}

int main(void)
{
	locked();
	order();
	rights();
	patch();
	written_by_one();
	beside();
	return 0;
}
