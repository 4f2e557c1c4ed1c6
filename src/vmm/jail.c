// SPDX-License-Identifier: MIT
//
// The jail: what the monitor may ask of the host kernel once guest code can run. Anything else, and any other
// architecture's system calls, kills the whole process, which the app notices and reports. The list is what the
// monitor uses and no more: waiting (futex, wait and wake only), coming back from a signal, its one timer, the time of
// day, giving back memory of the translator, and ending. No call here opens or sends anything: a monitor taken over by
// its guest reaches this machine's memory and the app's request slots, nothing else.
//
// With guest memory mapped at the guest's own addresses (--memory), or several vCPUs (zone.h, SPLIT_WINDOW), two more:
// mmap of the RAM file outside the zone,
// never executable, and munmap there. Less than 4 GiB at a time, so that what begins below the zone ends in its gap.
#include "vmm/jail.h"
#include "base/types.h"
#include "bus/shared.h"
#include "cpu/hooks.h"
#include "mem/zone.h"
#include "vmm/direct.h"
#include "vmm/filter.h"
#include "vmm/linux.h"
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { HIGH_OF_ZONE = ZONE_START >> 32, HIGH_OF_ZONE_END = ZONE_END >> 32, UPPER_HALF = 0x8000 };
// The worlds' runners, then their mappers: stand for numbers of threads, which are smaller.
enum { THREAD = 0xffff00, WORLDS = VMM_WORLDS + VMM_SPARES, THREADS = 2 * WORLDS };

#define BEGIN LOAD(arch), KILL_UNLESS(AUDIT_ARCH_X86_64), LOAD(nr)
#define ALWAYS \
	ALLOW_CALL(SYS_rt_sigreturn), ALLOW_CALL(SYS_timer_settime), ALLOW_CALL(SYS_clock_gettime), \
	ALLOW_CALL(SYS_sched_yield), ALLOW_CALL(SYS_exit), ALLOW_CALL(SYS_exit_group)
// The operation is args[1], its low half: the high one is ignored by the kernel, too.
#define FUTEX KILL_UNLESS(SYS_futex), LOAD(args[1]), IF(LINUX_FUTEX_WAIT, 2), IF(LINUX_FUTEX_WAKE, 1), KILL, ALLOW

#define SMALL LOAD_HIGH(1), KILL_UNLESS(0)
#define OUTSIDE_THE_ZONE LOAD_HIGH(0), IF_AT_LEAST(UPPER_HALF, 2), AND(0xf000), KILL_IF(HIGH_OF_ZONE)
#define MMAP \
	SMALL, OUTSIDE_THE_ZONE, LOAD(args[2]), IF(PROT_READ, 2), KILL_UNLESS(PROT_READ | PROT_WRITE), \
	LOAD(args[3]), KILL_UNLESS(JAIL_MAP_FLAGS), LOAD(args[4]), KILL_UNLESS(MONITOR_FD_RAM), ALLOW
// All that is above the zone, or all below it, may go at once.
#define MUNMAP \
	LOAD_HIGH(0), IF_AT_LEAST(HIGH_OF_ZONE_END, 7), UNLESS(0, 7), LOAD(args[0]), UNLESS(0, 5), \
	LOAD_HIGH(1), UNLESS(HIGH_OF_ZONE, 3), LOAD(args[1]), UNLESS(0, 1), ALLOW, \
	SMALL, OUTSIDE_THE_ZONE, ALLOW
// Pages of a vCPU's tables or cache go back to the host.
#define MADVISE \
	SMALL, LOAD_HIGH(0), AND(~(VCPUS_MAX - 1u)), KILL_UNLESS(ZONE_VCPU_FIRST >> 32), LOAD(args[0]), \
	IF_AT_LEAST(ZONE_VCPU_BT, 1), KILL, LOAD(args[2]), IF(MADV_REMOVE, 2), KILL_UNLESS(MADV_DONTNEED), ALLOW
// Of the worlds of direct execution: signals to their runners, the processor that all share, and whether one has ended,
// which stays as it is.
#define ANY_OF_4(first, skip) \
	IF(first, (skip) + 3), IF((first) + 1, (skip) + 2), IF((first) + 2, (skip) + 1), IF((first) + 3, skip)
#define ANY_OF_16(first, skip) \
	ANY_OF_4(first, (skip) + 12), ANY_OF_4((first) + 4, (skip) + 8), ANY_OF_4((first) + 8, (skip) + 4), \
	ANY_OF_4((first) + 12, skip)
#define RUNNER(skip) ANY_OF_16(THREAD, skip)
#define MAPPER(skip) ANY_OF_16(THREAD + 16, skip)
#define SIGNAL LOAD(args[0]), RUNNER(1), KILL, LOAD(args[1]), RUNNER(1), KILL, ALLOW
#define AFFINITY LOAD(args[0]), IF(0, 33), RUNNER(17), MAPPER(1), KILL, ALLOW
#define WAITID LOAD(args[3]), KILL_UNLESS(WEXITED | WNOHANG | WNOWAIT), ALLOW
#define LENGTH(...) (sizeof((const struct sock_filter[]){__VA_ARGS__}) / sizeof(struct sock_filter))

static const struct sock_filter checked[] = {BEGIN, ALWAYS, UNLESS(SYS_madvise, LENGTH(MADVISE)), MADVISE, FUTEX};
static const struct sock_filter mapped[] = {
	BEGIN, ALWAYS, UNLESS(SYS_madvise, LENGTH(MADVISE)), MADVISE, UNLESS(SYS_mmap, LENGTH(MMAP)), MMAP,
	UNLESS(SYS_munmap, LENGTH(MUNMAP)), MUNMAP, FUTEX,
};

static const struct sock_filter direct[] = {
	BEGIN, ALWAYS, ALLOW_CALL(LINUX_SYS_FUTEX_WAITV), ALLOW_CALL(SYS_getcpu),
	UNLESS(SYS_tgkill, LENGTH(SIGNAL)), SIGNAL, UNLESS(SYS_waitid, LENGTH(WAITID)), WAITID,
	UNLESS(SYS_sched_setaffinity, LENGTH(AFFINITY)), AFFINITY, UNLESS(SYS_madvise, LENGTH(MADVISE)), MADVISE,
	UNLESS(SYS_mmap, LENGTH(MMAP)), MMAP, UNLESS(SYS_munmap, LENGTH(MUNMAP)), MUNMAP,
	KILL_UNLESS(SYS_futex), LOAD(args[1]), ALLOW_CALL(LINUX_FUTEX_REQUEUE), LOAD(nr), FUTEX,
};

struct sock_fprog jail_filter(bool maps)
{
	return maps ? (struct sock_fprog){ARRAY_SIZE(mapped), (struct sock_filter *)mapped} :
		      (struct sock_fprog){ARRAY_SIZE(checked), (struct sock_filter *)checked};
}

static int close_with(struct sock_fprog p)
{
	long err = linux_call6(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);

	if (err)
		return (int)err;
	// Without SPEC_ALLOW older kernels slow the whole process down (docs/SAFETY.md says what speculation can read).
	return (int)linux_call3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, (uintptr_t)&p);
}

int jail_close(bool maps)
{
	return close_with(jail_filter(maps));
}

int jail_close_with_worlds(const uint32_t *runner, const uint32_t *mapper)
{
	struct sock_filter filter[ARRAY_SIZE(direct)];

	for (unsigned i = 0; i < ARRAY_SIZE(direct); i++) {
		filter[i] = direct[i];
		uint32_t n = filter[i].k - THREAD;

		if (n < THREADS && (n < WORLDS ? runner[n] : mapper[n - WORLDS]))
			filter[i].k = n < WORLDS ? runner[n] : mapper[n - WORLDS];
	}
	return close_with((struct sock_fprog){ARRAY_SIZE(filter), filter});
}

_Static_assert((int)WORLDS == 16, "RUNNER and MAPPER have that many");

// -- a world's own: what stops there is guest code's doing, and goes to the monitor

static const struct sock_filter of_mapper[] = {
	LOAD(arch), IF(AUDIT_ARCH_X86_64, 1), TRAP, LOAD(nr),
	ALLOW_CALL(SYS_clone), ALLOW_CALL(SYS_rt_sigprocmask), ALLOW_CALL(SYS_prctl), ALLOW_CALL(SYS_seccomp),
	ALLOW_CALL(SYS_close_range), ALLOW_CALL(SYS_munmap), ALLOW_CALL(SYS_arch_prctl),
	ALLOW_CALL(SYS_rt_sigreturn), ALLOW_CALL(SYS_futex), ALLOW_CALL(SYS_mmap), TRAP, // the runner's makes fewer of them
};

int jail_close_mapper(void)
{
	return close_with((struct sock_fprog){ARRAY_SIZE(of_mapper), (struct sock_filter *)of_mapper});
}

// Nothing but the handler's own calls, from where it makes them; and who waits does so until the monitor wakes it.
int jail_close_runner(void)
{
	const struct sock_filter of_runner[] = {
		LOAD(arch), IF(AUDIT_ARCH_X86_64, 1), TRAP,
		LOAD_PC_HIGH, IF((uintptr_t)direct_text >> 32, 1), TRAP,
		LOAD_PC, IF((uint32_t)(uintptr_t)direct_called_futex, 21), IF((uint32_t)(uintptr_t)direct_called_futex2, 20),
		IF((uint32_t)(uintptr_t)direct_called_prctl, 13), IF((uint32_t)(uintptr_t)direct_called_arch_prctl, 6),
		IF((uint32_t)(uintptr_t)direct_called_sigreturn, 1), TRAP,
		LOAD(nr), IF(SYS_rt_sigreturn, 1), TRAP, ALLOW,
		LOAD(nr), UNLESS(SYS_arch_prctl, 3), LOAD(args[0]), ALLOW_CALL(ARCH_SET_CPUID), TRAP,
		LOAD(nr), UNLESS(SYS_prctl, 3), LOAD(args[0]), ALLOW_CALL(PR_SET_TSC), TRAP,
		LOAD(nr), IF(SYS_futex, 1), TRAP, LOAD(args[3]), IF(0, 1), TRAP, LOAD_HIGH(3), IF(0, 1), TRAP,
		LOAD(args[1]), IF(LINUX_FUTEX_WAIT, 2), IF(LINUX_FUTEX_WAKE, 1), TRAP, ALLOW,
	};

	return close_with((struct sock_fprog){ARRAY_SIZE(of_runner), (struct sock_filter *)(uintptr_t)of_runner});
}
