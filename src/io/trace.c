// SPDX-License-Identifier: MIT
//
// The -d text. Traces are asked for to be complete, so the monitor waits for this and this waits for the file.
#include <errno.h>
#include <unistd.h>

#include "host/futex.h"
#include "io/ring_io.h"
#include "io/trace.h"

void trace_drain(struct ring *r, int fd)
{
	const uint8_t *at;
	size_t n;

	while ((n = ring_readable(r, &at)) > 0) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (ring_taken(r, done < 0 ? n : (size_t)done))
			host_futex_wake(&r->tail);
	}
}
