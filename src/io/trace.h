// SPDX-License-Identifier: MIT
//
// The -d text of the monitor on its way to stderr or the -D file.
#ifndef IO_TRACE_H
#define IO_TRACE_H

#include "bus/shared.h"

// Write what the ring holds and wait for who reads it, until until_fd is readable (-1: do not wait). A file that takes no
// more (disk full) loses the text.
void trace_drain(struct ring *r, int fd, int until_fd);

#endif
