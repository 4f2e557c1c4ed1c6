/* SPDX-License-Identifier: MIT */
/*
 * RDTSC on a page of its own, called from others again and again, by processes that come and go: one clock, however
 * that page is run (with direct execution translated at first, then made to fault). Another clock would be that of the
 * host, which began elsewhere.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 5000, PROCESSES = 4 };

uint64_t read_tsc(void);
uint64_t read_tscp(void);
/* Elsewhere than in the process for direct execution: with EFLAGS.ID set its code does not run there. */
uint64_t read_translated(void);

__asm__(".section .clock, \"ax\", @progbits\n"
	".balign 4096\n"
	"read_tsc: rdtsc; shl $32, %rdx; or %rdx, %rax; ret\n"
	"read_tscp: rdtscp; shl $32, %rdx; or %rdx, %rax; ret\n"
	"read_translated: pushfq; orl $1 << 21, (%rsp); popfq\n"
	"	mov $110, %eax; syscall\n" /* getppid */
	"	rdtsc; shl $32, %rdx; or %rax, %rdx; push %rdx\n"
	"	pushfq; andl $~(1 << 21), (%rsp); popfq\n"
	"	mov $110, %eax; syscall; pop %rax; ret\n"
	".balign 4096\n"
	".text\n");

static uint64_t limit; /* between two readings: half a minute */

/* By itself: the C library has CPUIDs, beside which nothing runs directly on some hosts. */
__attribute__((section(".clock"), aligned(4096), noinline)) static int look(void)
{
	uint64_t last = read_tsc();

	for (int i = 0; i < CALLS; i++) {
		uint64_t now = i % 64 == 1 ? read_translated() : i % 8 ? read_tsc() : read_tscp();

		if (now < last || now - last > limit) {
			printf("reading %d: %#llx after %#llx\n", i, (unsigned long long)now, (unsigned long long)last);
			return 1;
		}
		last = now;
	}
	return 0;
}

int main(void)
{
	uint64_t start = read_tsc();
	int status, failed;

	usleep(100000);
	limit = (read_tsc() - start) * 300;
	failed = look();
	for (int i = 0; i < PROCESSES && !failed; i++) {
		if (!fork())
			_exit(look());
		wait(&status);
		failed = status;
	}
	return failed != 0;
}
