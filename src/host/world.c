// SPDX-License-Identifier: MIT
#include "host/world.h"
#include <errno.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FSGSBASE = 1 << 1 }; // in AT_HWCAP2: asm/hwcap2.h

bool host_has_world(void)
{
	return getauxval(AT_HWCAP2) & FSGSBASE && syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) && errno == EINVAL;
}
