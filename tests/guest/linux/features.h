/* SPDX-License-Identifier: MIT */
/*
 * The processor's features by name, as CPUID states them and the operating system enables them. FEATURES in the
 * environment (names with blanks between) limits what a program uses, so that a host and a guest that differ are
 * compared on what they have in common.
 */
#ifndef FEATURES_H
#define FEATURES_H

#include <cpuid.h>
#include <sys/utsname.h>

#include "guest.h"

enum { EAX, EBX, ECX, EDX };

/* state: the XCR0 bits the feature needs. */
struct feature {
	const char *name;
	uint32_t leaf, subleaf;
	int reg, bit;
	uint32_t state;
};

enum { STATE_NONE = 0, STATE_AVX = 6, STATE_AVX512 = 0xe6 };

static const struct feature features[] = {
	{ "intel", 0, 0, EBX, 0, STATE_NONE }, /* not a bit: the maker, which decides over undefined flags */
	{ "kernel64", 0, 0, EAX, 0, STATE_NONE }, /* the kernel's */
	{ "sse3", 1, 0, ECX, 0, STATE_NONE },
	{ "pclmulqdq", 1, 0, ECX, 1, STATE_NONE },
	{ "ssse3", 1, 0, ECX, 9, STATE_NONE },
	{ "fma", 1, 0, ECX, 12, STATE_AVX },
	{ "cx16", 1, 0, ECX, 13, STATE_NONE },
	{ "sse4_1", 1, 0, ECX, 19, STATE_NONE },
	{ "sse4_2", 1, 0, ECX, 20, STATE_NONE },
	{ "movbe", 1, 0, ECX, 22, STATE_NONE },
	{ "popcnt", 1, 0, ECX, 23, STATE_NONE },
	{ "aes", 1, 0, ECX, 25, STATE_NONE },
	{ "xsave", 1, 0, ECX, 26, STATE_NONE },
	{ "avx", 1, 0, ECX, 28, STATE_AVX },
	{ "f16c", 1, 0, ECX, 29, STATE_AVX },
	{ "rdrand", 1, 0, ECX, 30, STATE_NONE },
	{ "fsgsbase", 7, 0, EBX, 0, STATE_NONE },
	{ "bmi1", 7, 0, EBX, 3, STATE_NONE },
	{ "avx2", 7, 0, EBX, 5, STATE_AVX },
	{ "bmi2", 7, 0, EBX, 8, STATE_NONE },
	{ "avx512f", 7, 0, EBX, 16, STATE_AVX512 },
	{ "avx512dq", 7, 0, EBX, 17, STATE_AVX512 },
	{ "rdseed", 7, 0, EBX, 18, STATE_NONE },
	{ "adx", 7, 0, EBX, 19, STATE_NONE },
	{ "avx512ifma", 7, 0, EBX, 21, STATE_AVX512 },
	{ "clflushopt", 7, 0, EBX, 23, STATE_NONE },
	{ "clwb", 7, 0, EBX, 24, STATE_NONE },
	{ "avx512cd", 7, 0, EBX, 28, STATE_AVX512 },
	{ "sha", 7, 0, EBX, 29, STATE_NONE },
	{ "avx512bw", 7, 0, EBX, 30, STATE_AVX512 },
	{ "avx512vl", 7, 0, EBX, 31, STATE_AVX512 },
	{ "avx512vbmi", 7, 0, ECX, 1, STATE_AVX512 },
	{ "avx512vbmi2", 7, 0, ECX, 6, STATE_AVX512 },
	{ "gfni", 7, 0, ECX, 8, STATE_NONE },
	{ "vaes", 7, 0, ECX, 9, STATE_AVX },
	{ "vpclmulqdq", 7, 0, ECX, 10, STATE_AVX },
	{ "avx512vnni", 7, 0, ECX, 11, STATE_AVX512 },
	{ "avx512bitalg", 7, 0, ECX, 12, STATE_AVX512 },
	{ "avx512vpopcntdq", 7, 0, ECX, 14, STATE_AVX512 },
	{ "rdpid", 7, 0, ECX, 22, STATE_NONE },
	{ "movdiri", 7, 0, ECX, 27, STATE_NONE },
	{ "movdir64b", 7, 0, ECX, 28, STATE_NONE },
	{ "serialize", 7, 0, EDX, 14, STATE_NONE },
	{ "avx512fp16", 7, 0, EDX, 23, STATE_AVX512 },
	{ "avxvnni", 7, 1, EAX, 4, STATE_AVX },
	{ "avx512bf16", 7, 1, EAX, 5, STATE_AVX512 },
	{ "xsaveopt", 13, 1, EAX, 0, STATE_NONE },
	{ "xsavec", 13, 1, EAX, 1, STATE_NONE },
	{ "xgetbv1", 13, 1, EAX, 2, STATE_NONE },
	{ "lahf_lm", 0x80000001, 0, ECX, 0, STATE_NONE },
	{ "lzcnt", 0x80000001, 0, ECX, 5, STATE_NONE },
	{ "sse4a", 0x80000001, 0, ECX, 6, STATE_NONE },
	{ "rdtscp", 0x80000001, 0, EDX, 27, STATE_NONE },
};

static inline uint64_t feature_xcr0(void)
{
	uint32_t r[4], high;

	__cpuid_count(1, 0, r[EAX], r[EBX], r[ECX], r[EDX]);
	if (!(r[ECX] >> 27 & 1))
		return 0;
	asm volatile("xgetbv" : "=a"(r[EAX]), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | r[EAX];
}

static inline bool feature_kernel64(void)
{
	struct utsname name;

	return !uname(&name) && !strcmp(name.machine, "x86_64");
}

static inline bool feature_stated(const struct feature *f)
{
	uint32_t r[4];

	__cpuid_count(f->leaf & 0x80000000, 0, r[EAX], r[EBX], r[ECX], r[EDX]);
	if (!f->leaf && f->reg == EAX)
		return feature_kernel64();
	if (!f->leaf)
		return r[EBX] == signature_INTEL_ebx && r[EDX] == signature_INTEL_edx && r[ECX] == signature_INTEL_ecx;
	if (r[EAX] < f->leaf)
		return false;
	__cpuid_count(f->leaf, f->subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
	return r[f->reg] >> f->bit & 1;
}

static inline bool feature_usable(const struct feature *f)
{
	return feature_stated(f) && (feature_xcr0() & f->state) == f->state;
}

static inline bool feature_wanted(const char *name)
{
	const char *list = getenv("FEATURES"), *at = list;
	size_t size = strlen(name);

	while (at && (at = strstr(at, name))) {
		if ((at == list || at[-1] == ' ') && (!at[size] || at[size] == ' '))
			return true;
		at += size;
	}
	return !list;
}

/* May this program use the feature? An empty name always may be used. */
static inline bool have(const char *name)
{
	size_t i;

	if (!*name)
		return true;
	for (i = 0; i < COUNT(features); i++)
		if (!strcmp(features[i].name, name))
			return feature_usable(&features[i]) && feature_wanted(name);
	fprintf(stderr, "no feature is called %s\n", name);
	exit(1);
}

#endif
