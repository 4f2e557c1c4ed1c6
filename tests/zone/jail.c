// SPDX-License-Identifier: MIT
//
// The jail, tried from inside: for every system call number a child closes the monitor's own filter over itself and
// makes the call. All but the listed ones must kill it by SIGSYS, futex with any operation but wait and wake too, and
// so must the 32-bit and x32 doors to the same kernel.
#include "vmm/jail.h"
#include "base/types.h"
#include "bus/shared.h"
#include "cpu/hooks.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CALLS_MAX = 600, X32_BIT = 0x40000000,
	// Newer kernels let these two past every filter, for the trampolines of uprobes; elsewhere they do nothing.
	CALL_URETPROBE = 335, CALL_UPROBE = 336,
};

static const long allowed[] = {
	SYS_futex, SYS_rt_sigreturn, SYS_timer_settime, SYS_clock_gettime, SYS_sched_yield, SYS_exit, SYS_exit_group,
};

static unsigned tried, failed;
static bool maps; // the jail of a monitor that maps guest RAM
static bool directs; // and has worlds, the first and the last, with these threads
enum { LAST = VMM_WORLDS + VMM_SPARES - 1 };
static const uint32_t runners[LAST + 1] = {4194001, [LAST] = 4194003}, mappers[LAST + 1] = {4194002, [LAST] = 4194004};

static bool is_allowed(long nr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++)
		if (allowed[i] == nr)
			return true;
	return false;
}

static void call_64(long nr, long arg1)
{
	syscall(nr, 0, arg1, 0, 0, 0, 0);
}

static void call_32(long nr, long arg1)
{
	__asm__ volatile("int $0x80" : "+a"(nr) : "b"(0), "c"(arg1), "d"(0) : "memory");
}

// The signal that ended a child which made this one call in the jail; 0 if it lived on.
static int death(void (*call)(long, long), long nr, long arg1)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (directs ? jail_close_with_worlds(runners, mappers) : jail_close(maps))
			_exit(2);
		call(nr, arg1);
		syscall(SYS_exit_group, 0);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
		perror("the jail does not close");
		exit(1);
	}
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void expect(const char *what, long nr, int got, bool killed)
{
	tried++;
	if ((got == SIGSYS) == killed)
		return;
	failed++;
	printf("%s %ld: ended by signal %d, expected %s\n", what, nr, got, killed ? "SIGSYS" : "to live");
}

static void try_all(void)
{
	for (long nr = 0; nr < CALLS_MAX; nr++)
		if (!is_allowed(nr) && nr != CALL_URETPROBE && nr != CALL_UPROBE && !(maps && nr == SYS_munmap))
			expect("call", nr, death(call_64, nr, 0), true);
	for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++)
		if (allowed[i] != SYS_rt_sigreturn) // it cannot return here: there is no frame
			expect("call", allowed[i], death(call_64, allowed[i], 1), false);
	for (long op = 0; op < 16; op++)
		expect("futex operation", op, death(call_64, SYS_futex, op), op > 1);
	for (long nr = 1; nr < 20; nr++) {
		expect("32-bit call", nr, death(call_32, nr, 0), true);
		expect("x32 call", nr, death(call_64, nr | X32_BIT, 0), true);
	}
	expect("call", -1, death(call_64, -1, 0), true);
}

// -- mmap and munmap, which the jail of a monitor that maps guest RAM lets pass outside the zone

struct map_case {
	bool killed;
	long call;
	uint64_t arg[5];
};

enum { RW = PROT_READ | PROT_WRITE, HOW = JAIL_MAP_FLAGS, RAM = MONITOR_FD_RAM };

static const struct map_case map_cases[] = {
	{false, SYS_mmap, {0x10000, 0x1000, PROT_READ, HOW, RAM}},
	{false, SYS_mmap, {0x3ffffffff000, 0x1000, RW, HOW, RAM}},
	{false, SYS_mmap, {0x500000000000, 0x200000, RW, HOW, RAM}},
	{false, SYS_mmap, {0x7ff000000000, 0x1000, RW, HOW, RAM}},
	{true, SYS_mmap, {0x400000000000, 0x1000, RW, HOW, RAM}},
	{true, SYS_mmap, {0x480000001000, 0x1000, RW, HOW, RAM}},
	{true, SYS_mmap, {0x4ffffffff000, 0x1000, RW, HOW, RAM}},
	{true, SYS_mmap, {0x3ff000000000, 0x1000000000, RW, HOW, RAM}}, // from below into it
	{true, SYS_mmap, {0xffff800000000000, 0x1000, RW, HOW, RAM}},
	{true, SYS_mmap, {0x10000, 0x1000, RW | PROT_EXEC, HOW, RAM}},
	{true, SYS_mmap, {0x10000, 0x1000, PROT_NONE, HOW, RAM}},
	{true, SYS_mmap, {0x10000, 0x1000, RW, HOW & ~MAP_FIXED, RAM}},
	{true, SYS_mmap, {0x10000, 0x1000, RW, HOW | MAP_ANONYMOUS, RAM}},
	{true, SYS_mmap, {0x10000, 0x1000, RW, HOW, RAM + 1}},
	{false, SYS_munmap, {0x10000, 0x1000}},
	{true, SYS_munmap, {0x410100000000, 0x1000}},
	{true, SYS_munmap, {0x3ff000000000, 0x1000000000}},
	{true, SYS_munmap, {0, 0x400000001000}},
	{false, SYS_madvise, {ZONE_VCPU(0) + ZONE_VCPU_BT, 0x1000, MADV_DONTNEED}},
	{false, SYS_madvise, {ZONE_VCPU(15) + ZONE_VCPU_TC_RW, 0x1000, MADV_REMOVE}},
	{true, SYS_madvise, {ZONE_VCPU(0) + ZONE_VCPU_TC_RW, 0x1000, MADV_HUGEPAGE}},
	{true, SYS_madvise, {ZONE_VCPU(0), 0x1000, MADV_DONTNEED}},
	{true, SYS_madvise, {ZONE_VCPU(0) + ZONE_VCPU_BT, 0x100000000, MADV_DONTNEED}},
	{true, SYS_madvise, {ZONE_RAM + ZONE_VCPU_BT, 0x1000, MADV_REMOVE}},
	{true, SYS_madvise, {ZONE_SHARED, 0x1000, MADV_REMOVE}},
	{true, SYS_madvise, {0x10000, 0x1000, MADV_REMOVE}},
	{false, SYS_munmap, {0xffff800000000000, 0x1000}}, // nothing there is ours: the kernel refuses
};

static void call_map(long nr, long index)
{
	const uint64_t *a = map_cases[index].arg;

	syscall(nr, a[0], a[1], a[2], a[3], a[4], 0);
}

// -- signals, processors and the end of a world's threads, and of nobody else

enum { PEACEFUL = WEXITED | WNOHANG | WNOWAIT };

static const struct map_case direct_cases[] = {
	{false, SYS_tgkill, {4194001, 4194001, 0}},
	{false, SYS_tgkill, {4194003, 4194003, 0}},
	{true, SYS_tgkill, {4194001, 4194002, 0}},
	{true, SYS_tgkill, {4194002, 4194002, 0}},
	{true, SYS_tgkill, {4194005, 4194005, 0}},
	{true, SYS_tgkill, {0, 0, 0}},
	{true, SYS_kill, {4194001, 0}},
	{false, SYS_sched_setaffinity, {0, 0, 0}},
	{false, SYS_sched_setaffinity, {4194001, 0, 0}},
	{false, SYS_sched_setaffinity, {4194003, 0, 0}},
	{false, SYS_sched_setaffinity, {4194002, 0, 0}},
	{false, SYS_sched_setaffinity, {4194004, 0, 0}},
	{true, SYS_sched_setaffinity, {4194005, 0, 0}},
	{true, SYS_sched_setaffinity, {1, 0, 0}},
	{false, SYS_waitid, {P_PID, 4194001, 0, PEACEFUL}},
	{true, SYS_waitid, {P_PID, 4194001, 0, WEXITED | WNOHANG}},
	{true, SYS_waitid, {P_PID, 4194001, 0, WEXITED | WNOWAIT}},
	{false, SYS_getcpu, {0, 0, 0}},
	{true, SYS_clone, {0, 0, 0}},
};

static void call_direct(long nr, long index)
{
	const uint64_t *a = direct_cases[index].arg;

	syscall(nr, a[0], a[1], a[2], a[3], a[4], 0);
}

int main(void)
{
	try_all();
	maps = true;
	try_all();
	for (unsigned i = 0; i < ARRAY_SIZE(map_cases); i++)
		expect("mapping", i, death(call_map, map_cases[i].call, i), map_cases[i].killed);
	directs = true;
	for (unsigned i = 0; i < ARRAY_SIZE(map_cases); i++)
		expect("mapping beside worlds", i, death(call_map, map_cases[i].call, i), map_cases[i].killed);
	for (unsigned i = 0; i < ARRAY_SIZE(direct_cases); i++)
		expect("call for worlds", i, death(call_direct, direct_cases[i].call, i), direct_cases[i].killed);
	printf("%u tried, %u failed\n", tried, failed);
	return failed != 0;
}
