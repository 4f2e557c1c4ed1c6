// SPDX-License-Identifier: MIT
//
// CPU models: what `host` offers on this host, what options do, what bad specs say, and qemu64's exact values. With an
// argument it prints the rows of that model, for looking.
#include "base/assert.h"
#include "machine/cpu_features.h"
#include "machine/cpu_model.h"
#include "machine/cpu_named.h"
#include <stdlib.h>
#include <string.h>

static int failures;
static struct shared shared;
static char err[256];
#define CHECK(x) ((x) ? (void)0 : (void)(failures++, fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x)))

void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

static struct topology topology = {1, 1, 1, 1, 1};

static int build(const char *spec)
{
	struct config *cfg = &shared.config;

	memset(cfg, 0, sizeof(*cfg));
	cfg->tsc_hz = 2599998000;
	err[0] = 0;
	return cpu_model_build(spec, &topology, cfg, err, sizeof(err));
}

static struct cpuid_leaf row(uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < shared.config.cpuid_count; i++) {
		struct cpuid_leaf r = shared.config.cpuid[i];

		if (r.leaf == leaf && (!r.has_subleaf || r.subleaf == subleaf))
			return r;
	}
	return (struct cpuid_leaf){0};
}

static void test_host(void)
{
	uint64_t said;

	CHECK(!build("host") && !err[0]);
	CHECK(row(0, 0).eax >= 0x16);
	CHECK(row(1, 0).ecx & BIT(31) && row(1, 0).ecx & BIT(21) && row(1, 0).ecx & BIT(24)); // hypervisor x2apic deadline
	CHECK(!(row(1, 0).ecx & (BIT(5) | BIT(3) | BIT(27)))); // no VMX, MONITOR; OSXSAVE is the monitor's
	CHECK(!(row(7, 0).ebx & (BIT(4) | BIT(11) | BIT(2) | BIT(14)))); // HLE RTM SGX MPX
	CHECK(!(row(7, 0).ecx & (BIT(3) | BIT(5) | BIT(16) | BIT(31)))); // PKU WAITPKG LA57 PKS
	CHECK(!(row(7, 0).edx & (BIT(22) | BIT(24) | BIT(25))));         // AMX
	CHECK(!(row(0xd, 1).eax & BIT(3)));                              // XSAVES
	CHECK(row(0x80000007, 0).edx == BIT(8));
	CHECK(row(0x40000000, 0).ebx == 0x4b4d564b);
	CHECK(row(0x40000001, 0).eax == (BIT(0) | BIT(1) | BIT(3) | BIT(24)));
	CHECK(row(0x40000010, 0).eax == 2599998);
	CHECK(shared.config.arch_capabilities & 1);
	said = (uint64_t)row(0x15, 0).ecx * row(0x15, 0).ebx / row(0x15, 0).eax;
	CHECK(said > 2599998000 - 2600 && said < 2599998000 + 2600);
	CHECK((uint64_t)(row(0x15, 0).ecx / 1000) * row(0x15, 0).ebx <= UINT32_MAX);
	if (shared.config.host_xcr0 == 0xe7)
		CHECK(row(0xd, 0).ecx == row(0xd, 7).ebx + row(0xd, 7).eax);
	CHECK(!build("max"));
}

static void test_options(void)
{
	CHECK(!build("host,-avx2"));
	CHECK(!(row(7, 0).ebx & (BIT(5) | BIT(16) | BIT(31)))); // and AVX-512 with it
	CHECK(shared.config.host_xcr0 == 7 && row(0xd, 0).eax == 7);
	CHECK(!build("host,-xsave"));
	CHECK(shared.config.host_xcr0 == 3 && !row(0xd, 0).eax && !(row(1, 0).ecx & BIT(28)));
	CHECK(!build("host,sse4_2=off,smap=off,-arch-capabilities"));
	CHECK(!(row(1, 0).ecx & BIT(20)) && !(row(7, 0).ebx & BIT(20)) && !shared.config.arch_capabilities);
	CHECK(!build("host,kvm=off"));
	CHECK(!row(0x40000000, 0).eax && row(1, 0).ecx & BIT(31));
	CHECK(!build("host,-kvmclock,-kvmclock-stable-bit"));
	CHECK(row(0x40000001, 0).eax == BIT(1));
	CHECK(!build("host,vendor=AuthenticAMD,family=25,model=0x21,stepping=3,level=0xd,model-id=My CPU,phys-bits=40"));
	CHECK(row(0, 0).ebx == 0x68747541 && row(0, 0).eax == 0xd && !row(0x15, 0).eax);
	CHECK(row(1, 0).eax == 0x00a20f13);
	CHECK(row(0x80000002, 0).eax == 0x4320794d && row(0x80000008, 0).eax == (48 << 8 | 40));
	CHECK(!build("host,-vmx,check,enforce,migratable=off,pmu=off,host-phys-bits=on"));
}

static void test_bad(void)
{
	static const char *const bad[][2] = {
		{"foo", "foo"}, {"", "unknown CPU model"}, {"host,+foo", "foo"}, {"host,foo=on", "foo"}, {"host,+vmx", "vmx"},
		{"host,+amx-tile", "amx-tile"}, {"host,smap=maybe", "maybe"}, {"host,vendor=x", "vendor=x"},
		{"host,family=9999", "family"}, {"host,level=", "level"}, {"host,-avx,+avx2", "avx"}, {"host,pmu=fast", "pmu"},
		{"hostx", "hostx"}, {"host,+xsaves", "xsaves"}, {"host,=on", "feature"}, {"host,+", "feature"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(build(bad[i][0]) < 0);
		if (!strstr(err, bad[i][1]))
			CHECK(!fprintf(stderr, "%s: %s\n", bad[i][0], err));
		CHECK(!strchr(err, '\n'));
	}
}

static void test_qemu64(void)
{
	CHECK(!build("qemu64"));
	CHECK(row(1, 0).eax == 0x00060fb1);
	CHECK(row(1, 0).ebx == 0x800);
	CHECK(row(1, 0).edx == 0x078bfbfd);
	CHECK(row(1, 0).ecx == 0x80202001);
	CHECK(row(7, 0).ebx == 0 && row(7, 0).ecx == 0 && row(7, 0).edx == 0);
	CHECK(row(0x80000000, 0).eax == 0x8000000a);
	CHECK(row(0x80000001, 0).ecx == 1);
	CHECK(row(0x80000001, 0).edx == 0x2193fbfd);
	CHECK(row(2, 0).eax == 0 && row(4, 0).eax == 0);
	CHECK(row(0x80000006, 0).ecx == 0x02008140);
	CHECK(!strncmp((char *)&(uint32_t){row(0x80000002, 0).eax}, "QEMU", 4));
	CHECK(!shared.config.arch_capabilities && shared.config.host_xcr0 == 3);
	CHECK(!build("qemu64,+avx2,+avx,+xsave,+popcnt,+sse4.2,+sse4.1,+ssse3"));
	CHECK(row(7, 0).ebx == BIT(5));
	CHECK(shared.config.host_xcr0 == 7);
}

// Two packages of three cores of two threads: 1 bit for threads, 2 for cores.
static void test_topology(void)
{
	static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};

	topology = (struct topology){2, 1, 3, 2, 12};
	CHECK(!build("host,vendor=GenuineIntel"));
	CHECK((row(1, 0).ebx >> 16 & 0xff) == 6 && row(1, 0).edx & BIT(28));
	CHECK(row(0xb, 0).eax == 1 && row(0xb, 0).ebx == 2 && row(0xb, 0).ecx == 0x100);
	CHECK(row(0xb, 1).eax == 3 && row(0xb, 1).ebx == 6 && row(0xb, 1).ecx == 0x201);
	if (row(4, 0).eax)
		CHECK((row(4, 0).eax >> 14 & 0xfff) == 1 && row(4, 0).eax >> 26 == 3);
	for (uint32_t i = 0; i < ARRAY_SIZE(ids); i++)
		CHECK(topology_apic_id(&topology, i) == ids[i]);
	CHECK(!build("host,vendor=AuthenticAMD,xlevel=0x80000021,+topoext"));
	CHECK(row(0x80000008, 0).ecx == (3 << 12 | 5) && row(0x8000001e, 0).ebx == 0x100);
	CHECK(!build("host")); // on AMD's hosts caches and threads are told like this, or not at all
	if (row(0, 0).ebx == 0x68747541 && row(0x80000001, 0).ecx & BIT(22))
		CHECK(row(0x8000001d, 3).eax >> 14 == 5 && row(0x8000001e, 0).ebx == 0x100);
	topology = (struct topology){1, 2, 2, 1, 4};
	CHECK(!build("host,vendor=GenuineIntel,level=0x1f"));
	CHECK(row(0x1f, 1).eax == 1 && row(0x1f, 1).ebx == 2 && row(0x1f, 2).eax == 2 && row(0x1f, 2).ecx == 0x502);
	topology = (struct topology){1, 1, 1, 1, 1};
}

static void test_pmu(void)
{
	CHECK(!build("host,vendor=GenuineIntel") && !row(0xa, 0).eax && shared.config.pmu == PMU_NONE);
	CHECK(!build("host,vendor=GenuineIntel,pmu=on") && shared.config.pmu == PMU_RUN);
	CHECK(row(0xa, 0).eax == 0x07300402 && row(0xa, 0).ebx == 0x78 && row(0xa, 0).edx == (48 << 5 | 3));
	CHECK(!build("host,vendor=AuthenticAMD,pmu=stop") && shared.config.pmu == PMU_STOP && !row(0xa, 0).eax);
}

static void test_table(void)
{
	for (unsigned i = 0; i < cpu_features_count; i++)
		for (unsigned k = i + 1; k < cpu_features_count; k++)
			CHECK(cpu_features[i].word != cpu_features[k].word || cpu_features[i].bit != cpu_features[k].bit);
}

static int print_rows(const char *spec)
{
	if (build(spec)) {
		fprintf(stderr, "%s\n", err);
		return 1;
	}
	for (uint32_t i = 0; i < shared.config.cpuid_count; i++) {
		const struct cpuid_leaf *r = &shared.config.cpuid[i];

		printf("%08x.%x %08x %08x %08x %08x\n", r->leaf, r->subleaf, r->eax, r->ebx, r->ecx, r->edx);
	}
	return 0;
}

// Every named model can be had; one without anything missing has just what its row says; enforce refuses the others.
static void test_named(void)
{
	char spec[80];

	for (unsigned i = 0; i < cpu_named_count; i++) {
		snprintf(spec, sizeof(spec), "%s,check=off", cpu_named[i].name);
		CHECK(!build(spec));
	}
	CHECK(!build("Nehalem"));
	CHECK(row(0, 0).ebx == 0x756e6547 && row(1, 0).eax == 0x106a3);
	CHECK(row(1, 0).ecx & BIT(20) && !(row(1, 0).ecx & BIT(28))); // SSE4.2, no AVX
	CHECK(!build("Nehalem-v2"));
	CHECK(row(7, 0).edx & BIT(26));
	CHECK(build("Skylake-Client,enforce") && strstr(err, "hle"));
	CHECK(!build("Skylake-Client,hle=off,rtm=off,enforce"));
	CHECK(build("Skylake-Client-v9") && strstr(err, "Skylake-Client-v9"));
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "help")) {
		cpu_model_help(stdout);
		return 0;
	}
	if (argc > 1)
		return print_rows(argv[1]);
	test_topology();
	test_pmu();
	test_table();
	test_host();
	test_options();
	test_bad();
	test_qemu64();
	test_named();
	return failures != 0;
}
