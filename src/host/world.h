// SPDX-License-Identifier: MIT
//
// Can this host run user code directly (vmm/direct.c)? The monitor finds out for itself; this is for what else depends
// on that.
#ifndef HOST_WORLD_H
#define HOST_WORLD_H

#include <stdbool.h>

bool host_has_world(void); // FSGSBASE, and Linux 5.16 for futex_waitv

#endif
