// SPDX-License-Identifier: MIT
//
// See base/format.h.
#include "base/format.h"

struct out {
	char *text;
	size_t size, used;
};

struct spec { // one conversion
	unsigned width;
	bool left, zero, wide;
};

static void put(struct out *o, char c)
{
	if (o->used + 1 < o->size)
		o->text[o->used++] = c;
}

static void put_field(struct out *o, const struct spec *s, const char *text, size_t len, char fill)
{
	size_t gap = s->width > len ? s->width - len : 0;

	for (; gap && !s->left; gap--)
		put(o, fill);
	for (size_t i = 0; i < len; i++)
		put(o, text[i]);
	for (; gap; gap--)
		put(o, ' ');
}

static void put_number(struct out *o, const struct spec *s, uint64_t x, unsigned base, bool negative)
{
	char text[24];
	size_t at = sizeof(text);
	struct spec rest = *s;

	do
		text[--at] = "0123456789abcdef"[x % base];
	while (x /= base);
	if (negative && s->zero) {
		put(o, '-');
		rest.width -= rest.width > 0;
	} else if (negative) {
		text[--at] = '-';
	}
	put_field(o, &rest, text + at, sizeof(text) - at, s->zero && !s->left ? '0' : ' ');
}

static void put_text(struct out *o, const struct spec *s, const char *text)
{
	size_t len = 0;

	if (!text)
		text = "(null)";
	while (text[len])
		len++;
	put_field(o, s, text, len, ' ');
}

static const char *parse_spec(const char *f, struct spec *s)
{
	*s = (struct spec){0};
	for (; *f == '-' || *f == '0' || *f == '#'; f++) {
		s->left |= *f == '-';
		s->zero |= *f == '0';
	}
	for (; *f >= '0' && *f <= '9'; f++)
		s->width = s->width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l' || *f == 'z'; f++)
		s->wide = true;
	return f;
}

size_t format_textv(char *text, size_t size, const char *f, va_list ap)
{
	struct out o = {text, size, 0};
	struct spec s;
	int64_t d;
	char c;

	for (; *f; f++) {
		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_spec(f + 1, &s);
		switch (*f) {
		case 'd':
			d = s.wide ? va_arg(ap, int64_t) : va_arg(ap, int);
			put_number(&o, &s, d < 0 ? -(uint64_t)d : (uint64_t)d, 10, d < 0);
			break;
		case 'u':
			put_number(&o, &s, s.wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 10, false);
			break;
		case 'x':
			put_number(&o, &s, s.wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 16, false);
			break;
		case 'p':
			put_number(&o, &s, (uintptr_t)va_arg(ap, void *), 16, false);
			break;
		case 's':
			put_text(&o, &s, va_arg(ap, const char *));
			break;
		case 'c':
			c = (char)va_arg(ap, int);
			put_field(&o, &s, &c, 1, ' ');
			break;
		case 0:
			f--;
			break;
		default:
			put(&o, *f);
		}
	}
	if (size)
		text[o.used] = 0;
	return o.used;
}

size_t format_text(char *text, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = format_textv(text, size, fmt, ap);
	va_end(ap);
	return n;
}
