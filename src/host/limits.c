// SPDX-License-Identifier: MIT
//
// Limits of the process.
#include <sys/resource.h>

#include "base/types.h"
#include "host/limits.h"

enum { FILES_MAX = 1 << 20, FILES_LEAST = 256 };

unsigned host_raise_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return FILES_LEAST;
	l.rlim_cur = MIN((rlim_t)FILES_MAX, l.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &l) < 0)
		getrlimit(RLIMIT_NOFILE, &l);
	return (unsigned)l.rlim_cur;
}
