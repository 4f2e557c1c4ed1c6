// SPDX-License-Identifier: MIT
//
// The futex calls on words shared between the two programs (never the process-private form).
#ifndef HOST_FUTEX_H
#define HOST_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/types.h"

// Sleep while *word is `seen`; timeout may be NULL. Returns for any reason: look again.
static inline void host_futex_wait(_Atomic uint32_t *word, uint32_t seen, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout, NULL, 0);
}

static inline void host_futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
