// SPDX-License-Identifier: MIT
//
// difftest: runs every form, prints a line with a digest for each, and a total; --expect compares with the lines of
// another run (the bare processor's) and prints only rows that differ.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "difftest.h"
#include "../vendor.h"

enum { MAX_CASES = 96, BATCH = 12 /* cases that have code at the same time */, MAX_DIRTY = 4096, MAX_REPORTED = 200 };

struct options {
	unsigned int cases, step, first;
	int only_case;
	const char *row, *prefix, *skip, *expect, *output;
	bool verbose, list, quiet, show;
};

struct expected {
	char name[64];
	unsigned int cases;
	uint64_t digest;
	uint32_t per_case[MAX_CASES];
};

struct totals {
	size_t rows, cases, forms, user_forms, user_tested, signals, differ, missing, ungenerated, shown;
};

static struct expected *expected;
static size_t expected_count;
static struct test_case cases[BATCH];
static struct dirty dirty[MAX_DIRTY];

static int compare_expected(const void *a, const void *b)
{
	return strcmp(((const struct expected *)a)->name, ((const struct expected *)b)->name);
}

static void parse_per_case(struct expected *e, const char *p)
{
	for (unsigned int i = 0; i < e->cases && *p; i++) {
		char *end;

		e->per_case[i] = strtoul(p, &end, 16);
		p = *end == ' ' ? end + 1 : end;
	}
}

static void read_expected(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[2048];

	if (!f) {
		perror(path);
		exit(2);
	}
	expected = calloc(20000, sizeof(*expected));
	while (expected && expected_count < 20000 && fgets(line, sizeof(line), f)) {
		struct expected *e = &expected[expected_count];
		int at = 0;

		if (sscanf(line, "%63s %u %" SCNx64 " %n", e->name, &e->cases, &e->digest, &at) < 3 || e->cases > MAX_CASES)
			continue;
		parse_per_case(e, line + at);
		expected_count++;
	}
	fclose(f);
	qsort(expected, expected_count, sizeof(*expected), compare_expected);
}

static const struct expected *find_expected(const char *name)
{
	struct expected key = {0};

	snprintf(key.name, sizeof(key.name), "%s", name);
	return bsearch(&key, expected, expected_count, sizeof(*expected), compare_expected);
}

static unsigned int generate_batch(const struct forms *forms, const struct form *form, unsigned int first,
				   const struct options *opt)
{
	unsigned int n = 0;

	for (unsigned int i = first; i < opt->cases && i < first + BATCH; i++) {
		if (opt->only_case >= 0 && i != (unsigned int)opt->only_case)
			continue;
		if (generate_case(&cases[n], forms, form, i))
			n++;
	}
	for (unsigned int i = 0; i < n; i++)
		execute_place(&cases[i]);
	return n;
}

static void report_difference(const struct form *form, const struct expected *e, const uint32_t *digests,
			      unsigned int n)
{
	printf("DIFFERS %s cases", form->name);
	for (unsigned int i = 0; i < n && i < e->cases; i++)
		if (digests[i] != e->per_case[i])
			printf(" %u", i);
	printf("\n");
}

static void report_row(FILE *out, const struct form *form, const uint32_t *digests, unsigned int n,
		       struct totals *total, const struct options *opt)
{
	uint64_t all = 0;

	for (unsigned int i = 0; i < n; i++)
		all = (all ^ digests[i]) * UINT64_C(0x9fb21c651e98df25), all ^= all >> 29;
	if (out) {
		fprintf(out, "%s %u %016" PRIx64, form->name, n, all);
		for (unsigned int i = 0; i < n; i++)
			fprintf(out, " %08" PRIx32, digests[i]);
		fprintf(out, "\n");
	}
	if (opt->expect) {
		const struct expected *e = find_expected(form->name);

		if (!e) {
			total->missing++;
		} else if (e->cases != n || e->digest != all) {
			total->differ++;
			if (total->differ <= MAX_REPORTED)
				report_difference(form, e, digests, n);
		}
	}
}

static uint32_t run_case(const struct test_case *t, struct totals *total, const struct options *opt,
			 const uint32_t *expected_digest)
{
	uint32_t digest;
	struct outcome o;
	size_t changed;

	if (opt->verbose) {
		printf("%s case %u\n", t->form->name, t->number);
		fflush(stdout); // in case it does not come back
	}
	execute_case(t, &o);
	changed = execute_collect(t, dirty, MAX_DIRTY);
	total->signals += o.signal != 0;
	digest = digest_case(t, &o, dirty, changed, opt->verbose);
	if (opt->show && expected_digest && *expected_digest != digest && total->shown++ < MAX_REPORTED) {
		printf("SHOWN %s case %u\n", t->form->name, t->number);
		digest_case(t, &o, dirty, changed, true);
		printf("END\n");
	}
	return digest;
}

static void run_row(FILE *out, const struct forms *forms, const struct form *form, struct totals *total,
		    const struct options *opt)
{
	const struct expected *e = opt->expect ? find_expected(form->name) : NULL;
	uint32_t digests[MAX_CASES];
	unsigned int n = 0;

	current_row = form->name;
	alarm(WATCHDOG_SECONDS);
	for (unsigned int first = 0; first < opt->cases; first += BATCH) {
		unsigned int batch = generate_batch(forms, form, first, opt);

		for (unsigned int i = 0; i < batch; i++, n++)
			digests[n] = run_case(&cases[i], total, opt, e && n < e->cases ? &e->per_case[n] : NULL);
	}
	if (!n) {
		total->ungenerated++;
		if (!opt->quiet)
			fprintf(stderr, "difftest: no case for %s\n", form->name);
		return;
	}
	total->rows++;
	total->cases += n;
	if (form->policy == POLICY_RUN)
		total->user_tested++;
	report_row(out, form, digests, n, total, opt);
}

// Does the name contain one of a comma-separated list?
static bool is_skipped(const char *name, const char *list)
{
	char part[64];

	while (*list) {
		size_t n = strcspn(list, ",");

		snprintf(part, sizeof(part), "%.*s", (int)n, list);
		if (*part && strstr(name, part))
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

static bool is_wanted(const struct form *f, size_t i, const struct options *opt)
{
	if (opt->row)
		return !strcmp(f->name, opt->row);
	if (opt->prefix && strncmp(f->name, opt->prefix, strlen(opt->prefix)))
		return false;
	if (opt->skip && is_skipped(f->name, opt->skip))
		return false;
	return i % opt->step == opt->first;
}

static void run(const struct forms *forms, const struct options *opt, struct totals *total)
{
	FILE *out = opt->output ? fopen(opt->output, "w") : opt->quiet || opt->expect || opt->verbose ? NULL : stdout;

	for (size_t i = 0; i < forms->count; i++) {
		const struct form *f = &forms->form[i];

		if (!f->supported || f->policy == POLICY_SYSTEM || !is_wanted(f, i, opt))
			continue;
		total->user_forms += f->policy == POLICY_RUN || f->policy == POLICY_UNTESTED;
		if (opt->list)
			printf("%s%s\n", f->name, f->policy == POLICY_UNTESTED ? " (not tested)" : "");
		else if (f->policy != POLICY_UNTESTED)
			run_row(out, forms, f, total, opt);
	}
	if (out && out != stdout)
		fclose(out);
}

static void parse_options(int argc, char **argv, struct options *opt)
{
	static const struct option longs[] = {
		{"row", 1, NULL, 'r'}, {"case", 1, NULL, 'c'}, {"cases", 1, NULL, 'n'}, {"prefix", 1, NULL, 'p'},
		{"expect", 1, NULL, 'e'}, {"output", 1, NULL, 'o'}, {"step", 1, NULL, 's'}, {"first", 1, NULL, 'f'},
		{"state", 1, NULL, 'S'}, {"bits", 1, NULL, 'b'}, {"seed", 1, NULL, 'd'}, {"skip", 1, NULL, 'k'},
		{"wild-branches", 0, NULL, 'W'}, {"list", 0, NULL, 'l'}, {"quiet", 0, NULL, 'q'}, {"show", 0, NULL, 'w'},
		{"fpu-pointers", 0, NULL, 'P'}, {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "vqlr:c:n:p:e:o:s:f:", longs, NULL)) != -1) {
		switch (c) {
		case 'r': opt->row = optarg; break;
		case 'c': opt->only_case = atoi(optarg); break;
		case 'n': opt->cases = atoi(optarg); break;
		case 'p': opt->prefix = optarg; break;
		case 'e': opt->expect = optarg; break;
		case 'o': opt->output = optarg; break;
		case 's': opt->step = atoi(optarg); break;
		case 'f': opt->first = atoi(optarg); break;
		case 'v': opt->verbose = true; break;
		case 'l': opt->list = true; break;
		case 'q': opt->quiet = true; break;
		case 'b': code_mode = atoi(optarg) == 32 ? X86_MODE32 : X86_MODE64; break;
		case 'S': compared_state = strtoull(optarg, NULL, 16); break;
		case 'k': opt->skip = optarg; break;
		case 'd': case_seed = strtoull(optarg, NULL, 0); break;
		case 'W': wild_branches = true; break;
		case 'w': opt->show = true; break;
		case 'P': compare_fpu_pointers = true; break;
		default:
			fprintf(stderr, "usage: difftest [--row NAME [--case K] -v] [--prefix P] [--cases N] [--step N --first K]\n"
				"       [--output FILE] [--expect FILE [--show]] [--list] [--quiet] [--fpu-pointers]\n"
				"       [--skip PART,...] [--state XCR0-BITS] [--wild-branches] [--bits 32]\n"
				"       [--seed N]\n");
			exit(2);
		}
	}
	if (opt->cases > MAX_CASES || !opt->cases || !opt->step) {
		fprintf(stderr, "difftest: 1 to %d cases a row\n", MAX_CASES);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options opt = {.cases = 8, .step = 1, .only_case = -1};
	struct totals total = {0};
	struct forms forms;

	parse_options(argc, argv, &opt);
	if (processor_is_amd())
		code_mode |= X86_AMD;
	if (opt.expect)
		read_expected(opt.expect);
	execute_setup();
	forms_collect(&forms);
	run(&forms, &opt, &total);
	fflush(stdout);
	fprintf(stderr, "difftest: %zu signals, %zu forms without a case\n", total.signals, total.ungenerated);
	if (opt.expect)
		printf("difftest: %zu rows differ, %zu of %zu expected rows compared, %zu not expected\n", total.differ,
		       total.rows - total.missing, expected_count, total.missing);
	printf("difftest: %zu rows, %zu cases, coverage %.1f%%\n", total.rows, total.cases,
	       total.user_forms ? 100.0 * total.user_tested / total.user_forms : 0.0);
	return total.differ != 0;
}
