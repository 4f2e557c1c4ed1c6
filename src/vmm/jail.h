// SPDX-License-Identifier: MIT
//
// The monitor's jail: a seccomp filter that leaves it a handful of system calls. See jail.c.
#ifndef VMM_JAIL_H
#define VMM_JAIL_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

// How guest RAM is mapped: the only flags that pass.
enum { JAIL_MAP_FLAGS = 0x1 | 0x10 | 0x4000 | 0x8000 }; // MAP_SHARED, MAP_FIXED, MAP_NORESERVE, MAP_POPULATE

// The filter program: constant, the same for every machine. tests/zone/ applies it to itself.
struct sock_fprog jail_filter(bool maps);

// Close the jail for this process, for good; maps: guest RAM may be mapped outside the zone. Returns 0 or a negative
// errno.
int jail_close(bool maps);

// The same, maps included, for a monitor with worlds of direct execution: the numbers of their threads, VMM_WORLDS +
// VMM_SPARES of each, 0 where there is none.
int jail_close_with_worlds(const uint32_t *runner, const uint32_t *mapper);

// Within the world (vmm/direct.h): first the mapper's, which the runner inherits, then the runner's own.
int jail_close_mapper(void);
int jail_close_runner(void);

#endif
