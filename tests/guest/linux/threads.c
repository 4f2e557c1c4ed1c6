/* SPDX-License-Identifier: MIT */
/*
 * Threads: atomics of every kind under contention, mutexes, condition variables, barriers, futexes, thread-local
 * storage, cancellation, and signals sent to one thread. What is printed are sums that hold in any order of events.
 */
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "guest.h"

enum { THREADS = 4, ROUNDS = 20000 };

#ifdef __x86_64__
#define WIDE "16b"
#else
#define WIDE "8b"
#endif

static atomic_long added, exchanged, compared, ored;
static atomic_char bytes[8];
static struct {
	unsigned long low, high;
} wide __attribute__((aligned(16)));
static unsigned long bits;
static __thread long own = 5;
static __thread char own_area[5000];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long plain;

static void add_wide(void)
{
	unsigned long low = wide.low, high = wide.high, ok;

	do {
		unsigned long new_low = low + (1ul << (LONG_BIT - 1)) + 1, new_high = high + (new_low < low);

		asm volatile("lock cmpxchg" WIDE " %1; setz %b0"
			     : "=q"(ok), "+m"(wide), "+a"(low), "+d"(high)
			     : "b"(new_low), "c"(new_high)
			     : "cc", "memory");
	} while (!(ok & 1));
}

static void *atomics(void *arg)
{
	long me = (long)arg, i, old, seen = 0;

	for (i = 0; i < ROUNDS; i++) {
		atomic_fetch_add(&added, me + 1);
		asm volatile("lock; incb %0" : "+m"(bytes[i % 8])::"cc");
		old = atomic_load(&compared);
		while (!atomic_compare_exchange_weak(&compared, &old, old + 3))
			;
		atomic_fetch_or(&ored, 1L << i % (LONG_BIT - 4));
		seen += atomic_exchange(&exchanged, 1) == 0;
		asm volatile("lock btc %1, %0" : "+m"(bits) : "r"(me) : "cc");
		add_wide();
		own += me;
		own_area[i % sizeof(own_area)] += 1;
	}
	return (void *)(own - 5 - me * ROUNDS + own_area[4999] - 4 + (seen > ROUNDS));
}

static void *locked(void *arg)
{
	long i;

	(void)arg;
	for (i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		plain++;
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

enum { SLOTS = 7, ITEMS = 5000 };
static long slots[SLOTS];
static int used;

static void *produce(void *arg)
{
	long i;

	for (i = 0; i < ITEMS; i++) {
		pthread_mutex_lock(&mutex);
		while (used == SLOTS)
			pthread_cond_wait(&emptied, &mutex);
		slots[used++] = i * (long)arg;
		pthread_cond_signal(&filled);
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

static void *consume(void *arg)
{
	long sum = 0, i;

	(void)arg;
	for (i = 0; i < ITEMS; i++) {
		pthread_mutex_lock(&mutex);
		while (!used)
			pthread_cond_wait(&filled, &mutex);
		sum += slots[--used];
		pthread_cond_signal(&emptied);
		pthread_mutex_unlock(&mutex);
	}
	return (void *)sum;
}

static long phases[THREADS];
static void *step(void *arg)
{
	long me = (long)arg, i, j, wrong = 0;

	for (i = 0; i < 500; i++) {
		phases[me] = i;
		pthread_barrier_wait(&barrier);
		for (j = 0; j < THREADS; j++)
			wrong += phases[j] != i;
		pthread_barrier_wait(&barrier);
	}
	return (void *)wrong;
}

static int token;
static void *pass(void *arg)
{
	int me = (int)(long)arg, i;

	for (i = 0; i < 1000; i++) {
		int at;

		while ((at = atomic_load((_Atomic int *)&token)) % THREADS != me)
			syscall(SYS_futex, &token, FUTEX_WAIT_PRIVATE, at, NULL, NULL, 0);
		atomic_fetch_add((_Atomic int *)&token, 1);
		syscall(SYS_futex, &token, FUTEX_WAKE_PRIVATE, THREADS, NULL, NULL, 0);
	}
	return NULL;
}

static long run(void *(*first)(void *), void *(*second)(void *))
{
	pthread_t t[THREADS];
	long i, sum = 0;
	void *result;

	for (i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, i & 1 ? second : first, (void *)i);
	for (i = 0; i < THREADS; i++) {
		pthread_join(t[i], &result);
		sum += (long)result;
	}
	return sum;
}

static __thread int signalled;
static void on_signal(int signo)
{
	signalled = signo;
}

static void *wait_signal(void *arg)
{
	while (!*(volatile int *)&signalled)
		sched_yield();
	*(int *)arg = signalled;
	pause();
	return NULL;
}

static void test_signal_and_cancel(void)
{
	pthread_t t;
	volatile int got = 0;
	void *result;

	signal(SIGUSR1, on_signal);
	pthread_create(&t, NULL, wait_signal, (void *)&got);
	pthread_kill(t, SIGUSR1);
	while (!got)
		sched_yield();
	pthread_cancel(t);
	pthread_join(t, &result);
	printf("thread got signal %d, main %d, cancelled %d\n", got, signalled, result == PTHREAD_CANCELED);
}

int main(void)
{
	printf("atomics: %ld wrong\n", run(atomics, atomics));
	printf("added %ld compared %ld ored %lx exchanged %ld bits %lx\n", added, compared, ored, exchanged, bits);
	printf("bytes %d %d wide %016lx%016lx\n", bytes[0], bytes[7], wide.high, wide.low);
	run(locked, locked);
	printf("locked %ld\n", plain);
	printf("consumed %ld\n", run(produce, consume));
	pthread_barrier_init(&barrier, NULL, THREADS);
	printf("barriers: %ld wrong\n", run(step, step));
	run(pass, pass);
	printf("token %d\n", token);
	test_signal_and_cancel();
}
