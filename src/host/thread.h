// SPDX-License-Identifier: MIT
//
// Threads that sleep on a futex word, and their end.
#ifndef HOST_THREAD_H
#define HOST_THREAD_H

#include <pthread.h>

#include "host/futex.h"

// Join a thread that has been told to end and may be asleep on word. A wake-up that comes just before the thread
// sleeps is lost, so it is repeated until the thread has ended.
static inline void host_join_woken(pthread_t thread, _Atomic uint32_t *word)
{
	struct timespec until;

	do {
		host_futex_wake(word);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
	} while (pthread_timedjoin_np(thread, NULL, &until));
}

#endif
