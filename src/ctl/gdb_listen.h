// SPDX-License-Identifier: MIT
//
// Where a debugger is waited for.
#ifndef CTL_GDB_LISTEN_H
#define CTL_GDB_LISTEN_H

#include "base/types.h"

// where: tcp:HOST:PORT (no HOST: this machine only), unix:PATH. The listening socket, or a negative errno with a line
// in err. unix_path: the path to be unlinked later, or empty.
int gdb_listen(const char *where, char *unix_path, size_t size, char *err, size_t errlen);

#endif
