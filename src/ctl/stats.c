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

// A name of the user's, in quotes.
static void print_name(FILE *f, const char *name)
{
	fputc('"', f);
	for (; *name; name++)
		fputc(*name < ' ' || *name > '~' || *name == '"' || *name == '\\' ? '_' : *name, f);
	fputc('"', f);
}

static void print_json(FILE *f, const struct row *rows, size_t n, const struct virtio_bus *b)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s\n  \"%s\": %" PRIu64, i ? "," : "{", rows[i].name, rows[i].value);
	for (unsigned i = 0; i < b->count; i++) {
		if (!b->pci[i].device)
			continue;
		const struct pci_app *a = b->pci[i].app;

		fprintf(f, "%s\n    {\"name\": ", i ? "," : ",\n  \"devices\": [");
		print_name(f, b->pci[i].device->name);
		fprintf(f, ", \"kind\": \"%s\", \"world_switches\": %" PRIu64 ", \"local_accesses\": %" PRIu64, a->name,
			a->stat_switches, a->stat_local);
		fprintf(f, ", \"doorbells\": %" PRIu64 ", \"interrupts\": %" PRIu64 "}", a->stat_kicks, a->stat_interrupts);
	}
	fprintf(f, "%s\n}\n", b->count ? "\n  ]" : "");
}

static void print_devices(FILE *f, const struct virtio_bus *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		if (!b->pci[i].device)
			continue;
		const struct pci_app *a = b->pci[i].app;

		fprintf(f, "%-16.40s %16" PRIu64 " %-12s  %s; %" PRIu64 " interrupts, %" PRIu64 " world switches, %" PRIu64
			" accesses without\n", b->pci[i].device->name, a->stat_kicks, "doorbells", a->name,
			a->stat_interrupts, a->stat_switches, a->stat_local);
	}
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

void stats_print(FILE *f, enum stats_format format, const struct stats *s, const struct machine *m)
{
	const struct row rows[] = {
#define _(field, unit_, help_) { .name = #field, .unit = unit_, .help = help_, .value = s->field },
		STATS(_)
#undef _
	};

	if (format == STATS_JSON) {
		print_json(f, rows, ARRAY_SIZE(rows), &m->virtio);
	} else if (format == STATS_TEXT) {
		print_text(f, rows, ARRAY_SIZE(rows));
		print_devices(f, &m->virtio);
	}
}
