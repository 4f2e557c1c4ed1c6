// SPDX-License-Identifier: MIT
//
// Memory files that the app shares with the monitor, and their mapping at addresses that both agree on.
#ifndef HOST_MEMFD_H
#define HOST_MEMFD_H

#include "base/types.h"

// A close-on-exec memfd of `size` bytes, sealed against a change of size. Returns the descriptor or a negative errno.
int host_memfd_create(const char *name, uint64_t size);

// Map [offset, offset+size) of fd, readable and writable, at exactly addr. 0 or a negative errno (-EEXIST: occupied).
int host_map_fixed(int fd, uint64_t addr, uint64_t size, uint64_t offset);

void host_unmap(uint64_t addr, uint64_t size);

// Give [offset, offset+size) back to the host: it reads as zeroes afterwards, in every mapping.
int host_memfd_zero(int fd, uint64_t offset, uint64_t size);
int host_memfd_take(int fd, uint64_t size); // its pages from the host, now

// RAM and swap of the host, bytes: what could ever be filled.
uint64_t host_memory_total(void);

#endif
