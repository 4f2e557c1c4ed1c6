// SPDX-License-Identifier: MIT
//
// How much the host lets this process have.
#ifndef HOST_LIMITS_H
#define HOST_LIMITS_H

// As many open files as the host allows at all: connections and shared files of the guest are some. How many that is.
unsigned host_raise_files(void);

#endif
