// SPDX-License-Identifier: MIT
//
// The processors that QEMU 7.2 has names for: one table. A row is another row (like) and what it has more (or, with a
// minus, not), so a name can be read as history. What an accelerator decides by itself is left out: x2APIC and KVM's
// words are there always; ACPI, MONITOR and SVM never. A model is what it says as far as ringer and the host have it;
// what is lost is said (cpu_model.c).
#include "machine/cpu_named.h"
#include "base/assert.h"
#include <string.h>

#define INTEL "GenuineIntel"
#define AMD "AuthenticAMD"
#define HYGON "HygonGenuine"

const struct cpu_named cpu_named[] = {
	{ "pentium", "pentium-v1", NULL, INTEL, 5, 4, 3, 1, 0x0, "", "apic cx8 de fpu mce mmx msr pse tsc" },
	{ "pentium2", "pentium2-v1", "pentium", INTEL, 6, 5, 2, 2, 0x0, "", "cmov fxsr mca mtrr pae pat pge pse36 sep" },
	{ "pentium3", "pentium3-v1", "pentium2", INTEL, 6, 7, 3, 3, 0x0, "", "sse" },
	{ "athlon", "athlon-v1", "pentium3", AMD, 6, 2, 3, 2, 0x80000008, "QEMU Virtual CPU version 2.5+",
		"3dnow 3dnowext mmxext sse2" },
	{ "qemu32", "qemu32-v1", "pentium3", INTEL, 6, 6, 3, 4, 0x80000004, "QEMU Virtual CPU version 2.5+",
		"pni sse2 -mca -mtrr -pse36" },
	{ "kvm32", "kvm32-v1", "pentium3", INTEL, 15, 6, 1, 5, 0x80000008, "Common 32-bit KVM processor",
		"clflush pni sse2" },
	{ "coreduo", "coreduo-v1", "kvm32", INTEL, 6, 14, 8, 10, 0x80000008,
		"Genuine Intel(R) CPU           T2600  @ 2.16GHz", "nx ss -pse36" },
	{ "n270", "n270-v1", "coreduo", INTEL, 6, 28, 2, 10, 0x80000008, "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
		"lahf-lm movbe ssse3" },
	{ "kvm64", "kvm64-v1", "kvm32", INTEL, 15, 6, 1, 13, 0x80000008, "Common KVM processor", "cx16 lm nx syscall" },
	{ "core2duo", "core2duo-v1", "kvm64", INTEL, 6, 15, 11, 10, 0x80000008,
		"Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz", "lahf-lm ss ssse3" },
	{ "phenom", "phenom-v1", "kvm64", AMD, 16, 2, 3, 5, 0x8000001a, "AMD Phenom(tm) 9550 Quad-Core Processor",
		"3dnow 3dnowext abm fxsr-opt lahf-lm mmxext pdpe1gb popcnt rdtscp sse4a" },
	{ "Opteron_G2", "Opteron_G2-v1", "kvm64", AMD, 15, 6, 1, 5, 0x8000000a, "AMD Opteron 22xx (Gen 2 Class Opteron)",
		"lahf-lm" },
	{ "Opteron_G3", "Opteron_G3-v1", "Opteron_G2", AMD, 16, 2, 3, 5, 0x8000000a,
		"AMD Opteron 23xx (Gen 3 Class Opteron)", "abm misalignsse popcnt rdtscp sse4a" },
	{ "Opteron_G4", "Opteron_G4-v1", "Opteron_G3", AMD, 21, 1, 2, 13, 0x8000001a, "AMD Opteron 62xx class CPU",
		"3dnowprefetch aes avx fma4 pclmulqdq pdpe1gb sse4.1 sse4.2 ssse3 xop xsave" },
	{ "Opteron_G5", "Opteron_G5-v1", "Opteron_G4", AMD, 21, 2, 0, 13, 0x8000001a, "AMD Opteron 63xx class CPU",
		"f16c fma tbm" },
	{ "Conroe", "Conroe-v1", "Opteron_G2", INTEL, 6, 15, 3, 10, 0x80000008,
		"Intel Celeron_4x0 (Conroe/Merom Class Core 2)", "ssse3 -cx16" },
	{ "Penryn", "Penryn-v1", "Conroe", INTEL, 6, 23, 3, 10, 0x80000008,
		"Intel Core 2 Duo P9xxx (Penryn Class Core 2)", "cx16 sse4.1" },
	{ "Nehalem", "Nehalem-v1", "Penryn", INTEL, 6, 26, 3, 11, 0x80000008, "Intel Core i7 9xx (Nehalem Class Core i7)",
		"popcnt sse4.2" },
	{ "Nehalem-IBRS", "Nehalem-v2", "Nehalem", INTEL, 6, 26, 3, 11, 0x80000008,
		"Intel Core i7 9xx (Nehalem Core i7, IBRS update)", "spec-ctrl" },
	{ "Westmere", "Westmere-v1", "Nehalem", INTEL, 6, 44, 1, 11, 0x80000008, "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
		"aes arat pclmulqdq" },
	{ "Westmere-IBRS", "Westmere-v2", "Westmere", INTEL, 6, 44, 1, 11, 0x80000008,
		"Westmere E56xx/L56xx/X56xx (IBRS update)", "spec-ctrl" },
	{ "SandyBridge", "SandyBridge-v1", "Westmere", INTEL, 6, 42, 1, 13, 0x80000008,
		"Intel Xeon E312xx (Sandy Bridge)", "avx rdtscp tsc-deadline xsave xsaveopt" },
	{ "SandyBridge-IBRS", "SandyBridge-v2", "SandyBridge", INTEL, 6, 42, 1, 13, 0x80000008,
		"Intel Xeon E312xx (Sandy Bridge, IBRS update)", "spec-ctrl" },
	{ "IvyBridge", "IvyBridge-v1", "SandyBridge", INTEL, 6, 58, 9, 13, 0x80000008,
		"Intel Xeon E3-12xx v2 (Ivy Bridge)", "erms f16c fsgsbase rdrand smep" },
	{ "IvyBridge-IBRS", "IvyBridge-v2", "IvyBridge", INTEL, 6, 58, 9, 13, 0x80000008,
		"Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)", "spec-ctrl" },
	{ "Haswell", "Haswell-v1", "IvyBridge", INTEL, 6, 60, 4, 13, 0x80000008, "Intel Core Processor (Haswell)",
		"abm avx2 bmi1 bmi2 fma hle invpcid movbe pcid rtm" },
	{ "Haswell-noTSX", "Haswell-v2", "Haswell", INTEL, 6, 60, 1, 13, 0x80000008,
		"Intel Core Processor (Haswell, no TSX)", "-hle -rtm" },
	{ "Haswell-IBRS", "Haswell-v3", "Haswell", INTEL, 6, 60, 4, 13, 0x80000008,
		"Intel Core Processor (Haswell, IBRS)", "spec-ctrl" },
	{ "Haswell-noTSX-IBRS", "Haswell-v4", "Haswell-noTSX", INTEL, 6, 60, 1, 13, 0x80000008,
		"Intel Core Processor (Haswell, no TSX, IBRS)", "spec-ctrl" },
	{ "Broadwell", "Broadwell-v1", "Haswell", INTEL, 6, 61, 2, 13, 0x80000008, "Intel Core Processor (Broadwell)",
		"3dnowprefetch adx rdseed smap" },
	{ "Broadwell-noTSX", "Broadwell-v2", "Broadwell", INTEL, 6, 61, 2, 13, 0x80000008,
		"Intel Core Processor (Broadwell, no TSX)", "-hle -rtm" },
	{ "Broadwell-IBRS", "Broadwell-v3", "Broadwell", INTEL, 6, 61, 2, 13, 0x80000008,
		"Intel Core Processor (Broadwell, IBRS)", "spec-ctrl" },
	{ "Broadwell-noTSX-IBRS", "Broadwell-v4", "Broadwell-noTSX", INTEL, 6, 61, 2, 13, 0x80000008,
		"Intel Core Processor (Broadwell, no TSX, IBRS)", "spec-ctrl" },
	{ "Skylake-Client", "Skylake-Client-v1", "Broadwell", INTEL, 6, 94, 3, 13, 0x80000008,
		"Intel Core Processor (Skylake)", "xgetbv1 xsavec" },
	{ "Skylake-Client-IBRS", "Skylake-Client-v2", "Skylake-Client", INTEL, 6, 94, 3, 13, 0x80000008,
		"Intel Core Processor (Skylake, IBRS)", "spec-ctrl" },
	{ "Skylake-Client-noTSX-IBRS", "Skylake-Client-v3", "Skylake-Client-IBRS", INTEL, 6, 94, 3, 13, 0x80000008,
		"Intel Core Processor (Skylake, IBRS, no TSX)", "-hle -rtm" },
	{ "Skylake-Client-v4", NULL, "Skylake-Client-noTSX-IBRS", INTEL, 6, 94, 3, 13, 0x80000008,
		"Intel Core Processor (Skylake, IBRS, no TSX)", "xsaves" },
	{ "Skylake-Server", "Skylake-Server-v1", "Skylake-Client", INTEL, 6, 85, 4, 13, 0x80000008,
		"Intel Xeon Processor (Skylake)", "avx512bw avx512cd avx512dq avx512f avx512vl clflushopt clwb pdpe1gb pku" },
	{ "Skylake-Server-IBRS", "Skylake-Server-v2", "Skylake-Server", INTEL, 6, 85, 4, 13, 0x80000008,
		"Intel Xeon Processor (Skylake, IBRS)", "spec-ctrl -clflushopt" },
	{ "Skylake-Server-noTSX-IBRS", "Skylake-Server-v3", "Skylake-Server-IBRS", INTEL, 6, 85, 4, 13, 0x80000008,
		"Intel Xeon Processor (Skylake, IBRS, no TSX)", "-hle -rtm" },
	{ "Skylake-Server-v4", NULL, "Skylake-Server-noTSX-IBRS", INTEL, 6, 85, 4, 13, 0x80000008,
		"Intel Xeon Processor (Skylake, IBRS, no TSX)", "" },
	{ "Skylake-Server-v5", NULL, "Skylake-Server-v4", INTEL, 6, 85, 4, 13, 0x80000008,
		"Intel Xeon Processor (Skylake, IBRS, no TSX)", "xsaves" },
	{ "Cascadelake-Server", "Cascadelake-Server-v1", "Skylake-Server-IBRS", INTEL, 6, 85, 6, 13, 0x80000008,
		"Intel Xeon Processor (Cascadelake)", "avx512vnni clflushopt ssbd" },
	{ "Cascadelake-Server-v2", NULL, "Cascadelake-Server", INTEL, 6, 85, 6, 13, 0x80000008,
		"Intel Xeon Processor (Cascadelake)", "arch-capabilities ibrs-all mds-no rdctl-no skip-l1dfl-vmentry" },
	{ "Cascadelake-Server-noTSX", "Cascadelake-Server-v3", "Cascadelake-Server-v2", INTEL, 6, 85, 6, 13, 0x80000008,
		"Intel Xeon Processor (Cascadelake)", "-hle -rtm" },
	{ "Cascadelake-Server-v4", NULL, "Cascadelake-Server-noTSX", INTEL, 6, 85, 6, 13, 0x80000008,
		"Intel Xeon Processor (Cascadelake)", "" },
	{ "Cascadelake-Server-v5", NULL, "Cascadelake-Server-v4", INTEL, 6, 85, 6, 13, 0x80000008,
		"Intel Xeon Processor (Cascadelake)", "xsaves" },
	{ "Cooperlake", "Cooperlake-v1", "Cascadelake-Server-v2", INTEL, 6, 85, 10, 13, 0x80000008,
		"Intel Xeon Processor (Cooperlake)", "avx512-bf16 pschange-mc-no stibp taa-no" },
	{ "Cooperlake-v2", NULL, "Cooperlake", INTEL, 6, 85, 10, 13, 0x80000008, "Intel Xeon Processor (Cooperlake)",
		"xsaves" },
	{ "Icelake-Server", "Icelake-Server-v1", "Cascadelake-Server", INTEL, 6, 134, 0, 13, 0x80000008,
		"Intel Xeon Processor (Icelake)",
		"avx512-vpopcntdq avx512bitalg avx512vbmi avx512vbmi2 gfni la57 umip vaes vpclmulqdq wbnoinvd" },
	{ "Icelake-Server-noTSX", "Icelake-Server-v2", "Icelake-Server", INTEL, 6, 134, 0, 13, 0x80000008,
		"Intel Xeon Processor (Icelake)", "-hle -rtm" },
	{ "Icelake-Server-v3", NULL, "Icelake-Server-noTSX", INTEL, 6, 134, 0, 13, 0x80000008,
		"Intel Xeon Processor (Icelake)",
		"arch-capabilities ibrs-all mds-no pschange-mc-no rdctl-no skip-l1dfl-vmentry taa-no" },
	{ "Icelake-Server-v4", NULL, "Icelake-Server-v3", INTEL, 6, 106, 0, 13, 0x80000008,
		"Intel Xeon Processor (Icelake)", "avx512ifma fsrm rdpid sha-ni" },
	{ "Icelake-Server-v5", NULL, "Icelake-Server-v4", INTEL, 6, 106, 0, 13, 0x80000008,
		"Intel Xeon Processor (Icelake)", "xsaves" },
	{ "Icelake-Server-v6", NULL, "Icelake-Server-v5", INTEL, 6, 106, 0, 13, 0x80000008,
		"Intel Xeon Processor (Icelake)", "" },
	{ "Denverton", "Denverton-v1", "IvyBridge-IBRS", INTEL, 6, 95, 1, 21, 0x80000008,
		"Intel Atom Processor (Denverton)",
		"3dnowprefetch arch-capabilities clflushopt movbe mpx pdpe1gb rdctl-no rdseed sha-ni skip-l1dfl-vmentry "
		"smap ssbd xgetbv1 xsavec -avx -f16c" },
	{ "Denverton-v2", NULL, "Denverton", INTEL, 6, 95, 1, 21, 0x80000008, "Intel Atom Processor (Denverton)",
		"-mpx" },
	{ "Denverton-v3", NULL, "Denverton-v2", INTEL, 6, 95, 1, 21, 0x80000008, "Intel Atom Processor (Denverton)",
		"xsaves" },
	{ "Snowridge", "Snowridge-v1", "Denverton", INTEL, 6, 134, 1, 27, 0x80000008, "Intel Atom Processor (SnowRidge)",
		"cldemote clwb core-capability gfni movdir64b movdiri umip -rdctl-no -skip-l1dfl-vmentry" },
	{ "Snowridge-v2", NULL, "Snowridge", INTEL, 6, 134, 1, 27, 0x80000008, "Intel Atom Processor (Snowridge, no MPX)",
		"-mpx" },
	{ "Snowridge-v3", NULL, "Snowridge-v2", INTEL, 6, 134, 1, 27, 0x80000008,
		"Intel Atom Processor (Snowridge, no MPX)", "xsaves" },
	{ "Snowridge-v4", NULL, "Snowridge-v3", INTEL, 6, 134, 1, 27, 0x80000008,
		"Intel Atom Processor (Snowridge, no MPX)", "-core-capability" },
	{ "KnightsMill", "KnightsMill-v1", "Broadwell-noTSX", INTEL, 6, 133, 0, 13, 0x80000008,
		"Intel Xeon Phi Processor (Knights Mill)",
		"avx512-4fmaps avx512-4vnniw avx512-vpopcntdq avx512cd avx512er avx512f avx512pf pdpe1gb ss -invpcid "
		"-pcid -smap" },
	{ "EPYC", "EPYC-v1", "Skylake-Client-noTSX-IBRS", AMD, 23, 1, 2, 13, 0x8000001e, "AMD EPYC Processor",
		"clflushopt cr8legacy fxsr-opt misalignsse mmxext osvw pdpe1gb sha-ni sse4a topoext -erms -invpcid -pcid "
		"-spec-ctrl -tsc-deadline" },
	{ "EPYC-IBPB", "EPYC-v2", "EPYC", AMD, 23, 1, 2, 13, 0x8000001e, "AMD EPYC Processor (with IBPB)", "ibpb" },
	{ "EPYC-v3", NULL, "EPYC-IBPB", AMD, 23, 1, 2, 13, 0x8000001e, "AMD EPYC Processor",
		"clzero perfctr-core xsaveerptr xsaves" },
	{ "Dhyana", "Dhyana-v1", "EPYC-IBPB", HYGON, 24, 0, 1, 13, 0x8000001e, "Hygon Dhyana Processor",
		"-aes -pclmulqdq -sha-ni" },
	{ "Dhyana-v2", NULL, "Dhyana", HYGON, 24, 0, 1, 13, 0x8000001e, "Hygon Dhyana Processor", "xsaves" },
	{ "EPYC-Rome", "EPYC-Rome-v1", "EPYC-v3", AMD, 23, 49, 0, 13, 0x8000001e, "AMD EPYC-Rome Processor",
		"amd-stibp clwb rdpid umip wbnoinvd" },
	{ "EPYC-Rome-v2", NULL, "EPYC-Rome", AMD, 23, 49, 0, 13, 0x8000001e, "AMD EPYC-Rome Processor", "amd-ssbd ibrs" },
	{ "EPYC-Milan", "EPYC-Milan-v1", "EPYC-Rome-v2", AMD, 25, 1, 1, 13, 0x8000001e, "AMD EPYC-Milan Processor",
		"erms fsrm invpcid pcid pku" },
};
const unsigned cpu_named_count = ARRAY_SIZE(cpu_named);

// "Haswell" or "Haswell-v1", whole.
const struct cpu_named *cpu_named_find(const char *name, size_t len)
{
	for (unsigned i = 0; i < cpu_named_count; i++) {
		const char *const names[] = { cpu_named[i].name, cpu_named[i].version };

		for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
			if (names[k] && strlen(names[k]) == len && !strncmp(names[k], name, len))
				return &cpu_named[i];
	}
	return NULL;
}

static void take_word(struct cpu_bits *bits, const char *word, size_t len)
{
	bool on = *word != '-';
	const struct cpu_feature *f = cpu_feature_find(word + !on, len - !on);

	ASSERT(f);
	bits->word[f->word] = (bits->word[f->word] & ~BIT(f->bit)) | (on ? BIT(f->bit) : 0);
}

void cpu_named_bits(const struct cpu_named *row, struct cpu_bits *bits)
{
	if (row->like)
		cpu_named_bits(cpu_named_find(row->like, strlen(row->like)), bits);
	else
		*bits = (struct cpu_bits){0};
	for (const char *at = row->what; *at;) {
		size_t len = strcspn(at, " ");

		take_word(bits, at, len);
		at += len + (at[len] == ' ');
	}
}
