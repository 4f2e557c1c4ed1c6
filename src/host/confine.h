// SPDX-License-Identifier: MIT
//
// The app's own jail (-sandbox on): system calls that no part of it needs end it. See host/confine.c.
#ifndef HOST_CONFINE_H
#define HOST_CONFINE_H

#include "base/types.h"

struct confine {
	bool on;
	bool no_privileges; // elevateprivileges=deny: it cannot become anybody else
	bool no_spawn;      // spawn=deny: it can execute nothing but its monitor
	bool no_scheduling; // resourcecontrol=deny: nor change how it is scheduled
};

// For all threads, from now on. monitor_fd: what may be executed still, by this descriptor, which stays what it is.
// 0 or a negative errno.
int confine_close(const struct confine *c, int monitor_fd);

#endif
