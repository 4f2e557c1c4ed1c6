// SPDX-License-Identifier: MIT
//
// The few string functions of both programs: libc's in the app, base/string.c's in the monitor.
#ifndef BASE_STRING_H
#define BASE_STRING_H

#include "base/types.h"

void *memcpy(void *restrict out, const void *restrict in, size_t n);
void *memmove(void *out, const void *in, size_t n);
void *memset(void *out, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int byte, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

#endif
