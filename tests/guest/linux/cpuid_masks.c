/* SPDX-License-Identifier: MIT */
/*
 * An instruction works if and only if CPUID states its feature: run each under a handler for SIGILL. Under a hardware
 * monitor this fails, since a masked instruction works all the same; so the runner judges this one by its own words.
 *   cpuid_masks [+FEATURE|-FEATURE]...     also: FEATURE must be there, must not be there
 */
#include "catch.h"
#include "features.h"

struct probe {
	const char *feature;
	void (*code)(void *, void *);
};

static uint8_t memory[4096] __attribute__((aligned(64)));

#ifdef __x86_64__
#define PROBES_64(X) X(cx16, "lock cmpxchg16b (%0)") X(fsgsbase, "rdfsbase %%rax")
#else
#define PROBES_64(X)
#endif

#define PROBES(X)                                                                                            \
	X(sse3, "haddps %%xmm0, %%xmm0") X(pclmulqdq, "pclmulqdq $0, %%xmm0, %%xmm0")                        \
	X(ssse3, "pshufb %%xmm0, %%xmm0") X(sse4_1, "pmulld %%xmm0, %%xmm0")                                 \
	X(sse4_2, "pcmpgtq %%xmm0, %%xmm0") X(movbe, "movbe (%0), %%eax") X(popcnt, "popcnt %%eax, %%eax")   \
	PROBES_64(X) X(aes, "aesenc %%xmm0, %%xmm0")                                      \
	X(xsave, "xor %%ecx, %%ecx; xgetbv") X(avx, "vaddps %%ymm0, %%ymm0, %%ymm0")                         \
	X(fma, "vfmadd132ps %%ymm0, %%ymm0, %%ymm0") X(f16c, "vcvtph2ps %%xmm0, %%ymm0")                     \
	X(rdrand, "rdrand %%rax") X(rdseed, "rdseed %%rax")                                                   \
	X(bmi1, "andn %%rax, %%rax, %%rax") X(bmi2, "pdep %%rax, %%rax, %%rax")                              \
	X(avx2, "vpaddd %%ymm0, %%ymm0, %%ymm0") X(adx, "adcx %%eax, %%eax") X(sha, "sha1msg1 %%xmm0, %%xmm0") \
	X(clflushopt, "clflushopt (%0)") X(clwb, "clwb (%0)") X(gfni, "gf2p8mulb %%xmm0, %%xmm0")            \
	X(vaes, "vaesenc %%ymm0, %%ymm0, %%ymm0") X(vpclmulqdq, "vpclmulqdq $0, %%ymm0, %%ymm0, %%ymm0")     \
	X(rdpid, "rdpid %%rax") X(rdtscp, "rdtscp") X(movdiri, "movdiri %%eax, (%0)")                        \
	X(movdir64b, "movdir64b (%0), %0") X(serialize, "serialize") X(lahf_lm, "lahf")                      \
	X(xsaveopt, "xor %%eax, %%eax; xor %%edx, %%edx; xsaveopt (%0)")                                     \
	X(xsavec, "xor %%eax, %%eax; xor %%edx, %%edx; xsavec (%0)")                                         \
	X(avx512f, "vpaddd %%zmm0, %%zmm0, %%zmm0") X(avx512bw, "vpaddb %%zmm0, %%zmm0, %%zmm0")             \
	X(avx512dq, "vpmullq %%zmm0, %%zmm0, %%zmm0") X(avx512cd, "vpconflictd %%zmm0, %%zmm0")              \
	X(avx512vl, "vpaddd %%xmm6, %%xmm6, %%xmm6%{%%k1%}") X(avx512ifma, "vpmadd52luq %%zmm0, %%zmm0, %%zmm0")  \
	X(avx512vbmi, "vpermb %%zmm0, %%zmm0, %%zmm0") X(avx512vbmi2, "vpcompressb %%zmm0, %%zmm0")          \
	X(avx512vnni, "vpdpbusd %%zmm0, %%zmm0, %%zmm0") X(avx512bitalg, "vpopcntb %%zmm0, %%zmm0")          \
	X(avx512vpopcntdq, "vpopcntd %%zmm0, %%zmm0") X(avx512fp16, "vaddph %%zmm0, %%zmm0, %%zmm0")         \
	X(avx512bf16, "vdpbf16ps %%zmm0, %%zmm0, %%zmm0") X(avxvnni, "%{vex%} vpdpbusd %%ymm0, %%ymm0, %%ymm0")

#define FUNCTION(name, text)                                                                            \
	static void probe_##name(void *at, void *unused)                                                \
	{                                                                                               \
		(void)unused;                                                                           \
		asm volatile(text ::"r"(at) : "rax", "rbx", "rcx", "rdx", "memory", "cc");              \
	}
#define ROW(name, text) { #name, probe_##name },
PROBES(FUNCTION)
static const struct probe probes[] = { PROBES(ROW) };

static const struct feature *find(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(features); i++)
		if (!strcmp(features[i].name, name))
			return &features[i];
	printf("no feature is called %s\n", name);
	exit(1);
}

int main(int argc, char **argv)
{
	int i, wrong = 0;

	catch_init();
	for (i = 0; i < (int)COUNT(probes); i++) {
		bool stated = feature_usable(find(probes[i].feature));
		int signo = catch_run(probes[i].code, memory, NULL);

		if (signo != (stated ? 0 : SIGILL))
			wrong += !check(false, "%s is %s, its instruction raises %s", probes[i].feature,
					stated ? "there" : "not there", catch_name(signo));
	}
	for (i = 1; i < argc; i++)
		if (feature_stated(find(argv[i] + 1)) != (argv[i][0] == '+'))
			wrong += !check(false, "%s asked for", argv[i]);
	check(!wrong, "%zu features: CPUID and the instructions agree", COUNT(probes));
	return wrong != 0;
}
