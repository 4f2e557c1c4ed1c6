/* SPDX-License-Identifier: MIT */
/*
 * Hostile processes on ringer with direct execution, one after the other: each has its world's runner killed by the
 * host, by a forged signal frame that blocks all signals and goes on at what faults. There are more of them than worlds
 * at a time, so others' code runs directly afterwards only if lost worlds are replaced. Elsewhere nothing is at these
 * addresses.
 */
#include <sys/wait.h>

#include "hostile.h"

enum { KILLERS = 9, PAGE = 4096 };
enum { PATIENCE = 15 }; /* seconds: by default (--memory=auto) others may wait some for the killers */

__asm__("fault: ud2");
extern const uint8_t fault[];

/* In a process of its own, which has computed for long enough. */
static int child(void (*then)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		compute(20);
		then();
		_exit(1);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void say_where(void)
{
	_exit(!is_in_world());
}

/* The SYSCALL there that has HLT behind it. */
static uint64_t find_sigreturn(void)
{
	const uint8_t *code = (const uint8_t *)HANDLER;

	for (unsigned i = 0; i < PAGE - 2; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x05 && code[i + 2] == 0xf4)
			return HANDLER + i;
	return 0;
}

static void kill_world(void)
{
	note_world();
	forge(find_sigreturn(), fault);
}

int main(void)
{
	bool before = child(say_where) == 0, after = !before;
	time_t end;

	count_worlds();
	for (unsigned i = 0; before && i < KILLERS; i++)
		child(kill_world);
	end = time(NULL) + PATIENCE;
	while (!after && time(NULL) < end)
		after = child(say_where) == 0;
	printf("%s    lost worlds are replaced\n", after ? "ok" : "WRONG");
	say_worlds(KILLERS);
	return !after;
}

HOSTILE_END
