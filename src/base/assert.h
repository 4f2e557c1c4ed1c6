// SPDX-License-Identifier: MIT
//
// ASSERT is for bugs in ringer, and is always on. Each program supplies base_panic: the monitor
// writes a crash report and ends the machine; the app prints and aborts.
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

_Noreturn void base_panic(const char *file, int line, const char *what);

#define ASSERT(x) ((x) ? (void)0 : base_panic(__FILE__, __LINE__, #x))
#define NOT_REACHED() base_panic(__FILE__, __LINE__, "not reached")

#endif
