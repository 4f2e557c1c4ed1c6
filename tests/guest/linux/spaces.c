/* SPDX-License-Identifier: MIT */
/*
 * Several processes that take turns, each with its own idea of the same addresses: memory shared, copied on write,
 * protected, unmapped, given back, moved; code that one writes and another runs; processes that end, whose frames and
 * page tables become others'. Each checks what it has all the time, and gives way to the others in between: by the
 * scheduler, or after having computed for longer than a time slice.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

enum { PAGE = 4096, WORDS = PAGE / 8, WORKERS = 5, PAGES = 96, ROUNDS = 40, CHILDREN = 3, CODES = 8 };

struct shared {
	_Atomic uint64_t sum[WORKERS];
	_Atomic uint32_t ready, wrong;
	_Atomic uint32_t turn;
	_Atomic uint32_t version; /* of the code */
};

static struct shared *shared;
static uint8_t *code, *code_twin; /* executable, and another mapping of the same, to be written through */
static uint64_t *common;          /* pages that all may write, each its own words */

static void wrong(const char *what, int who, int where)
{
	if (shared->wrong++ < 5)
		printf("WRONG %s, worker %d, %d\n", what, who, where);
	fflush(stdout);
}

static uint64_t *map(size_t pages, int prot, int flags)
{
	void *at = mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(9);
	return at;
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t word_for(int who, int round, int page)
{
	return ((uint64_t)who << 48 | (uint64_t)round << 24 | page) * 0x9e3779b97f4a7c15;
}

static void fill(uint64_t *at, int who, int round, int step)
{
	for (int i = 0; i < PAGES; i += step)
		at[i * WORDS + who] = word_for(who, round, i);
}

static void expect(uint64_t *at, int who, int round, int step, const char *what)
{
	for (int i = 0; i < PAGES; i += step)
		if (at[i * WORDS + who] != word_for(who, round, i)) {
			wrong(what, who, i);
			return;
		}
}

/* Long enough to be worth more than the translator, and to be interrupted; the memory is looked at all the time. */
static void compute(uint64_t *at, int who, int round, unsigned ms)
{
	uint64_t end = clock_ms() + ms;

	do {
		for (int i = 0; i < 20; i++)
			expect(at, who, round, 1, "its own pages");
	} while (clock_ms() < end);
}

/* mov $n, %eax; ret: by another mapping, which other processes then run. */
static void write_code(uint32_t n)
{
	for (int i = 0; i < CODES; i++) {
		uint8_t *at = code_twin + i * 512;
		uint32_t value = n * CODES + i;

		at[0] = 0xb8;
		memcpy(at + 1, &value, 4);
		at[5] = 0xc3;
	}
}

static void run_code(int who, uint32_t n)
{
	for (int i = 0; i < CODES; i++)
		if (((uint32_t(*)(void))(code + i * 512))() != n * CODES + i)
			wrong("code that another has written", who, i);
}

/* All stand still but one, which writes: then all see it. */
static void meet(void)
{
	uint32_t turn = shared->turn;

	if (++shared->ready == WORKERS) {
		shared->ready = 0;
		write_code(++shared->version);
		shared->turn++;
	}
	while (shared->turn == turn)
		sched_yield();
}

/* A child sees what its parent had, and neither what the other writes then. */
static void split(uint64_t *at, int who, int round)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		expect(at, who, round, 1, "a child's copy");
		fill(at, who, round + 1000, 3);
		sched_yield();
		expect(at, who, round + 1000, 3, "what a child wrote");
		run_code(who, shared->version);
		_exit(0);
	}
	fill(at, who, round + 2000, 1);
	waitpid(pid, &status, 0);
	expect(at, who, round + 2000, 1, "what a parent wrote");
	if (status)
		wrong("a child's end", who, status);
}

static sigjmp_buf fault;

static void on_fault(int signo)
{
	siglongjmp(fault, signo);
}

static bool faults(volatile uint64_t *at, bool write)
{
	if (sigsetjmp(fault, 1))
		return true;
	if (write)
		*at = 1;
	else
		(void)*at;
	return false;
}

/* What the kernel takes away must be gone at once, also where it was used last in another turn. */
static void change(uint64_t *at, int who, int round)
{
	int page = (who * 7 + round) % (PAGES - 1);
	uint64_t *one = at + page * WORDS, *moved;

	mprotect(one, PAGE, PROT_READ);
	sched_yield();
	if (!faults(one, true))
		wrong("a write to a page that is only to be read", who, page);
	mprotect(one, PAGE, PROT_NONE);
	sched_yield();
	if (!faults(one, false))
		wrong("a read of a page that is not to be read", who, page);
	mprotect(one, PAGE, PROT_READ | PROT_WRITE);
	madvise(one, PAGE, MADV_DONTNEED);
	sched_yield();
	if (one[who])
		wrong("a page that was given back", who, page);
	one[who] = 77;
	moved = mremap(one, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + PAGES * WORDS);
	sched_yield();
	if (moved == MAP_FAILED || moved[who] != 77 || !faults(one, false))
		wrong("a page that was moved", who, page);
	munmap(moved, PAGE);
	if (!faults(moved, false))
		wrong("a page that was unmapped", who, page);
	if (mmap(one, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != one || one[who])
		wrong("a new page", who, page);
}

static int work(int who)
{
	uint64_t *own = map(PAGES + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	munmap(own + PAGES * WORDS, PAGE);
	signal(SIGSEGV, on_fault);
	for (int round = 0; round < ROUNDS; round++) {
		meet();
		run_code(who, shared->version);
		fill(own, who, round, 1);
		compute(own, who, round, round % 4 == 0 ? 12 : 1);
		fill(common, who, round, 1);
		sched_yield();
		expect(common, who, round, 1, "common memory");
		split(own, who, round);
		change(own, who, round);
		run_code(who, shared->version);
		shared->sum[who] += round;
	}
	return 0;
}

/* Processes that compute and end, one after the other: what was theirs is the next one's. */
static void come_and_go(void)
{
	for (int i = 0; i < 12; i++) {
		pid_t pid[CHILDREN];

		for (int k = 0; k < CHILDREN; k++) {
			pid[k] = fork();
			if (!pid[k]) {
				uint64_t *at = map(PAGES * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE);

				for (int n = 0; n < PAGES * 4; n++)
					for (int w = 0; w < WORDS; w += 61) {
						if (at[n * WORDS + w])
							wrong("a new page has something in it", k, n);
						at[n * WORDS + w] = ~0ull;
					}
				fill(at, k, i, 1);
				compute(at, k, i, 14);
				_exit(0);
			}
		}
		for (int k = 0; k < CHILDREN; k++)
			waitpid(pid[k], NULL, 0);
	}
}

int main(void)
{
	pid_t pid[WORKERS];
	int fd = memfd_create("code", 0), status;

	shared = (struct shared *)map(1, PROT_READ | PROT_WRITE, MAP_SHARED);
	common = map(PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (fd < 0 || ftruncate(fd, PAGE))
		return 9;
	code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	code_twin = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int i = 0; i < WORKERS; i++) {
		pid[i] = fork();
		if (!pid[i])
			_exit(work(i));
	}
	for (int i = 0; i < WORKERS; i++) {
		waitpid(pid[i], &status, 0);
		printf("worker %d: status %d, %lu\n", i, status, (unsigned long)shared->sum[i]);
	}
	fflush(stdout);
	come_and_go();
	printf("%u wrong\n", shared->wrong);
	return shared->wrong != 0;
}
