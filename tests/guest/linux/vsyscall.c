/* SPDX-License-Identifier: MIT */
/*
 * The calls at fixed addresses in the kernel's half that old programs use for the time: fetching there faults, and the
 * kernel does the call's work, or ends the program if it offers none (vsyscall=none). A host that runs the program
 * directly has such addresses as well, and may see them otherwise. The kernel's answer must be the same from all code.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

#define GETTIMEOFDAY 0xffffffffff600000
#define TIME 0xffffffffff600400

static int (*const v_gettimeofday)(struct timeval *, void *) = (void *)GETTIMEOFDAY;
static time_t (*const v_time)(time_t *) = (void *)TIME;

static sigjmp_buf none;
static uintptr_t fault, sp_there;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	fault = (uintptr_t)info->si_addr == (uintptr_t)uc->uc_mcontext.gregs[REG_RIP] ? (uintptr_t)info->si_addr : 1;
	sp_there = uc->uc_mcontext.gregs[REG_RSP];
	siglongjmp(none, 1);
}

static bool is_offered(void)
{
	struct timeval at;

	if (sigsetjmp(none, 1))
		return false;
	v_gettimeofday(&at, NULL);
	return true;
}

static int64_t ns(const struct timeval *t)
{
	return t->tv_sec * INT64_C(1000000000) + t->tv_usec * 1000;
}

/* On pages of its own, which hold nothing that would keep a monitor from running it directly. */
__attribute__((noinline, aligned(4096))) static unsigned call_all(bool offered)
{
	struct timespec before, after;
	volatile unsigned wrong = 0, i = 0;
	struct timeval at;
	int64_t t;

	if (sigsetjmp(none, 1)) {
		uintptr_t here = (uintptr_t)__builtin_frame_address(0);

		wrong += offered || fault != (i & 1 ? TIME : GETTIMEOFDAY) || here - sp_there > 4096;
		i++;
	}
	for (; i < 4000; i++) {
		volatile unsigned spin = 300;

		while (spin)
			spin--;
		clock_gettime(CLOCK_REALTIME, &before);
		if (i & 1) {
			t = v_time(NULL); /* may be a tick behind */
			wrong += t < before.tv_sec - 1 || t > before.tv_sec + 1;
		} else {
			wrong += v_gettimeofday(&at, NULL) != 0;
			clock_gettime(CLOCK_REALTIME, &after);
			wrong += ns(&at) + 1000 < before.tv_sec * INT64_C(1000000000) + before.tv_nsec;
			wrong += ns(&at) > after.tv_sec * INT64_C(1000000000) + after.tv_nsec;
		}
		wrong += !offered; /* and it has come back */
	}
	return wrong;
}
__attribute__((aligned(4096))) int main(void)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	bool offered;
	unsigned wrong;

	sigaction(SIGSEGV, &act, NULL);
	offered = is_offered();
	wrong = call_all(offered);
	printf("%s    calls at fixed addresses: %u wrong\n", wrong ? "WRONG" : "ok", wrong);
	return wrong != 0;
}
