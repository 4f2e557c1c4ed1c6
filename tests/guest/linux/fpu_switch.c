/* SPDX-License-Identifier: MIT */
/*
 * Threads and processes that each keep their own values in all vector, mask and x87 registers and control words while
 * the kernel switches between them: whoever finds another's value in a register reports it.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "features.h"

enum { WORKERS = 4, ROUNDS = 1000 };

struct state {
	uint8_t vectors[32][64];
	uint64_t masks[8];
	uint16_t control;
	uint16_t pad;
	uint32_t mxcsr;
	long double st __attribute__((aligned(16)));
} __attribute__((aligned(64)));

static int level; /* 0 SSE, 1 AVX, 2 AVX-512 */

#ifdef __x86_64__
#define REGPARM
#define ENTRY ""
#define LEAVE "ret"
#define YIELD "mov $24, %eax; syscall"
enum { REGISTERS = 16, REGISTERS_512 = 32 };
#define ALL "16"
#define ALL_512 "32"
#else
#define REGPARM __attribute__((regparm(3)))
#define ENTRY "push %esi; push %edi; mov %eax, %edi; mov %edx, %esi; mov %ecx, %edx; "
#define LEAVE "pop %edi; pop %esi; ret"
#define YIELD "mov $158, %eax; int $0x80"
enum { REGISTERS = 8, REGISTERS_512 = 8 };
#define ALL "8"
#define ALL_512 "8"
#endif

/*
 * One block of assembly each: nothing of the compiler's may run between the loads and the stores. rdi: from where, rsi:
 * where to, edx: whether to yield.
 */
asm(".macro vector_load move, prefix, n\n\\move \\n*64(%rdi), %\\prefix\\()\\n\n.endm\n"
    ".macro vector_store move, prefix, n\n\\move %\\prefix\\()\\n, \\n*64(%rsi)\n.endm\n"
    ".macro all what, move, prefix, count\n.altmacro\n.set i, 0\n.rept \\count\n\\what \\move, \\prefix, %i\n"
    ".set i, i+1\n.endr\n.noaltmacro\n.endm\n"
    ".macro masks_load\n.irp n, 0,1,2,3,4,5,6,7\nkmovq 2048+\\n*8(%rdi), %k\\n\n.endr\n.endm\n"
    ".macro masks_store\n.irp n, 0,1,2,3,4,5,6,7\nkmovq %k\\n, 2048+\\n*8(%rsi)\n.endr\n.endm\n"
    ".macro others_load\nfninit; fldt 2128(%rdi); fldcw 2112(%rdi); ldmxcsr 2116(%rdi)\n.endm\n"
    ".macro others_store\nfnstcw 2112(%rsi); stmxcsr 2116(%rsi); fstpt 2128(%rsi)\n.endm\n"
    ".macro work\ncmp $0, %edx; je 1f; " YIELD "; jmp 2f; 1: mov $1000, %ecx; 3: pause; loop 3b; "
    "2:\n.endm\n"
    ".globl keep_sse, keep_avx, keep_avx512\n"
    "keep_sse: " ENTRY "all vector_load, movaps, xmm, " ALL "; others_load; work\n"
    "all vector_store, movaps, xmm, " ALL "; others_store; " LEAVE "\n"
    "keep_avx: " ENTRY "all vector_load, vmovaps, ymm, " ALL "; others_load; work\n"
    "all vector_store, vmovaps, ymm, " ALL "; others_store; " LEAVE "\n"
    "keep_avx512: " ENTRY "all vector_load, vmovaps, zmm, " ALL_512 "; masks_load; others_load; work\n"
    "all vector_store, vmovaps, zmm, " ALL_512 "; masks_store; others_store; " LEAVE);

/* Load all of `in`, yield to another (or spin for a while), store all to `out`. */
typedef void keep_code(const struct state *in, struct state *out, int yield) REGPARM;
keep_code keep_sse, keep_avx, keep_avx512;
static keep_code *const keepers[] = { keep_sse, keep_avx, keep_avx512 };

static void prepare(struct state *s, uint64_t *random, int me)
{
	static const uint16_t controls[] = { 0x37f, 0x27f, 0x77f, 0xf7f };
	size_t i;

	for (i = 0; i < offsetof(struct state, control); i += 8) {
		uint64_t r = next_random(random);

		memcpy((char *)s + i, &r, 8);
	}
	s->control = controls[me % 4];
	s->mxcsr = 0x1f80 | (me & 3) << 13 | (me & 1 ? 0x8040 : 0);
	s->st = 1.5L + me;
}

static long compare(const struct state *a, const struct state *b)
{
	static const size_t width[] = { 16, 32, 64 };
	long wrong = 0;
	int i;

	for (i = 0; i < (level == 2 ? REGISTERS_512 : REGISTERS); i++)
		wrong += memcmp(a->vectors[i], b->vectors[i], width[level]) != 0;
	for (i = 0; i < 8 && level == 2; i++)
		wrong += a->masks[i] != b->masks[i];
	wrong += a->control != b->control || a->mxcsr != b->mxcsr || a->st != b->st;
	return wrong;
}

static long keep(long me)
{
	uint32_t mxcsr = 0x1f80;
	uint64_t random = 0x1234567 + me * 977;
	struct state in, out;
	long i, wrong = 0;

	memset(&out, 0, sizeof(out));
	for (i = 0; i < ROUNDS; i++) {
		prepare(&in, &random, (int)(me + i) % 7);
		keepers[level](&in, &out, i % 3 != 0);
		asm volatile("fninit; ldmxcsr %0" ::"m"(mxcsr));
		wrong += compare(&in, &out);
	}
	return wrong;
}

static void *thread(void *arg)
{
	return (void *)keep((long)arg);
}

static void test_threads(void)
{
	pthread_t t[WORKERS];
	long i, wrong = 0;
	void *result;

	for (i = 0; i < WORKERS; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	for (i = 0; i < WORKERS; i++) {
		pthread_join(t[i], &result);
		wrong += (long)result;
	}
	check(!wrong, "threads keep their registers: %ld wrong", wrong);
}

static void test_processes(void)
{
	long i, wrong = 0;
	int status;

	fflush(stdout);
	for (i = 0; i < WORKERS; i++)
		if (!fork())
			_exit(keep(i + 10) != 0);
	for (i = 0; i < WORKERS; i++) {
		wait(&status);
		wrong += status != 0;
	}
	check(!wrong, "processes keep their registers: %ld wrong", wrong);
}

static void spoil(int signo)
{
	struct state in, out;
	uint64_t random = 99;

	(void)signo;
	prepare(&in, &random, 3);
	keepers[level](&in, &out, 1);
}

static void test_signals(void)
{
	struct itimerval every = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
	long wrong;

	signal(SIGALRM, spoil);
	setitimer(ITIMER_REAL, &every, NULL);
	wrong = keep(5);
	setitimer(ITIMER_REAL, &never, NULL);
	check(!wrong, "a handler that uses all registers changes none: %ld wrong", wrong);
}

int main(void)
{
	int top = have("avx512bw") ? 2 : have("avx") ? 1 : 0;

	_Static_assert(offsetof(struct state, masks) == 2048 && offsetof(struct state, st) == 2128, "as the assembly says");
	for (level = 0; level <= top; level++) {
		printf("level %d\n", level);
		test_threads();
		test_processes();
		test_signals();
	}
}
