// SPDX-License-Identifier: MIT
//
// The monitor's jail: a seccomp filter that leaves it a handful of system calls. See jail.c.
#ifndef VMM_JAIL_H
#define VMM_JAIL_H

#include <linux/filter.h>

// The filter program: constant, the same for every machine. tests/zone/ applies it to itself.
struct sock_fprog jail_filter(void);

// Close the jail for this process, for good. Returns 0 or a negative errno.
int jail_close(void);

#endif
