/* SPDX-License-Identifier: MIT */
/*
 * Processes that do at random what moves page tables: mmap, munmap, mprotect, mremap, madvise (huge pages, swapping
 * out, throwing away), fork with copies on write, exec, execution of what they have just written; each against a model
 * of its own of what every page must hold and allow. With more of them than memory the guest swaps all the while.
 *   churn PROCESSES MEGABYTES SECONDS SEED        status 0: no difference. Run by churn.py in a guest, or as it is.
 * A page holds a pattern made from its tag (0: zeroes), which begins with `mov eax, tag; ret` and can be called.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define WORDS (PAGE / 8)
#define HUGE_PAGES 512u
#define SHARED_PAGES 1024u
#define MAX_PAGES (1u << 18)

enum { NONE = 0, READ = PROT_READ, WRITE = PROT_READ | PROT_WRITE, RUN = PROT_READ | PROT_EXEC,
       ALL = PROT_READ | PROT_WRITE | PROT_EXEC, ABSENT = 0x80 };

struct counts { /* of one process, in memory that all share */
	uint64_t steps, pages, faults, runs, forks, execs, maps, moves, out;
};

struct shared { /* in a file, so that it outlives an exec; written by its process alone */
	uint64_t tag[SHARED_PAGES];
	uint64_t random;
	struct counts counts;
};

struct page {
	uint64_t tag;
	uint8_t rights; /* PROT_*, or ABSENT */
};

static struct page model[MAX_PAGES];
static unsigned char *arena, *file_pages;
static struct shared *shared;
static unsigned int pages, number;
static uint64_t seed;
static sigjmp_buf back;
static volatile sig_atomic_t expecting;
static siginfo_t last;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned int below(unsigned int n)
{
	return (next_random() >> 20) % n;
}

__attribute__((noreturn, format(printf, 1, 2))) static void differs(const char *format, ...)
{
	char text[400];
	va_list args;
	int n = snprintf(text, sizeof(text), "DIFFERENCE process %u (pid %d) step %llu: ", number, getpid(),
			 (unsigned long long)shared->counts.steps);

	va_start(args, format);
	n += vsnprintf(text + n, sizeof(text) - n - 1, format, args);
	va_end(args);
	text[n++] = '\n';
	if (write(1, text, n) != n)
		_exit(3);
	_exit(2);
}

static void must(bool ok, const char *what)
{
	if (!ok)
		differs("%s: %s", what, strerror(errno));
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	last = *info;
	if (!expecting)
		differs("signal %d at %p code %d, unexpected", sig, info->si_addr, info->si_code);
	siglongjmp(back, 1);
}

static uint64_t word(uint64_t tag, unsigned int i)
{
	if (!tag)
		return 0;
	return i ? (tag + i) * 0x9e3779b97f4a7c15u : 0xc3ull << 40 | (tag & 0xffffffff) << 8 | 0xb8;
}

static void fill(void *at, uint64_t tag)
{
	uint64_t *p = at;

	for (unsigned int i = 0; i < WORDS; i++)
		p[i] = word(tag, i);
}

static void verify(const void *at, uint64_t tag, const char *where, unsigned int n)
{
	const volatile uint64_t *p = at;

	for (unsigned int i = 0; i < WORDS; i++) {
		uint64_t is = p[i];

		if (is != word(tag, i))
			differs("%s page %u (%p) word %u is %016llx, must be %016llx (tag %llx), then %016llx", where, n, at, i,
				(unsigned long long)is, (unsigned long long)word(tag, i), (unsigned long long)tag,
				(unsigned long long)p[i]);
	}
	shared->counts.pages++;
}

static unsigned char *address(unsigned int n)
{
	return arena + (size_t)n * PAGE;
}

/* Does an access of this kind (READ, WRITE or RUN) do what the model says? */
static void attempt(unsigned int n, unsigned int kind)
{
	struct page *m = &model[n];
	unsigned char *at = address(n);
	volatile bool allowed = m->rights != ABSENT && (m->rights & kind) == kind, done = false; /* over siglongjmp */

	if (kind == RUN && allowed && !m->tag)
		return;
	expecting = 1;
	if (!sigsetjmp(back, 1)) {
		if (kind == READ) {
			(void)*(volatile uint64_t *)(at + 8 * below(WORDS));
		} else if (kind == WRITE) {
			unsigned int i = below(WORDS);

			((volatile uint64_t *)at)[i] = word(m->tag, i);
		} else {
			unsigned int got = ((unsigned int (*)(void))at)();

			if (got != (unsigned int)m->tag)
				differs("code on page %u says %x, not %x", n, got, (unsigned int)m->tag);
			shared->counts.runs++;
		}
		done = true;
	}
	expecting = 0;
	if (done != allowed)
		differs("access %u to page %u with rights %x %s", kind, n, m->rights, done ? "did not fault" : "faulted");
	if (done)
		return;
	shared->counts.faults++;
	if (((uintptr_t)last.si_addr & -(uintptr_t)PAGE) != (uintptr_t)at || last.si_signo != SIGSEGV ||
	    last.si_code != (m->rights == ABSENT ? SEGV_MAPERR : SEGV_ACCERR))
		differs("access %u to page %u with rights %x: signal %d code %d at %p, not %p", kind, n, m->rights,
			last.si_signo, last.si_code, last.si_addr, (void *)at);
}

static void look(unsigned int n)
{
	if (model[n].rights != ABSENT && model[n].rights & READ)
		verify(address(n), model[n].tag, "private", n);
	else
		attempt(n, READ);
}

static void set(unsigned int first, unsigned int n, int rights, bool zero)
{
	for (unsigned int i = first; i < first + n; i++) {
		model[i].rights = rights;
		if (zero)
			model[i].tag = 0;
	}
}

static int some_rights(void)
{
	static const uint8_t choice[] = { NONE, READ, WRITE, WRITE, WRITE, RUN, RUN, ALL };

	return choice[below(sizeof(choice))];
}

static void map(unsigned int first, unsigned int n, int rights)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE | (below(8) ? 0 : MAP_POPULATE);

	must(mmap(address(first), (size_t)n * PAGE, rights, flags, -1, 0) != MAP_FAILED, "mmap");
	set(first, n, rights, true);
	shared->counts.maps++;
}

static void write_some(unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n; i++) {
		if (model[i].rights == ABSENT || (model[i].rights & WRITE) != WRITE) {
			attempt(i, WRITE);
			continue;
		}
		model[i].tag = below(16) ? next_random() | 1 : 0;
		fill(address(i), model[i].tag);
	}
}

/* What is absent is left so: an mprotect over it would fail half done. */
static void protect(unsigned int first, unsigned int n, int rights)
{
	for (unsigned int i = first; i < first + n;) {
		unsigned int end = i;

		while (end < first + n && model[end].rights != ABSENT)
			end++;
		if (end > i) {
			must(!mprotect(address(i), (size_t)(end - i) * PAGE, rights), "mprotect");
			set(i, end - i, rights, false);
		}
		i = end + 1;
	}
}

static void unmap(unsigned int first, unsigned int n)
{
	must(!munmap(address(first), (size_t)n * PAGE), "munmap");
	set(first, n, ABSENT, true);
}

/* mremap wants one mapping: pages of equal rights, made so at once. */
static void move(unsigned int from, unsigned int n)
{
	unsigned int to = below(pages - n);

	if (to < from + n && from < to + n)
		return;
	for (unsigned int i = from; i < from + n; i++)
		if (model[i].rights == ABSENT)
			return;
	protect(from, n, WRITE);
	for (unsigned int i = 0; i < n; i++) { /* one by one: mappings are not always merged */
		must(mremap(address(from + i), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, address(to + i)) == address(to + i),
		     "mremap");
		model[to + i] = model[from + i];
		model[from + i] = (struct page){ 0, ABSENT };
	}
	shared->counts.moves++;
}

static void advise(unsigned int first, unsigned int n)
{
	unsigned int big = first & -HUGE_PAGES;

	for (unsigned int i = first; i < first + n; i++)
		if (model[i].rights == ABSENT)
			return;
	switch (below(5)) {
	case 0:
		must(!madvise(address(first), (size_t)n * PAGE, MADV_DONTNEED), "MADV_DONTNEED");
		for (unsigned int i = first; i < first + n; i++)
			model[i].tag = 0;
		break;
	case 1:
		madvise(address(first), (size_t)n * PAGE, MADV_PAGEOUT);
		shared->counts.out += n;
		break;
	case 2:
		madvise(address(big), (size_t)HUGE_PAGES * PAGE, MADV_HUGEPAGE);
		madvise(address(big), (size_t)HUGE_PAGES * PAGE, 25 /* MADV_COLLAPSE */);
		break;
	case 3:
		madvise(address(big), (size_t)HUGE_PAGES * PAGE, MADV_HUGEPAGE);
		break;
	case 4:
		madvise(address(big), (size_t)HUGE_PAGES * PAGE, MADV_NOHUGEPAGE);
		break;
	}
}

static void wait_for(pid_t child, const char *what)
{
	int status;

	must(waitpid(child, &status, 0) == child, "waitpid");
	if (status == 2 << 8)
		_exit(2); /* the child has said it */
	if (status)
		differs("%s ended with %x", what, status);
}

/* Both sides write after the fork; each must see its own. */
static void branch(void)
{
	unsigned int first = below(pages - 256);
	pid_t child = fork();

	must(child >= 0, "fork");
	if (!child)
		seed = (seed ^ 0x5851f42d4c957f2du) | 1;
	for (unsigned int i = 0; i < 256; i++)
		look(first + below(256));
	write_some(first + below(128), 1 + below(64));
	protect(first + below(128), 1 + below(64), some_rights());
	for (unsigned int i = first; i < first + 256; i++)
		look(i);
	if (!child)
		_exit(0);
	wait_for(child, "a child");
	for (unsigned int i = first; i < first + 256; i += 1 + below(8))
		look(i);
	shared->counts.forks++;
}

static void share(void)
{
	unsigned int n = below(SHARED_PAGES), count = 1 + below(16);

	for (unsigned int i = n; i < n + count && i < SHARED_PAGES; i++) {
		verify(file_pages + (size_t)i * PAGE, shared->tag[i], "shared", i);
		shared->tag[i] = next_random() | 1;
		fill(file_pages + (size_t)i * PAGE, shared->tag[i]);
	}
}

static void become_anew(char **argv, bool all)
{
	if (all)
		for (unsigned int i = 0; i < pages; i++)
			look(i);
	shared->random = seed;
	shared->counts.execs++;
	execv("/proc/self/exe", argv);
	must(false, "exec");
}

static void step(char **argv)
{
	unsigned int n = 1 + below(below(4) ? 16 : 600), first = below(pages - n);

	shared->counts.steps++;
	switch (below(24)) {
	case 0: case 1: case 2: case 3: write_some(first, n); break;
	case 4: case 5: case 6: case 7: for (unsigned int i = first; i < first + n; i++) look(i); break;
	case 8: case 9: protect(first, n, some_rights()); break;
	case 10: unmap(first, n); break;
	case 11: case 12: case 13: map(first, n, WRITE); write_some(first, n); protect(first, n, some_rights()); break;
	case 14: move(first, n); break;
	case 15: case 16: advise(first, n); break;
	case 17: case 18: for (unsigned int i = 0; i < 32; i++) attempt(below(pages), READ); break;
	case 19: for (unsigned int i = 0; i < 32; i++) attempt(below(pages), WRITE); break;
	case 20: for (unsigned int i = 0; i < 64; i++) attempt(below(pages), RUN); break;
	case 21: case 22: share(); break;
	case 23:
		if (below(4)) /* all of it fresh, so that a process stays as large as it is to be */
			map(first, n, WRITE), write_some(first, n);
		else if (below(200))
			branch();
		else
			become_anew(argv, below(2));
		break;
	}
}

/* argv: churn worker NUMBER FD PAGES SECONDS */
static int worker(char **argv)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
	int fd = atoi(argv[3]);
	unsigned char *all;
	time_t end = atol(argv[5]);

	number = atoi(argv[2]);
	pages = atoi(argv[4]);
	all = mmap(NULL, 65536 + SHARED_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(all != MAP_FAILED, "mmap of the file");
	shared = (struct shared *)all;
	file_pages = all + 65536;
	seed = shared->random;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	for (unsigned int i = 0; i < SHARED_PAGES; i++) /* what was before the exec */
		verify(file_pages + (size_t)i * PAGE, shared->tag[i], "shared", i);
	arena = mmap(NULL, (size_t)(pages + 2 * HUGE_PAGES) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	must(arena != MAP_FAILED, "mmap of the arena");
	arena += -(uintptr_t)arena & (HUGE_PAGES * PAGE - 1);
	map(0, pages, WRITE);
	write_some(0, pages);
	while (time(NULL) < end)
		step(argv);
	for (unsigned int i = 0; i < pages; i++)
		look(i);
	return 0;
}

static unsigned long swapped(void) /* MiB */
{
	char line[200];
	unsigned long total = 0, free_now = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "SwapTotal: %lu", &total);
		sscanf(line, "SwapFree: %lu", &free_now);
	}
	if (f)
		fclose(f);
	return (total - free_now) / 1024;
}

int main(int argc, char **argv)
{
	unsigned int processes, left;
	struct shared *all[256];
	time_t begin = time(NULL), said = begin;
	char text[5][24];

	if (argc > 5 && !strcmp(argv[1], "worker"))
		return worker(argv);
	if (argc < 5 || atoi(argv[1]) < 1 || atoi(argv[1]) > 256 || atoi(argv[2]) < 8 || atoi(argv[2]) > 1024) {
		fprintf(stderr, "usage: churn PROCESSES MEGABYTES SECONDS SEED\n");
		return 1;
	}
	processes = left = atoi(argv[1]);
	seed = strtoull(argv[4], NULL, 0) * 1024;
	for (unsigned int i = 0; i < processes; i++) {
		int fd = memfd_create("shared", 0);

		must(fd >= 0 && !ftruncate(fd, 65536 + SHARED_PAGES * PAGE), "memfd");
		all[i] = shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		must(shared != MAP_FAILED, "mmap");
		shared->random = (seed + i) * 0x9e3779b97f4a7c15u | 1; /* no parts of one sequence */
		snprintf(text[0], sizeof(text[0]), "%u", i);
		snprintf(text[1], sizeof(text[1]), "%d", fd);
		snprintf(text[2], sizeof(text[2]), "%u", (unsigned int)atoi(argv[2]) * 256);
		snprintf(text[3], sizeof(text[3]), "%lld", (long long)begin + atol(argv[3]));
		if (!fork()) {
			execl("/proc/self/exe", "churn", "worker", text[0], text[1], text[2], text[3], (char *)NULL);
			_exit(4);
		}
		close(fd);
	}
	while (left) {
		struct counts sum = { 0 };
		int status;
		pid_t ended = waitpid(-1, &status, WNOHANG);

		if (ended > 0) {
			left--;
			if (!status)
				continue;
			printf("DIFFERENCE pid %d ended with %x\nCHURN failed\n", ended, status);
			return 1;
		}
		if (time(NULL) < said + 10 && left > 1) {
			usleep(200000);
			continue;
		}
		said = time(NULL);
		for (unsigned int i = 0; i < processes; i++)
			for (unsigned int k = 0; k < sizeof(sum) / 8; k++)
				((uint64_t *)&sum)[k] += ((uint64_t *)&all[i]->counts)[k];
		printf("CHURN %lld s: %u processes, %llu steps, %llu pages verified, %llu faults, %llu runs, %llu forks, "
		       "%llu execs, %llu maps, %llu moves, %llu pages out, %lu MiB swapped\n", (long long)(said - begin), left,
		       (unsigned long long)sum.steps, (unsigned long long)sum.pages, (unsigned long long)sum.faults,
		       (unsigned long long)sum.runs, (unsigned long long)sum.forks, (unsigned long long)sum.execs,
		       (unsigned long long)sum.maps, (unsigned long long)sum.moves, (unsigned long long)sum.out, swapped());
		fflush(stdout);
		usleep(200000);
	}
	printf("CHURN ended without a difference\n");
	return 0;
}
