// SPDX-License-Identifier: MIT
//
// The statistics as a table for people (rows that are not zero) and as one JSON object for programs (all rows).
#include <inttypes.h>

#include "ctl/stats.h"

struct row {
	const char *name, *unit, *help;
	uint64_t value;
};

static void print_text(FILE *f, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].value)
			fprintf(f, "%-16s %16" PRIu64 " %-12s  %s\n", rows[i].name, rows[i].value, rows[i].unit,
				rows[i].help);
}

static void print_json(FILE *f, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s\n  \"%s\": %" PRIu64, i ? "," : "{", rows[i].name, rows[i].value);
	fprintf(f, "\n}\n");
}

struct stats stats_sum(const struct shared *s)
{
	struct stats sum = {0};

	for (unsigned i = 0; i < s->config.vcpus; i++) {
#define _(field, unit_, help_) sum.field += s->stats[i].field;
		STATS(_)
#undef _
	}
	return sum;
}

void stats_print(FILE *f, enum stats_format format, const struct stats *s)
{
	const struct row rows[] = {
#define _(field, unit_, help_) { .name = #field, .unit = unit_, .help = help_, .value = s->field },
		STATS(_)
#undef _
	};

	if (format == STATS_JSON)
		print_json(f, rows, ARRAY_SIZE(rows));
	else if (format == STATS_TEXT)
		print_text(f, rows, ARRAY_SIZE(rows));
}
