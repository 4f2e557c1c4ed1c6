// SPDX-License-Identifier: MIT
//
// The pieces options are made of: sizes, numbers, and comma-separated properties.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "cli/cli.h"

enum cli_result cli_error(struct cli *c, const char *fmt, ...)
{
	int n = snprintf(c->err, sizeof(c->err), "%s: ", c->option);
	va_list ap;

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < sizeof(c->err))
		vsnprintf(c->err + n, sizeof(c->err) - (size_t)n, fmt, ap);
	va_end(ap);
	return CLI_ERROR;
}

static bool stamped;

void cli_stamp_messages(bool on)
{
	stamped = on;
}

static void begin_message(void)
{
	struct timeval now;
	struct tm utc;
	char text[32];

	gettimeofday(&now, NULL);
	if (stamped && gmtime_r(&now.tv_sec, &utc) && strftime(text, sizeof(text), "%FT%T", &utc))
		fprintf(stderr, "%s.%06ldZ ", text, (long)now.tv_usec);
	fputs("ringer: ", stderr);
}

void cli_complain(const char *text)
{
	begin_message();
	fprintf(stderr, "%s\n", text);
}

void cli_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	begin_message();
	fputs("warning: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

bool cli_is_help(const char *arg)
{
	return !strcmp(arg, "help") || !strcmp(arg, "?");
}

bool cli_is_one_of(const char *arg, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(arg, *words))
			return true;
	return false;
}

bool cli_parse_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return !errno && *text >= '0' && *text <= '9' && !*end;
}

static const char suffixes[] = "bkmgtpe";

bool cli_parse_size(const char *text, uint64_t unit, uint64_t *bytes)
{
	char *end;
	const char *s;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*bytes = strtoull(text, &end, 0);
	if (*end) {
		s = strchr(suffixes, *end | 0x20);
		if (!s || end[1])
			return false;
		unit = BIT64((s - suffixes) * 10);
	}
	return !errno && !__builtin_mul_overflow(*bytes, unit, bytes);
}

bool cli_next_prop(const char **text, struct cli_prop *p)
{
	char piece[sizeof(p->key) + sizeof(p->value)], *equals;
	const char *s = *text;
	size_t n = 0;

	if (!*s)
		return false;
	for (; *s && (*s != ',' || s[1] == ','); s++) {
		if (n < sizeof(piece) - 1)
			piece[n++] = *s;
		if (*s == ',')
			s++;
	}
	piece[n] = 0;
	*text = *s ? s + 1 : s;
	equals = strchr(piece, '=');
	if (equals)
		*equals = 0;
	snprintf(p->key, sizeof(p->key), "%.63s", equals ? piece : "");
	snprintf(p->value, sizeof(p->value), "%.511s", equals ? equals + 1 : piece);
	return true;
}

enum cli_result cli_take_text(struct cli *c, const struct cli_text *texts, size_t n, const struct cli_prop *p)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(p->key, texts[i].key))
			continue;
		if (!*p->value || strlen(p->value) >= texts[i].size)
			return cli_error(c, "%s=%s: from 1 to %zu characters", p->key, p->value, texts[i].size - 1);
		strcpy(texts[i].to, p->value);
		return CLI_OK;
	}
	return CLI_DONE;
}
