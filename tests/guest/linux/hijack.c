/* SPDX-License-Identifier: MIT */
/*
 * A hostile process on ringer with direct execution: it goes to sleep in the middle of the world's handler
 * (src/vmm/direct.S), with registers of its choice, among them one that leads to memory which it shares with another
 * process. That one is the next to run from there: it must go on with its own registers, not with those in that memory.
 * Elsewhere nothing is at these addresses, and the first just dies.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "hostile.h"

enum { FRAME = 88, PAGE = 4096, CALLS = 2 }; /* the second SYSCALL there is the futex it waits at */

static struct shared {
	uint8_t state[256];
	ucontext_t frame;
	uint8_t stack[8192];
	volatile uint32_t hijacked, tried, done;
} *shared;

static void hijacked(void)
{
	shared->hijacked = 1;
	for (;;)
		;
}

static uint64_t find_call(void)
{
	const uint8_t *code = (const uint8_t *)HANDLER;
	unsigned calls = 0;

	for (unsigned i = 0; i < PAGE - 1; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x05 && ++calls == CALLS)
			return HANDLER + i;
	return 0;
}

_Noreturn static void attack(void)
{
	uint64_t call;

	compute(20);
	note_world();
	call = find_call();
	shared->tried = 1;
	*(volatile uint32_t *)(STATE + RUN) = 0;
	*(volatile uint32_t *)(STATE + LEFT) = 1;
	__asm__ volatile("xor %%r10d, %%r10d\n xor %%esi, %%esi\n xor %%edx, %%edx\n mov $202, %%eax\n jmp *%2"
			 : : "b"(shared->state), "D"(STATE + RUN), "r"(call) : "memory", "rsi", "rdx", "r10", "rax");
	__builtin_unreachable();
}

static void prepare(void)
{
	uint32_t run = 1;
	uint64_t frame = (uintptr_t)&shared->frame;

	getcontext(&shared->frame);
	shared->frame.uc_mcontext.fpregs = NULL;
	shared->frame.uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)hijacked;
	shared->frame.uc_mcontext.gregs[REG_RSP] = (greg_t)(uintptr_t)(shared->stack + sizeof(shared->stack) - 8);
	shared->frame.uc_mcontext.gregs[REG_EFL] = 0x202;
	shared->frame.uc_mcontext.gregs[REG_CSGSFS] = 0x2b000000000033;
	memcpy(shared->state + RUN, &run, sizeof(run));
	memcpy(shared->state + FRAME, &frame, sizeof(frame));
}

int main(void)
{
	pid_t hostile, honest;
	int status = 0;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	count_worlds();
	prepare();
	honest = fork();
	if (!honest) {
		memset(shared->stack, 0, sizeof(shared->stack)); /* its page is mapped here, too */
		for (unsigned i = 0; i < 60 && !shared->hijacked; i++)
			compute(10);
		_exit(0);
	}
	for (unsigned i = 0; i < 10; i++) {
		hostile = fork();
		if (!hostile)
			attack();
		usleep(40000);
		kill(hostile, SIGKILL);
		waitpid(hostile, NULL, 0);
	}
	usleep(100000);
	kill(honest, shared->hijacked ? SIGKILL : 0);
	waitpid(honest, &status, 0);
	status |= shared->hijacked;
	printf("%s    another process's registers are its own\n", status ? "WRONG" : "ok");
	say_worlds(10);
	return status != 0;
}

HOSTILE_END
