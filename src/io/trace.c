// SPDX-License-Identifier: MIT
//
// The -d text. Traces are asked for to be complete, so the monitor waits for this and this waits for the file.
#include <errno.h>
#include <unistd.h>

#include "host/futex.h"
#include "host/loop.h"
#include "io/ring_io.h"
#include "io/trace.h"

enum { SMALL_WRITE = 4096 /* a pipe that polls writable takes this much without blocking */ };

void trace_drain(struct ring *r, int fd, int until_fd)
{
	const uint8_t *at;
	size_t n;

	while ((n = MIN(ring_readable(r, &at), (size_t)SMALL_WRITE)) > 0 && loop_await_output(fd, until_fd)) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (ring_taken(r, done < 0 ? n : (size_t)done))
			host_futex_wake(&r->tail);
	}
}
