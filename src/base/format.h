// SPDX-License-Identifier: MIT
//
// A tiny printf-style formatter for the monitor's trace and reports (no libc there): %d %u %x %lu %lx %ld %zu %p %s %c
// %%, with width and zero fill ("%016lx"), and "-" for text to the left. Anything else is printed as it stands.
#ifndef BASE_FORMAT_H
#define BASE_FORMAT_H

#include "base/types.h"
#include <stdarg.h>

// Writes at most size - 1 bytes and a final zero; returns the number of bytes written, without the zero.
size_t format_textv(char *out, size_t size, const char *fmt, va_list ap);
size_t format_text(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
