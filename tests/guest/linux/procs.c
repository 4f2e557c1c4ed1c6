/* SPDX-License-Identifier: MIT */
/*
 * Processes: fork with copy-on-write checked from both sides, vfork, exec, pipes, signals between processes, shared
 * memory, wait statuses, and many short-lived children.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "guest.h"

enum { PAGES = 256 };

static char *self;

static int wait_for(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static pid_t fork_flushed(void)
{
	fflush(stdout);
	return fork();
}

static void test_cow(void)
{
	uint64_t *area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i, round;
	pid_t pid;

	for (i = 0; i < PAGES; i++)
		area[i * 512] = i;
	for (round = 0; round < 5; round++) {
		pid = fork_flushed();
		if (!pid) {
			uint64_t h = HASH_START;

			for (i = 0; i < PAGES; i++) {
				h = hash(h, &area[i * 512], 8);
				area[i * 512 + 1] = i;
				area[i * 512] ^= 0xffff;
			}
			printf("child %d sees %016jx\n", round, h);
			fflush(stdout);
			_exit(area[512] == ((1 + (uint64_t)round) ^ 0xffff) ? round : 99);
		}
		for (i = 0; i < PAGES; i++)
			area[i * 512]++; /* some before, some after the child reads: it must see none of it */
		printf("child %d ends with %d\n", round, wait_for(pid));
		for (i = 0; i < PAGES; i++)
			if (area[i * 512] != (uint64_t)i + round + 1 || area[i * 512 + 1])
				printf("WRONG page %d\n", i);
	}
}

static void test_pipes(void)
{
	int up[2], down[2], i;
	uint64_t value, h = HASH_START;
	pid_t pid;

	if (pipe(up) || pipe(down))
		return;
	pid = fork_flushed();
	if (!pid) {
		close(up[1]);
		while (read(up[0], &value, sizeof(value)) == sizeof(value)) {
			value = value * 6364136223846793005ull + 1;
			if (write(down[1], &value, sizeof(value)) != sizeof(value))
				_exit(1);
		}
		_exit(7);
	}
	for (i = 0, value = 1; i < 2000; i++) {
		if (write(up[1], &value, sizeof(value)) != sizeof(value) ||
		    read(down[0], &value, sizeof(value)) != sizeof(value))
			break;
		h = hash(h, &value, sizeof(value));
	}
	close(up[1]);
	printf("ping-pong %d times, %016jx, child ends with %d\n", i, h, wait_for(pid));
}

static void test_bulk(void)
{
	static char block[65536];
	uint64_t h = HASH_START, total = 0;
	ssize_t got;
	int fd[2], i;
	pid_t pid;

	if (pipe(fd))
		return;
	pid = fork_flushed();
	if (!pid) {
		for (i = 0; i < 64; i++) {
			memset(block, i, sizeof(block));
			for (got = 0; got < (ssize_t)sizeof(block);)
				got += write(fd[1], block + got, sizeof(block) - got > 5000 ? 5000 : sizeof(block) - got);
		}
		_exit(0);
	}
	close(fd[1]);
	while ((got = read(fd[0], block, sizeof(block))) > 0) {
		h = hash(h, block, got);
		total += got;
	}
	printf("piped %ju bytes, %016jx, %d\n", total, h, wait_for(pid));
}

static volatile int *shared;
static void count(int signo)
{
	shared[signo == SIGUSR1]++;
}

static void test_signals(void)
{
	sigset_t set, old;
	pid_t pid;
	int i;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	signal(SIGUSR1, count);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	pid = fork_flushed();
	if (!pid) {
		for (i = 0; i < 200; i++) {
			sigsuspend(&old);
			kill(getppid(), SIGUSR1);
		}
		_exit(3);
	}
	for (i = 0; i < 200; i++) {
		kill(pid, SIGUSR1);
		sigsuspend(&old);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("signals %d, child ends with %d\n", shared[1], wait_for(pid));
}

static void test_shared(void)
{
	_Atomic long *counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[4];
	int i, j;

	for (i = 0; i < 4; i++)
		if (!(pids[i] = fork_flushed())) {
			for (j = 0; j < 20000; j++)
				counter[j % 3]++;
			_exit(i);
		}
	for (i = 0; i < 4; i++)
		printf("%d ", wait_for(pids[i]));
	printf("shared counters %ld %ld %ld\n", counter[0], counter[1], counter[2]);
}

static void test_vfork_exec(void)
{
	char word[16];
	volatile int before = 1;
	volatile int i, sum = 0;
	pid_t pid;

	for (i = 0; i < 30; i++) {
		snprintf(word, sizeof(word), "%d", i);
		fflush(stdout);
		pid = vfork();
		if (!pid) {
			before = i;
			execl(self, self, "child", word, (char *)NULL);
			_exit(127);
		}
		sum += wait_for(pid) - before;
	}
	printf("vfork and exec: %d\n", sum);
}

static void test_deaths(void)
{
	static const int how[] = { SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGKILL };
	size_t i;
	pid_t pid;

	for (i = 0; i < COUNT(how); i++) {
		pid = fork_flushed();
		if (!pid) {
			volatile int zero = 0;

			if (how[i] == SIGSEGV)
				asm volatile("movl $0, 8" ::: "memory");
			if (how[i] == SIGFPE)
				asm volatile("idivl %0" ::"m"(zero), "a"(1), "d"(0));
			if (how[i] == SIGILL)
				asm volatile("ud2");
			if (how[i] == SIGTRAP)
				asm volatile("int3");
			raise(how[i]);
			_exit(1);
		}
		printf("child dies of %d\n", -wait_for(pid));
	}
}

static int clone_child(void *arg)
{
	*(int *)arg += 5;
	return 9;
}

static void test_clone(void)
{
	static char stack[1 << 16];
	int value = 1, result;

	fflush(stdout);
	result = wait_for(clone(clone_child, stack + sizeof(stack), CLONE_VM | SIGCHLD, &value));
	printf("clone shares memory: %d %d\n", value, result);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return atoi(argv[2]) * 3 % 256;
	self = argv[0];
	test_cow();
	test_pipes();
	test_bulk();
	test_signals();
	test_shared();
	test_vfork_exec();
	test_deaths();
	test_clone();
}
