/* SPDX-License-Identifier: MIT */
/*
 * Time: what the vDSO says lies between two system calls that ask the kernel; no clock goes back; sleeps last at least
 * as long as asked and not absurdly longer; timers fire; the time-stamp counter runs forward, in step with the clock.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "guest.h"

enum { READS = 100000, SECOND = 1000000000 };

static int64_t kernel_time(clockid_t clock)
{
	struct timespec t;

	syscall(SYS_clock_gettime, clock, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t vdso_time(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static uint64_t tsc(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static void test_order(const char *name, clockid_t clock)
{
	int64_t before, between, after, last = 0, back = 0, outside = 0, i;

	for (i = 0; i < READS / 10; i++) {
		before = kernel_time(clock);
		between = vdso_time(clock);
		after = kernel_time(clock);
		outside += between < before || between > after;
	}
	for (i = 0; i < READS; i++) {
		between = vdso_time(clock);
		back += between < last;
		last = between;
	}
	check(!outside, "%s: the vDSO's time lies between the kernel's: %ld outside", name, outside);
	check(!back, "%s: never back in %d reads: %ld", name, READS, back);
}

static void test_gettimeofday(void)
{
	struct timeval t;
	int64_t i, outside = 0;

	for (i = 0; i < READS / 10; i++) {
		int64_t before = kernel_time(CLOCK_REALTIME) / 1000, now, after;

		gettimeofday(&t, NULL);
		now = (int64_t)t.tv_sec * 1000000 + t.tv_usec;
		after = kernel_time(CLOCK_REALTIME) / 1000;
		outside += now < before || now > after;
	}
	check(!outside, "gettimeofday agrees with the kernel: %ld outside", outside);
	check(time(NULL) > 1700000000, "the calendar has been set");
}

static void test_sleep(int64_t ns)
{
	struct timespec t = { ns / SECOND, ns % SECOND };
	int64_t start = vdso_time(CLOCK_MONOTONIC), slept;

	nanosleep(&t, NULL);
	slept = vdso_time(CLOCK_MONOTONIC) - start;
	check(slept >= ns, "a sleep of %ld us is not too short", ns / 1000);
	check(slept < ns + SECOND, "a sleep of %ld us is not absurdly long", ns / 1000);
}

static volatile int ticks;
static void tick(int signo)
{
	(void)signo;
	ticks++;
}

static void test_timer(void)
{
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
	int64_t start = vdso_time(CLOCK_MONOTONIC), taken;

	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &every, NULL);
	while (ticks < 50)
		;
	taken = vdso_time(CLOCK_MONOTONIC) - start;
	setitimer(ITIMER_REAL, &never, NULL);
	check(taken >= SECOND / 4 - SECOND / 100 && taken < SECOND * 20ll, "50 ticks of 5 ms take a quarter of a second");
}

static void test_tsc(void)
{
	uint64_t last = tsc(), now, back = 0, a, b;
	int64_t start, i;
	double first, second;

	for (i = 0; i < READS; i++) {
		now = tsc();
		back += now < last;
		last = now;
	}
	check(!back, "the counter never runs back: %lu", back);
	start = vdso_time(CLOCK_MONOTONIC);
	a = tsc();
	usleep(100000);
	b = tsc();
	first = (double)(b - a) / (double)(vdso_time(CLOCK_MONOTONIC) - start);
	start = vdso_time(CLOCK_MONOTONIC);
	a = tsc();
	while (vdso_time(CLOCK_MONOTONIC) - start < SECOND / 10)
		;
	b = tsc();
	second = (double)(b - a) / (double)(vdso_time(CLOCK_MONOTONIC) - start);
	check(first / second > 0.95 && first / second < 1.05, "the counter's rate is the same asleep and awake");
}

static void test_process_time(void)
{
	int64_t start = vdso_time(CLOCK_PROCESS_CPUTIME_ID), wall = vdso_time(CLOCK_MONOTONIC), used;
	volatile uint64_t sum = 0;
	uint64_t i;

	for (i = 0; i < 20000000; i++)
		sum += i;
	used = vdso_time(CLOCK_PROCESS_CPUTIME_ID) - start;
	wall = vdso_time(CLOCK_MONOTONIC) - wall;
	check(used > 0 && used <= wall + SECOND / 50, "the processor time used is not more than the time that passed");
}

int main(void)
{
	test_order("monotonic", CLOCK_MONOTONIC);
	test_order("realtime", CLOCK_REALTIME);
	test_order("boottime", CLOCK_BOOTTIME);
	test_order("coarse", CLOCK_MONOTONIC_COARSE);
	test_gettimeofday();
	test_sleep(0);
	test_sleep(1000000);
	test_sleep(50000000);
	test_sleep(300000000);
	test_timer();
	test_tsc();
	test_process_time();
}
