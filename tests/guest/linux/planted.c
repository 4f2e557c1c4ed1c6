/* SPDX-License-Identifier: MIT */
/*
 * A hostile process on ringer with direct execution: it plants VMRESUME in what its world keeps about displaced
 * code (src/shadow/displaced.h), by the addresses of pages whose code is displaced, and jumps to where it finds it: to
 * its last byte, which is a RET. That must be no code. Elsewhere nothing is at these addresses.
 */
#include "hostile.h"

#define DISPLACED 0x410320014000
enum { PAGE = 4096, VISITS = 1000 };

/* What the bytes of an address, or of it negated, say in the middle. Code that has them itself is not run directly. */
#define VMRESUME 0xc3010f
static const volatile uint64_t addresses[] = {VMRESUME * 0x10000ull, -(0xffffff0000000000 | VMRESUME * 0x10000ull),
	-(0xffff000000000000 | VMRESUME * 0x1000000ull)};

/* Beside LSL, which no host can make fault. */
__asm__("beside: mov $1, %eax\n ret\n lsl %eax, %eax\n");
extern const uint8_t beside[];

static volatile uint64_t fault_at;
static const uint8_t *volatile at;
static unsigned planted, run;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	fault_at = (uint64_t)info->si_addr;
	siglongjmp(hostile_back, sig);
}

static void visit(uint64_t page)
{
	uint8_t *p = mmap((void *)page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	memcpy(p, beside, 16);
	mprotect(p, PAGE, PROT_READ | PROT_EXEC);
	for (unsigned i = 0; i < VISITS; i++)
		((int (*)(void))page)();
}

static bool is_planted(const uint8_t *p)
{
	return p[0] == 0x0f && p[1] == 0x01 && p[2] == 0xc3;
}

/* True: nothing is there, or it is no code. */
static bool faults(const uint8_t *to)
{
	int sig = sigsetjmp(hostile_back, 1);

	if (!sig)
		((void (*)(void))to)();
	return sig == SIGSEGV && fault_at == (uint64_t)to;
}

int main(void)
{
	count_worlds();
	compute(20);
	note_world();
	sigaction(SIGSEGV, &(struct sigaction){ .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, NULL);
	sigaction(SIGILL, &(struct sigaction){ .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, NULL);
	for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		visit(addresses[i]);
	at = (const uint8_t *)DISPLACED;
	if (!sigsetjmp(hostile_back, 1))
		for (;; at++)
			if (is_planted(at)) {
				planted++;
				run += !faults(at + 2);
				break;
			}
	printf("%s    what it has planted, in %u places, is %scode\n", run ? "WRONG" : "ok", planted, run ? "" : "no ");
	say_worlds(1);
	return run != 0;
}

HOSTILE_END
