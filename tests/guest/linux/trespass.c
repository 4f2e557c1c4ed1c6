/* SPDX-License-Identifier: MIT */
/*
 * A hostile process on ringer with direct execution: it goes where the world keeps its handler and the memory in which
 * registers are handed over (src/vmm/direct.h), writes there, jumps there, and forges signal frames. Whatever becomes
 * of the processes that do so, the machine must go on, and other processes compute as before. Elsewhere nothing is at
 * these addresses.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "hostile.h"

#define COMMANDS 0x410320000000
#define STACK 0x410320005000
#define END 0x410320014000
enum { TEXT = 0x160 };

static void fill(uint64_t from, uint64_t to, int byte)
{
	memset((void *)from, byte, to - from);
	compute(20);
}

static void jump(uint64_t to, uint64_t rsp, uint64_t rdx)
{
	__asm__ volatile("mov %1, %%rsp\n mov %%rdx, %%rsi\n mov %%rdx, %%rbx\n jmp *%0"
			 : : "r"(to), "r"(rsp), "d"(rdx) : "memory");
}

static char stack[1 << 16] __attribute__((aligned(64)));
__asm__("forever: jmp forever");
extern const uint8_t forever[];

static void attack(unsigned k)
{
	switch (k) {
	case 0:
		fill(COMMANDS, COMMANDS + 64, 1);
		break;
	case 1:
		fill(STATE, STATE + 128, 0xff);
		break;
	case 2:
		fill(STACK, END, 0xa5);
		break;
	case 3:
		jump(HANDLER, (uint64_t)stack + sizeof(stack), 0);
		break;
	case 4:
		jump(HANDLER, END - 64, STACK);
		break;
	case 5:
		jump(HANDLER, (uint64_t)stack + sizeof(stack), UINT64_C(0xffff800000000000));
		break;
	case 6:
		jump((uint64_t)compute, STACK + 4096 - 8, 0);
		break;
	default:
		if (k < 7 + TEXT)
			jump(HANDLER + (k - 7), (uint64_t)stack + sizeof(stack) / 2, (uint64_t)stack);
		forge(HANDLER + (k - 7 - TEXT), forever);
	}
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* In a process of its own; ended after a second, if it does not end itself. */
static void try_one(unsigned k)
{
	struct itimerval second = { .it_value = { 1, 0 } };
	pid_t pid = fork();
	int status;

	if (!pid) {
		compute(8);
		note_world();
		attack(k);
		compute(20);
		_exit(0);
	}
	setitimer(ITIMER_REAL, &second, NULL);
	while (waitpid(pid, &status, 0) < 0)
		kill(pid, SIGKILL);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
}

int main(void)
{
	unsigned tried = 0, wrong = 0;
	uint64_t x, y;

	count_worlds();
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm }, NULL);
	for (unsigned k = 0; k < 7 + 2 * TEXT; k += k < 7 ? 1 : 9, tried++)
		try_one(k);
	x = 1;
	y = 1;
	for (unsigned i = 0; i < 30000000; i++)
		x = x * 6364136223846793005u + 1442695040888963407u;
	for (volatile unsigned i = 0; i < 30000000; i++)
		y = y * 6364136223846793005u + 1442695040888963407u;
	wrong += x != y;
	printf("%s    %u trespasses: the machine goes on\n", wrong ? "WRONG" : "ok", tried);
	say_worlds(tried);
	return wrong != 0;
}

HOSTILE_END
