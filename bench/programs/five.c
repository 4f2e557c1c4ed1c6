// SPDX-License-Identifier: MIT
//
// The five programs of Agesen's PLDI 2012 talk, after its slides, with the counts as arguments:
//   five primes LIMIT | fib N | getppid CALLS | forkwait TIMES | memsweep PASSES
// memsweep sweeps 32 MiB of 4 KiB pages: large pages are refused, natively and in a guest. At -O2 GCC would
// unfold the recursion of fib some levels deep and fold what it finds: it is calls and returns that fib is there for.
// CFLAGS: -O1
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common.h"

static int is_prime(int n)
{
	if (n % 2 == 0)
		return n == 2;
	for (int i = 3; i * i <= n; i += 2)
		if (n % i == 0)
			return 0;
	return 1;
}

static int64_t primes(long limit)
{
	int64_t c = 0;

	for (int n = 2; n < limit; n++)
		c += is_prime(n);
	return c;
}

static int64_t fib(int64_t n)
{
	if (n <= 1)
		return 1;
	return fib(n - 1) + fib(n - 2);
}

static int64_t call_getppid(long calls)
{
	int64_t same = 1, first = syscall(SYS_getppid);

	for (long i = 0; i < calls; i++)
		same &= syscall(SYS_getppid) == first;
	return same;
}

static int64_t forkwait(long times)
{
	int64_t ended = 0;

	for (long i = 0; i < times; i++) {
		int status;
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		if (child < 0)
			die("fork");
		ended += wait(&status) == child && status == 0;
	}
	return ended;
}

#define SIZE (8192u * 4096u)
static volatile char large[SIZE];

static int64_t memsweep(long passes)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < (unsigned)passes * SIZE; i++)
		large[(4096 * i + i) % SIZE] = 1 + large[i % SIZE];
	for (unsigned i = 0; i < SIZE; i++)
		sum += large[i] * (int64_t)(i & 0xff);
	return sum;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int64_t (*run)(long n);
	} programs[] = { { "primes", primes }, { "fib", fib }, { "getppid", call_getppid }, { "forkwait", forkwait },
			 { "memsweep", memsweep } };

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (unsigned i = 0; argc == 3 && i < sizeof(programs) / sizeof(programs[0]); i++)
		if (!strcmp(argv[1], programs[i].name)) {
			long n = argument(argc, argv, 2);

			printf("%s %ld: %lld\n", argv[1], n, (long long)programs[i].run(n));
			return 0;
		}
	return 2;
}
