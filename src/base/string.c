// SPDX-License-Identifier: MIT
//
// The C library's memory and string functions for the monitor, which has no library. The compiler emits calls of them
// too. The copies are single string instructions: short, and fast enough for pages. Small fixed sizes in hot code use
// __builtin_memcpy, which becomes moves. Not linked into the app, which has libc.
#include <stddef.h>
#include <stdint.h>
#include "base/string.h"

// Up to 16 bytes: two moves that may overlap, or three. Both are loaded first, for memmove.
static void copy_few(char *to, const char *from, size_t n)
{
	if (n >= sizeof(uint64_t)) {
		uint64_t a, b;

		__builtin_memcpy(&a, from, sizeof(a));
		__builtin_memcpy(&b, from + n - sizeof(b), sizeof(b));
		__builtin_memcpy(to, &a, sizeof(a));
		__builtin_memcpy(to + n - sizeof(b), &b, sizeof(b));
	} else if (n >= sizeof(uint32_t)) {
		uint32_t a, b;

		__builtin_memcpy(&a, from, sizeof(a));
		__builtin_memcpy(&b, from + n - sizeof(b), sizeof(b));
		__builtin_memcpy(to, &a, sizeof(a));
		__builtin_memcpy(to + n - sizeof(b), &b, sizeof(b));
	} else if (n) {
		char a = from[0], b = from[n / 2], c = from[n - 1];

		to[0] = a;
		to[n / 2] = b;
		to[n - 1] = c;
	}
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *d = to;

	if (n <= 2 * sizeof(uint64_t)) {
		copy_few(to, from, n);
		return to;
	}
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *d = to;
	const unsigned char *s = from;

	if ((uintptr_t)d - (uintptr_t)s >= n)
		return memcpy(to, from, n);
	while (n--)
		((volatile unsigned char *)d)[n] = s[n];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	const unsigned char *p = s;

	for (size_t i = 0; i < n; i++)
		if (p[i] == (unsigned char)c)
			return (void *)(uintptr_t)(p + i);
	return NULL;
}

size_t strlen(const char *s)
{
	const volatile char *p = s;
	size_t n = 0;

	while (p[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (int)(unsigned char)*a - (int)(unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (int)(unsigned char)*a - (int)(unsigned char)*b;
	return 0;
}
