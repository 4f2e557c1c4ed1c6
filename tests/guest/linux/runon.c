/* SPDX-License-Identifier: MIT */
/*
 * A hostile process on ringer with direct execution: it says that it has stopped (src/vmm/direct.h, struct
 * direct_state), and runs on beside its kernel, which ends it and gives its pages to another. That one is in a single
 * long system call meanwhile, so that no other user code comes to run before they are filled. Nothing that the first
 * writes may arrive there. Elsewhere nothing is at that address, and it just dies.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"

#define SIZE ((size_t)320 << 20)
enum { PAGE = 4096, WORDS = PAGE / 8, PAGES = 256 };

static uint64_t *pages(size_t size)
{
	uint64_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(at, size, MADV_NOHUGEPAGE);
	return at;
}

/*
 * What it goes on writing to, page after page, until the kernel ends it. The forged word is to stand there when its
 * timer fires; were it written all the time, the monitor would find it out by coming back to the same instruction.
 */
_Noreturn static void write_on(bool forge)
{
	const struct itimerval soon = { .it_value = { 0, 30000 } };
	volatile uint64_t *page = pages(PAGES * PAGE);
	volatile uint32_t *left = (uint32_t *)(STATE + LEFT);

	for (unsigned i = 0; i < PAGES; i++)
		page[i * WORDS] = 1;
	note_world();
	setitimer(ITIMER_REAL, &soon, NULL);
	for (unsigned i = 0;; i++) {
		page[i % PAGES * WORDS + i % WORDS] = ~UINT64_C(0);
		if (forge && i % 4096 == 0)
			*left = 1;
	}
}

static bool arrives_elsewhere(bool forge)
{
	int zero = open("/dev/zero", O_RDONLY);
	uint64_t *mine = pages(SIZE), seen = 0;
	pid_t pid = fork();

	if (!pid)
		write_on(forge);
	if (read(zero, mine, SIZE) != (ssize_t)SIZE)
		return true;
	for (size_t i = 0; i < SIZE / 8; i++)
		seen |= mine[i];
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(mine, SIZE);
	close(zero);
	return seen;
}

int main(void)
{
	bool honest, forged;

	count_worlds();
	honest = arrives_elsewhere(false);
	forged = arrives_elsewhere(true);

	printf("%s    what is written to lost pages does not arrive\n", honest || forged ? "WRONG" : "ok");
	say_worlds(2);
	return honest || forged;
}

HOSTILE_END
