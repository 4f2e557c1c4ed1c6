// SPDX-License-Identifier: MIT
//
// CPU models. `host` and `max` are the host's processor as far as ringer offers it; `qemu64` is QEMU's, the same on
// every host; the named ones (cpu_named.h) are without what ringer or the host lacks, which is said in one line. A
// model is a set of feature words and a few numbers; options change these; then cpu_rows.c makes the rows. An unknown
// or unavailable feature in an option is an error that names it, never a silent difference.
#include "machine/cpu_model.h"
#include "machine/cpu_named.h"
#include "machine/cpu_rows.h"
#include "host/tsc.h"
#include <cpuid.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct parse {
	struct cpu_model *m;
	struct cpu_bits offered, wanted; // wanted: asked for by name
	bool quiet, enforce; // check=off, enforce: what a named model loses is not said, is an error
	char *err;
	size_t errlen;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->err, p->errlen, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

// -- models ---------------------------------------------------------------------------------------------------------

static void set_family(struct cpu_model *m, uint32_t family)
{
	uint32_t base = MIN(family, 0xf);

	m->signature = (m->signature & ~0x0ff00f00u) | base << 8 | (family - base) << 20;
}

static void set_model(struct cpu_model *m, uint32_t model)
{
	m->signature = (m->signature & ~0x000f00f0u) | (model & 0xf) << 4 | (model >> 4) << 16;
}

static void model_host(struct cpu_model *m, const struct cpu_bits *offered)
{
	struct cpu_regs r = cpu_regs_host(0, 0);

	memcpy(m->vendor, &r.ebx, 4);
	memcpy(m->vendor + 4, &r.edx, 4);
	memcpy(m->vendor + 8, &r.ecx, 4);
	m->signature = cpu_regs_host(1, 0).eax;
	m->bits = *offered;
	for (unsigned i = 0; i < cpu_features_count; i++)
		if (cpu_features[i].provider == BY_MAX)
			m->bits.word[cpu_features[i].word] &= ~BIT(cpu_features[i].bit);
	for (unsigned i = 0; i < 3; i++) {
		r = cpu_regs_host(0x80000002 + i, 0);
		memcpy(m->brand + 16 * i, &r, 16);
	}
	m->amd = !strcmp(m->vendor, "AuthenticAMD") || !strcmp(m->vendor, "HygonGenuine");
	if (!m->amd) { // AMD's words, but for WBNOINVD
		m->bits.word[WORD_E8_EBX] &= BIT(9);
		m->bits.word[WORD_E21_EAX] = m->bits.word[WORD_E21_ECX] = 0;
	} else if (cpu_regs_host(0x80000001, 0).ecx & BIT(22)) { // topoext: nobody else says how large a shared cache is
		m->bits.word[WORD_E1_ECX] |= offered->word[WORD_E1_ECX] & BIT(22);
	}
	m->level = MAX(MIN(cpu_regs_host(0, 0).eax, 0x1f), 0x16);
	m->xlevel = m->amd ? 0x80000021 : 0x80000008;
	m->phys_bits = cpu_regs_host(0x80000008, 0).eax & 0xff;
	m->host_caches = true;
}

static void model_max(struct cpu_model *m, const struct cpu_bits *offered)
{
	model_host(m, offered);
	m->bits = *offered;
	if (!m->amd) { // as in model_host
		m->bits.word[WORD_E8_EBX] &= BIT(9);
		m->bits.word[WORD_E21_EAX] = m->bits.word[WORD_E21_ECX] = 0;
	}
}

// As QEMU 7.2 defines it with an accelerator that has no SVM to offer (its KVM: x2apic on, svm off).
static void model_qemu64(struct cpu_model *m, const struct cpu_bits *offered)
{
	strcpy(m->vendor, "AuthenticAMD");
	strcpy(m->brand, "QEMU Virtual CPU version 2.5+");
	set_family(m, 15);
	set_model(m, 107);
	m->signature |= 1;
	m->bits = (struct cpu_bits){0};
	m->bits.word[WORD_1_EDX] = 0x078bfbfd;
	m->bits.word[WORD_1_ECX] = BIT(0) | BIT(13) | BIT(21) | BIT(31); // SSE3, CX16, x2APIC, hypervisor
	m->bits.word[WORD_E1_EDX] = BIT(11) | BIT(20) | BIT(29);         // SYSCALL, NX, LM
	m->bits.word[WORD_E1_ECX] = BIT(0);                              // LAHF
	m->bits.word[WORD_KVM] = offered->word[WORD_KVM];
	m->amd = true;
	m->level = 0xd;
	m->xlevel = 0x8000000a;
	m->phys_bits = 40;
	m->host_caches = false;
}

// The first AMD64 processors, as QEMU 7.2 has them.
static void model_opteron_g1(struct cpu_model *m, const struct cpu_bits *offered)
{
	model_qemu64(m, offered);
	strcpy(m->brand, "AMD Opteron 240 (Gen 1 Class Opteron)");
	set_model(m, 6);
	m->bits.word[WORD_1_ECX] = BIT(0) | BIT(21) | BIT(31);
	m->bits.word[WORD_E1_ECX] = 0;
	m->level = 5;
	m->xlevel = 0x80000008;
}

// What a KVM decides is as there: x2APIC and its own words are on.
static void model_named(struct cpu_model *m, const struct cpu_named *row, const struct cpu_bits *offered)
{
	strcpy(m->vendor, row->vendor);
	strcpy(m->brand, row->brand);
	set_family(m, row->family);
	set_model(m, row->model);
	m->signature |= row->stepping;
	cpu_named_bits(row, &m->bits);
	m->bits.word[WORD_1_ECX] |= BIT(21) | BIT(31); // x2APIC, hypervisor
	m->bits.word[WORD_KVM] = offered->word[WORD_KVM];
	m->amd = strcmp(row->vendor, "GenuineIntel");
	m->level = row->level;
	m->xlevel = row->xlevel;
	m->phys_bits = m->bits.word[WORD_E1_EDX] & BIT(29) ? 40 : 36;
}

static const struct {
	const char *name, *help;
	void (*build)(struct cpu_model *m, const struct cpu_bits *offered);
} models[] = {
	{"host", "the host's processor, as far as ringer offers it (the default)", model_host},
	{"max", "everything ringer offers on this host: with 5-level paging and protection keys", model_max},
	{"qemu64", "QEMU Virtual CPU version 2.5+: the same on every host", model_qemu64},
	{"Opteron_G1", "AMD Opteron 240 (Gen 1 Class Opteron): the same on every host", model_opteron_g1},
};

// -- options --------------------------------------------------------------------------------------------------------

// All rows of that name (kvmclock has two).
static void set_feature(struct parse *p, const char *name, bool on)
{
	for (unsigned i = 0; i < cpu_features_count; i++) {
		const struct cpu_feature *f = &cpu_features[i];

		if (strcmp(f->name, name))
			continue;
		p->m->bits.word[f->word] &= ~BIT(f->bit);
		p->wanted.word[f->word] &= ~BIT(f->bit);
		if (!on)
			continue;
		p->m->bits.word[f->word] |= BIT(f->bit);
		p->wanted.word[f->word] |= BIT(f->bit);
	}
}

static int option_feature(struct parse *p, const char *name, size_t len, bool on)
{
	const struct cpu_feature *f = cpu_feature_find(name, len);

	if (!f)
		return fail(p, "unknown CPU feature '%.*s': -cpu help lists them", (int)len, name);
	if (on && f->provider == BY_NONE)
		return fail(p, "CPU feature '%s' is not offered by ringer: leave it out", f->name);
	if (on && !cpu_bits_has(&p->offered, f->name))
		return fail(p, "CPU feature '%s' needs a host processor that has it: leave it out", f->name);
	set_feature(p, f->name, on);
	return 0;
}

static int option_vendor(struct parse *p, const char *value)
{
	if (strlen(value) != 12)
		return fail(p, "vendor=%s must have 12 characters, as GenuineIntel or AuthenticAMD", value);
	strcpy(p->m->vendor, value);
	p->m->amd = !strcmp(value, "AuthenticAMD") || !strcmp(value, "HygonGenuine");
	return 0;
}

static int option_brand(struct parse *p, const char *value)
{
	if (strlen(value) >= sizeof(p->m->brand))
		return fail(p, "model-id is longer than 47 characters");
	memset(p->m->brand, 0, sizeof(p->m->brand));
	strcpy(p->m->brand, value);
	return 0;
}

enum { NUM_FAMILY, NUM_MODEL, NUM_STEPPING, NUM_LEVEL, NUM_XLEVEL, NUM_PHYS_BITS };
static const struct {
	const char *name;
	uint32_t min, max;
} numbers[] = {
	[NUM_FAMILY] = {"family", 0, 0xff + 0xf}, [NUM_MODEL] = {"model", 0, 0xff}, [NUM_STEPPING] = {"stepping", 0, 0xf},
	[NUM_LEVEL] = {"level", 1, 0x1f}, [NUM_XLEVEL] = {"xlevel", 0x80000001, 0x80000021},
	[NUM_PHYS_BITS] = {"phys-bits", 32, 52},
};

static int option_number(struct parse *p, unsigned which, const char *value)
{
	struct cpu_model *m = p->m;
	char *end;
	unsigned long n = strtoul(value, &end, 0);

	if (!*value || *end || n < numbers[which].min || n > numbers[which].max)
		return fail(p, "%s=%s is not a number from %#x to %#x", numbers[which].name, value, numbers[which].min,
			    numbers[which].max);
	switch (which) {
	case NUM_FAMILY: set_family(m, (uint32_t)n); break;
	case NUM_MODEL: set_model(m, (uint32_t)n); break;
	case NUM_STEPPING: m->signature = (m->signature & ~0xfu) | (uint32_t)n; break;
	case NUM_LEVEL: m->level = (uint32_t)n; break;
	case NUM_XLEVEL: m->xlevel = (uint32_t)n; break;
	case NUM_PHYS_BITS: m->phys_bits = (uint32_t)n; break;
	}
	return 0;
}

static int parse_switch(const struct parse *p, const char *name, const char *value, bool *on)
{
	*on = !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true");
	if (*on || !strcmp(value, "off") || !strcmp(value, "no") || !strcmp(value, "false"))
		return 0;
	return fail(p, "%s=%s must be on or off", name, value);
}

// What QEMU's users write and ringer does anyway: nothing migrates, and cache and address sizes are the host's.
static const struct {
	const char *name;
	bool on, off; // which values are the truth already
} given[] = {
	{"migratable", true, true},
	{"host-phys-bits", true, false}, {"l3-cache", true, false}, {"host-cache-info", true, false},
};

static int option_switch(struct parse *p, const char *name, const char *value)
{
	bool on;

	if (parse_switch(p, name, value, &on))
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(given); i++)
		if (!strcmp(given[i].name, name))
			return (on ? given[i].on : given[i].off) ? 0
				: fail(p, "%s=%s is not supported: leave it out", name, value);
	if (!strcmp(name, "kvm"))
		p->m->hide_kvm = !on;
	else if (!strcmp(name, "check"))
		p->quiet = !on;
	else if (!strcmp(name, "enforce"))
		p->enforce = on;
	else
		return option_feature(p, name, strlen(name), on);
	return 0;
}

// On runs, as on a host that gives a guest its counters.
static int option_pmu(struct parse *p, const char *value)
{
	bool on;

	p->m->pmu = !strcmp(value, "stop") ? PMU_STOP : PMU_RUN;
	if (!strcmp(value, "run") || !strcmp(value, "stop"))
		return 0;
	if (parse_switch(p, "pmu", value, &on))
		return fail(p, "pmu=%s must be on, off, run or stop", value);
	p->m->pmu = on ? PMU_RUN : PMU_NONE;
	return 0;
}

static int option_value(struct parse *p, const char *name, const char *value)
{
	if (!strcmp(name, "pmu"))
		return option_pmu(p, value);
	if (!strcmp(name, "vendor"))
		return option_vendor(p, value);
	if (!strcmp(name, "model-id") || !strcmp(name, "model_id"))
		return option_brand(p, value);
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(name, numbers[i].name))
			return option_number(p, i, value);
	return option_switch(p, name, value);
}

// One item between commas, in a buffer of its own.
static int parse_option(struct parse *p, char *item)
{
	char *equals = strchr(item, '=');

	if (item[0] == '+' || item[0] == '-')
		return option_feature(p, item + 1, strlen(item + 1), item[0] == '+');
	if (equals) {
		*equals = 0;
		return option_value(p, item, equals + 1);
	}
	return option_value(p, item, "on");
}

static int parse_options(struct parse *p, const char *spec)
{
	char item[96];

	while (*spec) {
		size_t len = strcspn(spec, ",");

		if (len >= sizeof(item))
			return fail(p, "-cpu: '%.40s...' is too long", spec);
		memcpy(item, spec, len);
		item[len] = 0;
		if (len && parse_option(p, item))
			return -EINVAL;
		spec += len + (spec[len] == ',');
	}
	return 0;
}

// Take from a named model what is not offered here, and say so.
static int lose(struct parse *p, const char *spec, size_t len)
{
	char lost[300] = "";
	size_t n = 0;

	for (unsigned i = 0; i < cpu_features_count; i++) {
		const struct cpu_feature *f = &cpu_features[i];
		uint32_t *word = &p->m->bits.word[f->word];

		if (!(*word & ~p->offered.word[f->word] & BIT(f->bit)))
			continue;
		*word &= ~BIT(f->bit);
		n += (size_t)snprintf(lost + n, sizeof(lost) - n, " %s", f->name);
		n = MIN(n, sizeof(lost) - 1);
	}
	if (n && p->enforce)
		return fail(p, "-cpu %.*s: ringer or this host does not have%s; leave out enforce, or take them away "
			    "(name=off)", (int)len, spec, lost);
	if (n && !p->quiet)
		fprintf(stderr, "ringer: warning: -cpu %.*s is without%s, which ringer or this host does not have\n",
			(int)len, spec, lost);
	return 0;
}

static int parse_model(struct parse *p, const char *spec)
{
	size_t len = strcspn(spec, ",");
	const struct cpu_named *row = cpu_named_find(spec, len);

	if (row) {
		model_named(p->m, row, &p->offered);
		return parse_options(p, spec + len + (spec[len] == ',')) ? -EINVAL : lose(p, spec, len);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
		if (strlen(models[i].name) != len || strncmp(models[i].name, spec, len))
			continue;
		models[i].build(p->m, &p->offered);
		return parse_options(p, spec + len + (spec[len] == ','));
	}
	return fail(p, "unknown CPU model '%.*s': use host, max, qemu64 or another (-cpu help lists models and features)",
		    (int)len, spec);
}

// -- the whole ------------------------------------------------------------------------------------------------------

static int check_host(const struct parse *p, const struct cpu_bits *host)
{
	static const char *const required[] = {"sse4.2", "popcnt", "xsave", "avx2", "bmi1", "bmi2"};

	for (unsigned i = 0; i < ARRAY_SIZE(required); i++)
		if (!cpu_bits_has(host, required[i]))
			return fail(p, "the host processor lacks %s, which ringer's translator needs: use a host of 2013 "
				       "(Haswell) or later", required[i]);
	if (!(cpu_regs_host(1, 0).ecx & BIT(27)))
		return fail(p, "the host's kernel has not enabled XSAVE, which ringer's translator needs");
	return 0;
}

// State components beyond the host kernel's XCR0 are not there, whatever CPUID says.
static void limit_to_xcr0(struct cpu_bits *offered, uint64_t xcr0)
{
	if ((xcr0 & XCR0_AVX_ALL) != XCR0_AVX_ALL)
		offered->word[WORD_1_ECX] &= ~BIT(28);
	if ((xcr0 & XCR0_AVX512_ALL) != XCR0_AVX512_ALL)
		offered->word[WORD_7_EBX] &= ~BIT(16);
	cpu_bits_close(offered, NULL, NULL);
}

static uint32_t host_mxcsr_mask(void)
{
	uint32_t area[128] __attribute__((aligned(16))) = {0};

	__asm__ volatile("fxsave %0" : "=m"(area));
	return area[7] ? area[7] : 0xffbf;
}

int cpu_model_build(const char *spec, const struct topology *topology, struct config *cfg, char *err, size_t errlen)
{
	struct cpu_model m = {.topology = *topology};
	struct parse p = {.m = &m, .err = err, .errlen = errlen};
	struct cpu_bits host;
	const char *lost, *needs = NULL;

	cpu_bits_host(&host);
	if (check_host(&p, &host))
		return -EINVAL;
	cpu_bits_offered(&p.offered, &host);
	limit_to_xcr0(&p.offered, cpu_xcr0_host());
	if (parse_model(&p, spec))
		return -EINVAL;
	lost = cpu_bits_close(&m.bits, &p.wanted, &needs);
	if (lost)
		return fail(&p, "CPU feature '%s' needs '%s' too: add it, or leave both out", lost, needs);
	if (!cfg->tsc_hz)
		cfg->tsc_hz = host_tsc_hz();
	cfg->mxcsr_mask = host_mxcsr_mask();
	cpu_rows_make(&m, cfg);
	return 0;
}

static bool is_second_row(const struct cpu_feature *f)
{
	return cpu_feature_find(f->name, strlen(f->name)) != f;
}

// Words from column to column, as many to a line as there is room for.
static int put_word(FILE *out, int column, const char *word)
{
	if (column + strlen(word) > 110)
		column = fprintf(out, "\n   ") - 1;
	return column + fprintf(out, " %s", word);
}

static void help_named(FILE *out)
{
	int column = 3;

	fprintf(out, "  by QEMU's names, as far as ringer and the host have them (what is missing is said):\n   ");
	for (unsigned i = 0; i < cpu_named_count; i++)
		column = put_word(out, column, cpu_named[i].name);
	fprintf(out, "\n");
}

void cpu_model_help(FILE *out)
{
	static const char *const who[] = {
		[BY_HOST] = "if the host has it", [BY_RINGER] = "always", [BY_MAX] = "in max, or by name",
		[BY_NONE] = "not offered",
	};

	fprintf(out, "CPU models:\n");
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
		fprintf(out, "  %-11s %s\n", models[i].name, models[i].help);
	help_named(out);
	fprintf(out, "\nCPU features (+name, -name, name=on|off):\n");
	for (unsigned provider = BY_HOST; provider <= BY_NONE; provider++) {
		int column = fprintf(out, "  %s:", who[provider]);

		for (unsigned i = 0; i < cpu_features_count; i++) {
			if (cpu_features[i].provider != provider || is_second_row(&cpu_features[i]))
				continue;
			column = put_word(out, column, cpu_features[i].name);
		}
		fprintf(out, "\n");
	}
	fprintf(out, "\nOther: vendor= model-id= family= model= stepping= level= xlevel= phys-bits= kvm=on|off\n"
		     "       pmu=off|run|stop (on is run): performance counters; do cycles run on outside guest code?\n");
}
