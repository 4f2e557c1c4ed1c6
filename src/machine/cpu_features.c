// SPDX-License-Identifier: MIT
//
// The table of CPU features and the rules between them. A feature in no row is never shown to a guest, so that what a
// new host brings is offered only when someone has thought about it.
#include "machine/cpu_features.h"
#include <cpuid.h>
#include <string.h>

const struct cpu_word_place cpu_words[CPU_WORDS] = {
	[WORD_1_ECX] = {1, 0, CPU_ECX}, [WORD_1_EDX] = {1, 0, CPU_EDX}, [WORD_6_EAX] = {6, 0, CPU_EAX},
	[WORD_7_EBX] = {7, 0, CPU_EBX}, [WORD_7_ECX] = {7, 0, CPU_ECX}, [WORD_7_EDX] = {7, 0, CPU_EDX},
	[WORD_71_EAX] = {7, 1, CPU_EAX}, [WORD_72_EDX] = {7, 2, CPU_EDX}, [WORD_D1_EAX] = {0xd, 1, CPU_EAX},
	[WORD_E1_ECX] = {0x80000001, 0, CPU_ECX}, [WORD_E1_EDX] = {0x80000001, 0, CPU_EDX},
	[WORD_E7_EDX] = {0x80000007, 0, CPU_EDX}, [WORD_E8_EBX] = {0x80000008, 0, CPU_EBX},
	[WORD_E21_EAX] = {0x80000021, 0, CPU_EAX}, [WORD_E21_ECX] = {0x80000021, 0, CPU_ECX},
};

#define H BY_HOST
#define R BY_RINGER
#define N BY_NONE
#define X BY_MAX

const struct cpu_feature cpu_features[] = {
	{"fpu", WORD_1_EDX, 0, H}, {"vme", WORD_1_EDX, 1, R}, {"de", WORD_1_EDX, 2, R},
	{"pse", WORD_1_EDX, 3, R}, {"tsc", WORD_1_EDX, 4, R}, {"msr", WORD_1_EDX, 5, R}, {"pae", WORD_1_EDX, 6, R},
	{"mce", WORD_1_EDX, 7, R}, {"cx8", WORD_1_EDX, 8, H}, {"apic", WORD_1_EDX, 9, R}, {"sep", WORD_1_EDX, 11, R},
	{"mtrr", WORD_1_EDX, 12, R}, {"pge", WORD_1_EDX, 13, R}, {"mca", WORD_1_EDX, 14, R}, {"cmov", WORD_1_EDX, 15, H},
	{"pat", WORD_1_EDX, 16, R}, {"pse36", WORD_1_EDX, 17, R}, {"pn", WORD_1_EDX, 18, N}, {"clflush", WORD_1_EDX, 19, H},
	{"ds", WORD_1_EDX, 21, N}, {"acpi", WORD_1_EDX, 22, N}, {"mmx", WORD_1_EDX, 23, H}, {"fxsr", WORD_1_EDX, 24, H},
	{"sse", WORD_1_EDX, 25, H}, {"sse2", WORD_1_EDX, 26, H}, {"ss", WORD_1_EDX, 27, H}, {"ht", WORD_1_EDX, 28, N},
	{"tm", WORD_1_EDX, 29, N}, {"ia64", WORD_1_EDX, 30, N}, {"pbe", WORD_1_EDX, 31, N},

	{"pni", WORD_1_ECX, 0, H}, {"pclmulqdq", WORD_1_ECX, 1, H}, {"dtes64", WORD_1_ECX, 2, N},
	{"monitor", WORD_1_ECX, 3, N}, {"ds-cpl", WORD_1_ECX, 4, N}, {"vmx", WORD_1_ECX, 5, N}, {"smx", WORD_1_ECX, 6, N},
	{"est", WORD_1_ECX, 7, N}, {"tm2", WORD_1_ECX, 8, N}, {"ssse3", WORD_1_ECX, 9, H}, {"cid", WORD_1_ECX, 10, N},
	{"fma", WORD_1_ECX, 12, H}, {"cx16", WORD_1_ECX, 13, H}, {"xtpr", WORD_1_ECX, 14, N}, {"pdcm", WORD_1_ECX, 15, N},
	{"pcid", WORD_1_ECX, 17, R}, {"dca", WORD_1_ECX, 18, N}, {"sse4.1", WORD_1_ECX, 19, H},
	{"sse4.2", WORD_1_ECX, 20, H}, {"x2apic", WORD_1_ECX, 21, R}, {"movbe", WORD_1_ECX, 22, H},
	{"popcnt", WORD_1_ECX, 23, H},
	{"tsc-deadline", WORD_1_ECX, 24, R}, {"aes", WORD_1_ECX, 25, H},
	{"xsave", WORD_1_ECX, 26, H}, {"avx", WORD_1_ECX, 28, H},
	{"f16c", WORD_1_ECX, 29, H}, {"rdrand", WORD_1_ECX, 30, H},
	{"hypervisor", WORD_1_ECX, 31, R},

	{"arat", WORD_6_EAX, 2, R},

	{"fsgsbase", WORD_7_EBX, 0, R}, {"tsc-adjust", WORD_7_EBX, 1, R}, {"sgx", WORD_7_EBX, 2, N},
	{"bmi1", WORD_7_EBX, 3, H}, {"hle", WORD_7_EBX, 4, N}, {"avx2", WORD_7_EBX, 5, H},
	{"fdp-excptn-only", WORD_7_EBX, 6, H}, {"smep", WORD_7_EBX, 7, R}, {"bmi2", WORD_7_EBX, 8, H},
	{"erms", WORD_7_EBX, 9, H}, {"invpcid", WORD_7_EBX, 10, R}, {"rtm", WORD_7_EBX, 11, N},
	{"zero-fcs-fds", WORD_7_EBX, 13, H}, {"mpx", WORD_7_EBX, 14, N}, {"avx512f", WORD_7_EBX, 16, H},
	{"avx512dq", WORD_7_EBX, 17, H}, {"rdseed", WORD_7_EBX, 18, H}, {"adx", WORD_7_EBX, 19, H},
	{"smap", WORD_7_EBX, 20, R}, {"avx512ifma", WORD_7_EBX, 21, H}, {"pcommit", WORD_7_EBX, 22, N},
	{"clflushopt", WORD_7_EBX, 23, H}, {"clwb", WORD_7_EBX, 24, H}, {"intel-pt", WORD_7_EBX, 25, N},
	{"avx512pf", WORD_7_EBX, 26, N}, {"avx512er", WORD_7_EBX, 27, N}, {"avx512cd", WORD_7_EBX, 28, H},
	{"sha-ni", WORD_7_EBX, 29, H}, {"avx512bw", WORD_7_EBX, 30, H}, {"avx512vl", WORD_7_EBX, 31, H},

	{"avx512vbmi", WORD_7_ECX, 1, H}, {"umip", WORD_7_ECX, 2, R}, {"pku", WORD_7_ECX, 3, X},
	{"waitpkg", WORD_7_ECX, 5, N}, {"avx512vbmi2", WORD_7_ECX, 6, H}, {"cet-ss", WORD_7_ECX, 7, N},
	{"gfni", WORD_7_ECX, 8, H}, {"vaes", WORD_7_ECX, 9, H}, {"vpclmulqdq", WORD_7_ECX, 10, H},
	{"avx512vnni", WORD_7_ECX, 11, H}, {"avx512bitalg", WORD_7_ECX, 12, H}, {"avx512-vpopcntdq", WORD_7_ECX, 14, H},
	{"la57", WORD_7_ECX, 16, X}, {"rdpid", WORD_7_ECX, 22, R}, {"kl", WORD_7_ECX, 23, N},
	{"bus-lock-detect", WORD_7_ECX, 24, N}, {"cldemote", WORD_7_ECX, 25, H}, {"movdiri", WORD_7_ECX, 27, H},
	{"movdir64b", WORD_7_ECX, 28, H}, {"enqcmd", WORD_7_ECX, 29, N}, {"sgxlc", WORD_7_ECX, 30, N},
	{"pks", WORD_7_ECX, 31, X},

	{"avx512-4vnniw", WORD_7_EDX, 2, N}, {"avx512-4fmaps", WORD_7_EDX, 3, N}, {"fsrm", WORD_7_EDX, 4, H},
	{"uintr", WORD_7_EDX, 5, N}, {"avx512-vp2intersect", WORD_7_EDX, 8, H}, {"md-clear", WORD_7_EDX, 10, N},
	{"serialize", WORD_7_EDX, 14, H}, {"tsx-ldtrk", WORD_7_EDX, 16, N}, {"pconfig", WORD_7_EDX, 18, N},
	{"arch-lbr", WORD_7_EDX, 19, N}, {"cet-ibt", WORD_7_EDX, 20, N}, {"amx-bf16", WORD_7_EDX, 22, N},
	{"avx512-fp16", WORD_7_EDX, 23, H}, {"amx-tile", WORD_7_EDX, 24, N}, {"amx-int8", WORD_7_EDX, 25, N},
	{"spec-ctrl", WORD_7_EDX, 26, R}, {"stibp", WORD_7_EDX, 27, R}, {"flush-l1d", WORD_7_EDX, 28, R},
	{"arch-capabilities", WORD_7_EDX, 29, R}, {"core-capability", WORD_7_EDX, 30, N}, {"ssbd", WORD_7_EDX, 31, R},

	{"avx-vnni", WORD_71_EAX, 4, H}, {"avx512-bf16", WORD_71_EAX, 5, H}, {"cmpccxadd", WORD_71_EAX, 7, N},
	{"fzrm", WORD_71_EAX, 10, H}, {"fsrs", WORD_71_EAX, 11, H}, {"fsrc", WORD_71_EAX, 12, H},
	{"fred", WORD_71_EAX, 17, N}, {"lkgs", WORD_71_EAX, 18, N}, {"wrmsrns", WORD_71_EAX, 19, N},
	{"amx-fp16", WORD_71_EAX, 21, N}, {"avx-ifma", WORD_71_EAX, 23, N}, {"lam", WORD_71_EAX, 26, N},
	{"bhi-ctrl", WORD_72_EDX, 4, R} /* spares a guest the clearing loop on each system call */,
	{"mcdt-no", WORD_72_EDX, 5, H},

	{"xsaveopt", WORD_D1_EAX, 0, H}, {"xsavec", WORD_D1_EAX, 1, H}, {"xgetbv1", WORD_D1_EAX, 2, H},
	{"xsaves", WORD_D1_EAX, 3, N}, {"xfd", WORD_D1_EAX, 4, N},

	{"lahf-lm", WORD_E1_ECX, 0, H}, {"cmp-legacy", WORD_E1_ECX, 1, N}, {"svm", WORD_E1_ECX, 2, N},
	{"extapic", WORD_E1_ECX, 3, N}, {"cr8legacy", WORD_E1_ECX, 4, N}, {"abm", WORD_E1_ECX, 5, H},
	{"sse4a", WORD_E1_ECX, 6, H}, {"misalignsse", WORD_E1_ECX, 7, H}, {"3dnowprefetch", WORD_E1_ECX, 8, H},
	{"osvw", WORD_E1_ECX, 9, N}, {"ibs", WORD_E1_ECX, 10, N},
	{"xop", WORD_E1_ECX, 11, N}, {"skinit", WORD_E1_ECX, 12, N},
	{"wdt", WORD_E1_ECX, 13, N}, {"lwp", WORD_E1_ECX, 15, N}, {"fma4", WORD_E1_ECX, 16, N}, {"tce", WORD_E1_ECX, 17, N},
	{"nodeid-msr", WORD_E1_ECX, 19, N}, {"tbm", WORD_E1_ECX, 21, N}, {"topoext", WORD_E1_ECX, 22, X} /* AMD's */,
	{"perfctr-core", WORD_E1_ECX, 23, N}, {"perfctr-nb", WORD_E1_ECX, 24, N}, {"monitorx", WORD_E1_ECX, 29, N},

	{"syscall", WORD_E1_EDX, 11, R}, {"nx", WORD_E1_EDX, 20, R}, {"mmxext", WORD_E1_EDX, 22, H},
	{"fxsr-opt", WORD_E1_EDX, 25, N}, {"pdpe1gb", WORD_E1_EDX, 26, R}, {"rdtscp", WORD_E1_EDX, 27, R},
	{"lm", WORD_E1_EDX, 29, R}, {"3dnowext", WORD_E1_EDX, 30, N}, {"3dnow", WORD_E1_EDX, 31, N},

	{"invtsc", WORD_E7_EDX, 8, R},

	{"clzero", WORD_E8_EBX, 0, H}, {"xsaveerptr", WORD_E8_EBX, 2, H}, {"rdpru", WORD_E8_EBX, 4, N},
	{"wbnoinvd", WORD_E8_EBX, 9, H}, {"ibpb", WORD_E8_EBX, 12, N}, {"ibrs", WORD_E8_EBX, 14, N},
	{"amd-stibp", WORD_E8_EBX, 15, N}, {"amd-ssbd", WORD_E8_EBX, 24, N}, {"virt-ssbd", WORD_E8_EBX, 25, N},
	{"amd-no-ssb", WORD_E8_EBX, 26, R},

	{"lfence-always-serializing", WORD_E21_EAX, 2, R}, {"null-sel-clr-base", WORD_E21_EAX, 6, R},
	{"auto-ibrs", WORD_E21_EAX, 8, N}, {"srso-no", WORD_E21_EAX, 29, R},
	{"tsa-sq-no", WORD_E21_ECX, 1, R}, {"tsa-l1-no", WORD_E21_ECX, 2, R},

	{"kvmclock", WORD_KVM, 0, R}, {"kvm-nopiodelay", WORD_KVM, 1, R}, {"kvm-mmu", WORD_KVM, 2, N},
	{"kvmclock", WORD_KVM, 3, R}, // both interfaces go by one name
	{"kvm-asyncpf", WORD_KVM, 4, N}, {"kvm-steal-time", WORD_KVM, 5, N}, {"kvm-pv-eoi", WORD_KVM, 6, N},
	{"kvm-pv-unhalt", WORD_KVM, 7, N}, {"kvm-pv-tlb-flush", WORD_KVM, 9, N}, {"kvm-asyncpf-vmexit", WORD_KVM, 10, N},
	{"kvm-pv-ipi", WORD_KVM, 11, N}, {"kvm-poll-control", WORD_KVM, 12, N}, {"kvm-pv-sched-yield", WORD_KVM, 13, N},
	{"kvm-asyncpf-int", WORD_KVM, 14, N}, {"kvm-msi-ext-dest-id", WORD_KVM, 15, N},
	{"kvmclock-stable-bit", WORD_KVM, 24, R},

	// A guest's user code runs translated, every access checked by the same tables as its kernel's: there is no path
	// by which it reads kernel memory that these attacks could use, and none that the guest's own mitigations
	// (page-table isolation, retpolines, buffer clearing) would close: they act on a processor that is not there.
	// What speculation past an inline check can reach is DESIGN.md's part 6, and the host's to mitigate.
	{"rdctl-no", WORD_ARCH_LOW, 0, R}, {"ibrs-all", WORD_ARCH_LOW, 1, R}, {"rsba", WORD_ARCH_LOW, 2, N},
	{"skip-l1dfl-vmentry", WORD_ARCH_LOW, 3, R}, {"ssb-no", WORD_ARCH_LOW, 4, R}, {"mds-no", WORD_ARCH_LOW, 5, R},
	{"pschange-mc-no", WORD_ARCH_LOW, 6, R}, {"tsx-ctrl", WORD_ARCH_LOW, 7, N}, {"taa-no", WORD_ARCH_LOW, 8, R},
	{"sbdr-ssdp-no", WORD_ARCH_LOW, 13, R}, {"fbsdp-no", WORD_ARCH_LOW, 14, R}, {"psdp-no", WORD_ARCH_LOW, 15, R},
	{"fb-clear", WORD_ARCH_LOW, 17, N}, {"rrsba", WORD_ARCH_LOW, 19, N}, {"bhi-no", WORD_ARCH_LOW, 20, R},
	{"pbrsb-no", WORD_ARCH_LOW, 24, R}, {"gds-no", WORD_ARCH_LOW, 26, R}, {"rfds-no", WORD_ARCH_LOW, 27, R},
	{"its-no", WORD_ARCH_HIGH, 30, R},
};

#undef H
#undef R
#undef N
#undef X

const unsigned cpu_features_count = ARRAY_SIZE(cpu_features);

static const char *const aliases[][2] = {
	{"sse3", "pni"}, {"pclmuldq", "pclmulqdq"}, {"sse4-1", "sse4.1"}, {"sse4-2", "sse4.2"}, {"xd", "nx"},
	{"i64", "lm"}, {"ffxsr", "fxsr-opt"}, {"lahf", "lahf-lm"}, {"lzcnt", "abm"}, {"sha", "sha-ni"},
	{"tsc-deadline-timer", "tsc-deadline"},
};

// A feature (1) is nothing without another (0).
static const char *const depends[][2] = {
	{"xsave", "avx"}, {"xsave", "xsaveopt"}, {"xsave", "xsavec"}, {"xsave", "xgetbv1"}, {"avx", "avx2"}, {"avx", "fma"},
	{"avx", "f16c"}, {"avx", "vaes"}, {"avx", "vpclmulqdq"}, {"avx2", "avx-vnni"}, {"avx2", "avx512f"},
	{"avx512f", "avx512dq"}, {"avx512f", "avx512ifma"}, {"avx512f", "avx512cd"}, {"avx512f", "avx512bw"},
	{"avx512f", "avx512vl"}, {"avx512bw", "avx512vbmi"}, {"avx512bw", "avx512vbmi2"}, {"avx512f", "avx512vnni"},
	{"avx512bw", "avx512bitalg"}, {"avx512f", "avx512-vpopcntdq"}, {"avx512f", "avx512-vp2intersect"},
	{"avx512bw", "avx512-fp16"}, {"avx512bw", "avx512-bf16"}, {"sse", "sse2"}, {"sse2", "pni"}, {"pni", "ssse3"},
	{"ssse3", "sse4.1"}, {"sse4.1", "sse4.2"}, {"sse4.2", "avx"}, {"sse2", "aes"}, {"sse2", "pclmulqdq"},
	{"sse2", "sha-ni"}, {"sse2", "gfni"}, {"fxsr", "sse"}, {"apic", "x2apic"},
	{"apic", "tsc-deadline"}, {"tsc", "tsc-deadline"}, {"tsc", "invtsc"}, {"tsc", "rdtscp"},
	{"pae", "lm"}, {"pae", "nx"},
	{"lm", "pdpe1gb"}, {"lm", "fsgsbase"}, {"lm", "pcid"}, {"hypervisor", "kvmclock"},
	{"kvmclock", "kvmclock-stable-bit"}, {"hypervisor", "kvm-nopiodelay"},
};

static bool same_name(const char *name, const char *given, size_t len)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] != (given[i] == '_' ? '-' : given[i]))
			return false;
	return true;
}

const struct cpu_feature *cpu_feature_find(const char *name, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++)
		if (same_name(aliases[i][0], name, len))
			return cpu_feature_find(aliases[i][1], strlen(aliases[i][1]));
	for (unsigned i = 0; i < cpu_features_count; i++)
		if (same_name(cpu_features[i].name, name, len))
			return &cpu_features[i];
	return NULL;
}

void cpu_bits_host(struct cpu_bits *host)
{
	for (unsigned w = 0; w < CPU_WORDS; w++) {
		const struct cpu_word_place *p = &cpu_words[w];
		uint32_t r[4] = {0};

		if (p->leaf)
			__get_cpuid_count(p->leaf, p->subleaf, &r[CPU_EAX], &r[CPU_EBX], &r[CPU_ECX], &r[CPU_EDX]);
		host->word[w] = r[p->reg];
	}
}

void cpu_bits_offered(struct cpu_bits *offered, const struct cpu_bits *host)
{
	memset(offered, 0, sizeof(*offered));
	for (unsigned i = 0; i < cpu_features_count; i++) {
		const struct cpu_feature *f = &cpu_features[i];

		if (f->provider == BY_RINGER || f->provider == BY_MAX ||
		    (f->provider == BY_HOST && (host->word[f->word] >> f->bit & 1)))
			offered->word[f->word] |= BIT(f->bit);
	}
	cpu_bits_close(offered, NULL, NULL);
}

bool cpu_bits_has(const struct cpu_bits *bits, const char *name)
{
	const struct cpu_feature *f = cpu_feature_find(name, strlen(name));

	return f && (bits->word[f->word] >> f->bit & 1);
}

static bool close_once(struct cpu_bits *bits, const struct cpu_bits *wanted, const char **lost, const char **needs)
{
	bool changed = false;

	for (unsigned i = 0; i < ARRAY_SIZE(depends); i++) {
		const struct cpu_feature *f = cpu_feature_find(depends[i][1], strlen(depends[i][1]));

		if (cpu_bits_has(bits, depends[i][0]) || !cpu_bits_has(bits, f->name))
			continue;
		bits->word[f->word] &= ~BIT(f->bit);
		changed = true;
		if (wanted && !*lost && cpu_bits_has(wanted, f->name)) {
			*lost = f->name;
			*needs = depends[i][0];
		}
	}
	return changed;
}

const char *cpu_bits_close(struct cpu_bits *bits, const struct cpu_bits *wanted, const char **needs)
{
	const char *lost = NULL;

	while (close_once(bits, wanted, &lost, needs))
		;
	return lost;
}
