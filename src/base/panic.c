// SPDX-License-Identifier: MIT
//
// base_panic for the app: a bug in ringer is printed in one line and ends the program by SIGABRT, whose handler
// (host/term.c) gives the user the terminal back. The monitor has its own in vmm/.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

_Noreturn void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "\rringer: bug at %s:%d: %s\r\n", file, line, what);
	abort();
}
