// SPDX-License-Identifier: MIT
//
// The host kernel as the monitor sees it: raw system calls (there is no libc), and the kernel's own structures where
// libc's differ. Every call that is made after vmm/jail.c has closed the jail must be in its table.
#ifndef VMM_LINUX_H
#define VMM_LINUX_H

#include "base/types.h"
#include <sys/syscall.h>

static inline long linux_call6(long n, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline long linux_call3(long n, uint64_t a, uint64_t b, uint64_t c)
{
	return linux_call6(n, a, b, c, 0, 0, 0);
}

_Noreturn static inline void linux_exit(int status)
{
	for (;;)
		linux_call3(SYS_exit_group, (uint64_t)status, 0, 0);
}

enum { LINUX_FUTEX_WAIT = 0, LINUX_FUTEX_WAKE = 1, LINUX_FUTEX_REQUEUE = 3 };
enum { LINUX_SYS_FUTEX_WAITV = 449, LINUX_FUTEX_32 = 2 };

struct linux_timespec {
	int64_t sec, nsec;
};

// Sleep while *word is value. Comes back early at any signal.
static inline long linux_futex_wait(_Atomic uint32_t *word, uint32_t value, const struct linux_timespec *timeout)
{
	return linux_call6(SYS_futex, (uintptr_t)word, LINUX_FUTEX_WAIT, value, (uintptr_t)timeout, 0, 0);
}

static inline long linux_futex_wake(_Atomic uint32_t *word)
{
	return linux_call3(SYS_futex, (uintptr_t)word, LINUX_FUTEX_WAKE, 1);
}

// Whoever sleeps on one word sleeps on the other from now on: how many (at most one), or an error.
static inline long linux_futex_requeue(_Atomic uint32_t *from, _Atomic uint32_t *to)
{
	return linux_call6(SYS_futex, (uintptr_t)from, LINUX_FUTEX_REQUEUE, 0, 1, (uintptr_t)to, 0);
}

struct linux_futex_waitv {
	uint64_t value, address;
	uint32_t flags, reserved;
};

// Sleep while both words have these values. Comes back early at any signal. -ENOSYS: kernels before 5.16.
static inline long linux_futex_wait_both(_Atomic uint32_t *a, uint32_t a_value, _Atomic uint32_t *b, uint32_t b_value)
{
	const struct linux_futex_waitv w[2] = {{a_value, (uintptr_t)a, LINUX_FUTEX_32, 0},
					       {b_value, (uintptr_t)b, LINUX_FUTEX_32, 0}};

	return linux_call6(LINUX_SYS_FUTEX_WAITV, (uintptr_t)w, 2, 0, 0, 0, 0);
}

struct linux_sigaction { // the kernel's, not libc's
	void *handler;
	uint64_t flags;
	void *restorer;
	uint64_t mask;
};
#define LINUX_SA_RESTORER 0x04000000u
#define LINUX_SS_AUTODISARM 0x80000000u

static inline uint64_t linux_rdtsc(void)
{
	return __builtin_ia32_rdtsc();
}

static inline void linux_pause(void)
{
	__builtin_ia32_pause();
}

#endif
