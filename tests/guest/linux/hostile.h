/* SPDX-License-Identifier: MIT */
/*
 * What the hostile processes share: where the world keeps its handler and the memory in which registers are handed over
 * (src/vmm/direct.h), and work that takes a while without a system call, so that direct execution is worth it.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/*
 * The program's own code has pages of its own, from here to HOSTILE_END: beside libc's CPUIDs all of it would be
 * translated on hosts where that cannot be made to fault. (programs.txt has the compiler keep the order.)
 */
__asm__(".text\n .balign 4096");
#define HOSTILE_END __asm__(".text\n .balign 4096");

#define HANDLER 0x410100001000
#define STATE 0x410320004000
enum { RUN = 0, LEFT = 64 }; /* words of STATE */

static volatile uint64_t sink; /* so that the work is done */

static inline void compute(unsigned ms)
{
	struct timespec from, now;
	uint64_t x = 88172645463325252u;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		for (unsigned i = 0; i < 100000; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		sink = x;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

static sigjmp_buf hostile_back;

static void hostile_on_fault(int sig)
{
	siglongjmp(hostile_back, sig);
}

/* Does it run directly? Of the handler's page, which a world has and a translated process has not. */
static inline bool is_in_world(void)
{
	struct sigaction old;
	bool is;

	sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = hostile_on_fault }, &old);
	is = !sigsetjmp(hostile_back, 1) && (*(volatile uint8_t *)HANDLER, true);
	sigaction(SIGSEGV, &old, NULL);
	return is;
}

/* How many were; to be made before there are other processes. */
static volatile uint32_t *in_world;

static inline void count_worlds(void)
{
	in_world = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static inline void note_world(void)
{
	*in_world += is_in_world();
}

static inline void say_worlds(unsigned of)
{
	printf("      %u of %u in a world\n", *in_world, of);
}

static char forged_stack[1 << 16] __attribute__((aligned(64)));

/* SIGRETURN's own instruction, with a frame that blocks all signals and goes on at `rip`. */
static inline void forge(uint64_t at, const uint8_t *rip)
{
	ucontext_t *uc = (ucontext_t *)(forged_stack + sizeof(forged_stack) / 2);

	getcontext(uc);
	memset(&uc->uc_sigmask, 0xff, 8);
	uc->uc_mcontext.fpregs = NULL;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)rip;
	uc->uc_mcontext.gregs[REG_CSGSFS] = 0x2b000000000033;
	__asm__ volatile("mov %0, %%rsp\n mov $15, %%eax\n jmp *%1" : : "r"(uc), "r"(at) : "memory");
}

#endif
