/* SPDX-License-Identifier: MIT */
/*
 * COM1 (polled), a small printf, and the count of checks. Lines are "PASS: name", "FAIL: name (details)", "KNOWN:
 * name (...)" for what QEMU TCG is known to do otherwise, "SKIP: name (why)", and at the end "N passed, N failed".
 */
#include "lib/metal.h"

static unsigned passed_count, known_count;
unsigned failed_count;

void put_char(char c)
{
	for (int spin = 0; spin < 100000 && !(inb(0x3fd) & 0x20); spin++)
		;
	outb(0x3f8, (u8)c);
}

struct sink {
	char *out;
	size_t size, n;
};

static void emit(struct sink *s, char c)
{
	if (!s->out) {
		if (c == '\n')
			put_char('\r');
		put_char(c);
	} else if (s->n + 1 < s->size) {
		s->out[s->n] = c;
	}
	s->n++;
}

static void emit_number(struct sink *s, u64 v, unsigned base, bool negative, int width, char pad)
{
	char buf[24];
	int n = 0;

	do
		buf[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	if (negative)
		buf[n++] = '-';
	for (; width > n; width--)
		emit(s, pad);
	while (n)
		emit(s, buf[--n]);
}

static void emit_string(struct sink *s, const char *t, int width)
{
	for (; *t; t++, width--)
		emit(s, *t);
	for (; width > 0; width--)
		emit(s, ' ');
}

static void vformat(struct sink *s, const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		char pad = ' ';
		int width = 0, is_long = 0;
		s64 v;

		if (*fmt != '%') {
			emit(s, *fmt);
			continue;
		}
		if (*++fmt == '0')
			pad = *fmt++;
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + *fmt - '0';
		for (; *fmt == 'l'; fmt++)
			is_long++;
		switch (*fmt) {
		case 'd':
			v = is_long ? va_arg(ap, s64) : va_arg(ap, int);
			emit_number(s, v < 0 ? -(u64)v : (u64)v, 10, v < 0, width, pad);
			break;
		case 'u':
		case 'x':
			emit_number(s, is_long ? va_arg(ap, u64) : va_arg(ap, u32), *fmt == 'x' ? 16 : 10, false, width, pad);
			break;
		case 'p':
			emit_number(s, va_arg(ap, u64), 16, false, width, pad);
			break;
		case 's':
			emit_string(s, va_arg(ap, const char *), width);
			break;
		case 'c':
			emit(s, (char)va_arg(ap, int));
			break;
		default:
			emit(s, *fmt);
		}
	}
}

void print(const char *fmt, ...)
{
	struct sink s = {0};
	va_list ap;

	va_start(ap, fmt);
	vformat(&s, fmt, ap);
	va_end(ap);
}

int format(char *out, size_t size, const char *fmt, ...)
{
	struct sink s = {out, size, 0};
	va_list ap;

	va_start(ap, fmt);
	vformat(&s, fmt, ap);
	va_end(ap);
	out[s.n < size ? s.n : size - 1] = 0;
	return (int)s.n;
}

static const char *tcg_manual(const char *name)
{
	if (!under_tcg())
		return NULL;
	for (const struct tcg_known *k = tcg_known; k->name; k++) {
		size_t n = strlen(k->name);

		if (!strcmp(k->name, name) || (k->name[n - 1] == '*' && !memcmp(k->name, name, n - 1)))
			return k->manual;
	}
	return NULL;
}

static void count(bool ok, const char *name, const char *details)
{
	const char *manual = ok ? NULL : tcg_manual(name);

	if (ok) {
		passed_count++;
		print("PASS: %s\n", name);
	} else if (manual) {
		known_count++;
		print("KNOWN: %s (%s; TCG differs: %s)\n", name, details, manual);
	} else {
		failed_count++;
		print("FAIL: %s (%s)\n", name, details);
	}
}

void report(bool ok, const char *name, const char *details, ...)
{
	char buf[256];
	struct sink s = {buf, sizeof buf, 0};
	va_list ap;

	va_start(ap, details);
	vformat(&s, details, ap);
	va_end(ap);
	buf[s.n < sizeof buf ? s.n : sizeof buf - 1] = 0;
	count(ok, name, buf);
}

void report_skip(const char *name, const char *why)
{
	print("SKIP: %s (%s)\n", name, why);
}

void check_eq(const char *name, u64 got, u64 want)
{
	report(got == want, name, "got %lx, want %lx", got, want);
}

void check_trap(const char *name, int vector, u64 error, u64 rip)
{
	bool ok = trap.vector == vector && (vector == NO_TRAP || (trap.f.error == error && (!rip || trap.f.rip == rip)));

	report(ok, name, "got vector %d error %lx rip %lx cr2 %lx rflags %lx, want vector %d error %lx rip %lx",
		trap.vector,
	       trap.f.error, trap.f.rip, trap.cr2, trap.f.rflags, vector, error, rip);
}

void check_none(const char *name)
{
	check_trap(name, NO_TRAP, 0, 0);
}

bool under_tcg(void)
{
	struct cpuid c;

	if (!(cpuid(1, 0).c >> 31))
		return false;
	c = cpuid(0x40000000, 0);
	return c.b == 0x54474354 && c.c == 0x43544743;
}

_Noreturn void metal_exit(int code)
{
	print("%u passed, %u failed", passed_count, failed_count);
	if (known_count)
		print(", %u known TCG differences", known_count);
	print("\n");
	outl(0xf4, (u32)code);
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

void *memset(void *p, int c, size_t n)
{
	void *d = p;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}
