// SPDX-License-Identifier: MIT
//
// CPUID rows out of a CPU model. What depends on the vCPU's state (APIC ID, OSXSAVE, XSAVE sizes in use) is put in by
// the monitor's cpu/cpuid.c; leaves without a row read as zeros.
#include "machine/cpu_rows.h"
#include "base/assert.h"
#include <cpuid.h>
#include <string.h>

enum { TOPOEXT = BIT(22) }; // of WORD_E1_ECX: AMD's
enum { APIC_HZ = 1000000000 }; // cpu/lapic.h: the timer's tick is 1 ns

struct rows {
	const struct cpu_model *m;
	struct config *cfg;
};

struct cpu_regs cpu_regs_host(uint32_t leaf, uint32_t subleaf)
{
	struct cpu_regs r = {0};

	__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
	return r;
}

uint64_t cpu_xcr0_host(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static struct cpuid_leaf *add_row(const struct rows *r, uint32_t leaf, struct cpu_regs v)
{
	struct config *cfg = r->cfg;
	struct cpuid_leaf *row = &cfg->cpuid[cfg->cpuid_count++];

	ASSERT(cfg->cpuid_count <= CPUID_LEAVES_MAX);
	*row = (struct cpuid_leaf){.leaf = leaf, .eax = v.eax, .ebx = v.ebx, .ecx = v.ecx, .edx = v.edx};
	return row;
}

static void add(const struct rows *r, uint32_t leaf, struct cpu_regs v)
{
	if (leaf <= (leaf >= 0x80000000 ? r->m->xlevel : r->m->level))
		add_row(r, leaf, v);
}

static void add_sub(const struct rows *r, uint32_t leaf, uint32_t subleaf, struct cpu_regs v)
{
	struct cpuid_leaf *row;

	if (leaf > r->m->level)
		return;
	row = add_row(r, leaf, v);
	row->has_subleaf = true;
	row->subleaf = subleaf;
}

static uint32_t word(const struct rows *r, enum cpu_word w)
{
	return r->m->bits.word[w];
}

static uint32_t four(const char *s)
{
	uint32_t x;

	memcpy(&x, s, 4);
	return x;
}

static void identity(const struct rows *r)
{
	const struct cpu_model *m = r->m;
	uint32_t n = topology_per_package(&m->topology), edx = word(r, WORD_1_EDX) | (n > 1 ? BIT(28) : 0);

	add(r, 0, (struct cpu_regs){m->level, four(m->vendor), four(m->vendor + 8), four(m->vendor + 4)});
	add(r, 1, (struct cpu_regs){m->signature, 8 << 8 | (n > 1 ? n << 16 : 0), word(r, WORD_1_ECX), edx});
}

// Deterministic cache parameters of the host, with this machine's counts of who shares them: APIC IDs there are.
static void caches_host(const struct rows *r)
{
	const struct topology *t = &r->m->topology;
	uint32_t threads = BIT(topology_core_shift(t)) - 1, die = BIT(topology_die_shift(t)) - 1;
	uint32_t cores = BIT(topology_package_shift(t) - topology_core_shift(t)) - 1;

	if (!r->m->host_caches || r->m->amd) // AMD's stand in leaves 0x8000_0005 and 6
		return;
	add(r, 2, cpu_regs_host(2, 0));
	for (uint32_t i = 0; i < 8; i++) {
		struct cpu_regs c = cpu_regs_host(4, i);
		uint32_t sharing = (c.eax >> 5 & 7) >= 3 ? die : threads;

		if (!(c.eax & 0x1f))
			break;
		c.eax = (c.eax & 0x3fff) | sharing << 14 | cores << 26;
		add_sub(r, 4, i, c);
	}
}

enum level_type { LEVEL_THREADS = 1, LEVEL_CORES = 2, LEVEL_DIES = 5 };

static void level(const struct rows *r, uint32_t leaf, uint32_t n, enum level_type type, uint32_t shift, uint32_t count)
{
	add_sub(r, leaf, n, (struct cpu_regs){shift, count, (uint32_t)type << 8 | n, 0});
}

// Leaf 0xb knows threads and cores, 0x1f dies too.
static void topology(const struct rows *r)
{
	const struct topology *t = &r->m->topology;
	uint32_t package = topology_package_shift(t), all = topology_per_package(t), dies = t->dies > 1;

	level(r, 0xb, 0, LEVEL_THREADS, topology_core_shift(t), t->threads);
	level(r, 0xb, 1, LEVEL_CORES, package, all);
	level(r, 0x1f, 0, LEVEL_THREADS, topology_core_shift(t), t->threads);
	level(r, 0x1f, 1, LEVEL_CORES, topology_die_shift(t), t->cores * t->threads);
	if (dies)
		level(r, 0x1f, 2, LEVEL_DIES, package, all);
}

// AMD's: who shares the host's caches, as leaf 4; and the place of a processor, which the monitor puts in.
static void topology_extensions(const struct rows *r)
{
	const struct topology *t = &r->m->topology;

	if (!cpu_bits_has(&r->m->bits, "topoext") || !r->m->amd)
		return;
	for (uint32_t i = 0; i < 8 && r->m->host_caches; i++) {
		struct cpu_regs c = cpu_regs_host(0x8000001d, i);
		uint32_t sharing = (c.eax >> 5 & 7) >= 3 ? t->cores * t->threads : t->threads;
		struct cpuid_leaf *row;

		if (!(c.eax & 0x1f))
			break;
		c.eax = (c.eax & 0x3fff) | (sharing - 1) << 14;
		row = add_row(r, 0x8000001d, c);
		row->has_subleaf = true;
		row->subleaf = i;
	}
	add(r, 0x8000001e, (struct cpu_regs){0, (t->threads - 1) << 8, (t->dies - 1) << 8, 0});
}

static void features(const struct rows *r)
{
	bool has72 = word(r, WORD_72_EDX), has71 = word(r, WORD_71_EAX) || has72;

	add(r, 6, (struct cpu_regs){word(r, WORD_6_EAX), 0, 0, 0});
	add_sub(r, 7, 0, (struct cpu_regs){has72 ? 2 : has71, word(r, WORD_7_EBX), word(r, WORD_7_ECX),
					   word(r, WORD_7_EDX)});
	if (has71)
		add_sub(r, 7, 1, (struct cpu_regs){word(r, WORD_71_EAX), 0, 0, 0});
	if (has72)
		add_sub(r, 7, 2, (struct cpu_regs){0, 0, 0, word(r, WORD_72_EDX)});
}

// Version 2, without the events that nothing counts: the last-level cache's and branches (cpu/pmu.c).
static void performance(const struct rows *r)
{
	enum { VERSION = 2, GENERAL = 4, FIXED = 3, WIDTH = 48, EVENTS = 7, MISSING = 0x78 };

	if (r->m->pmu != PMU_NONE && !r->m->amd)
		add(r, 0xa, (struct cpu_regs){EVENTS << 24 | WIDTH << 16 | GENERAL << 8 | VERSION, MISSING, 0,
					      WIDTH << 5 | FIXED});
}

// Offsets and sizes of state components are the host's, which executes the XSAVE family.
static void xsave(const struct rows *r)
{
	uint64_t mask = XCR0_X87 | XCR0_SSE;
	uint32_t size = 512 + 64;

	r->cfg->host_xcr0 = mask; // FXSAVE's, even where there is no XSAVE
	if (!cpu_bits_has(&r->m->bits, "xsave"))
		return;
	if (cpu_bits_has(&r->m->bits, "avx"))
		mask |= XCR0_AVX_ALL;
	if (cpu_bits_has(&r->m->bits, "avx512f"))
		mask |= XCR0_AVX512_ALL;
	r->cfg->host_xcr0 = mask;
	for (uint32_t i = 2; i < 8; i++) {
		struct cpu_regs c = cpu_regs_host(0xd, i);

		if (!(mask >> i & 1))
			continue;
		size = MAX(size, c.ebx + c.eax);
		add_sub(r, 0xd, i, (struct cpu_regs){c.eax, c.ebx, c.ecx & BIT(1), 0});
	}
	add_sub(r, 0xd, 0, (struct cpu_regs){(uint32_t)mask, 512 + 64, size, 0});
	add_sub(r, 0xd, 1, (struct cpu_regs){word(r, WORD_D1_EAX), 0, 0, 0});
}

// Leaf 0x15 says TSC = crystal * EBX / EAX. Readers compute crystal_khz * EBX in 32 bits, which bounds EBX; within the
// bound take the fraction nearest to the truth (better than one part in a million).
static void tsc(const struct rows *r)
{
	uint64_t hz = r->cfg->tsc_hz, best_error = UINT64_MAX;
	struct cpu_regs v = {1, 1, APIC_HZ, 0};

	for (uint64_t den = 1; den * hz / 1000 <= UINT32_MAX; den++) {
		uint64_t num = (den * hz + APIC_HZ / 2) / APIC_HZ, said = num * APIC_HZ / den;
		uint64_t error = said > hz ? said - hz : hz - said;

		if (num * (APIC_HZ / 1000) > UINT32_MAX || error >= best_error)
			continue;
		best_error = error;
		v.eax = (uint32_t)den;
		v.ebx = (uint32_t)num;
	}
	if (v.ebx)
		add(r, 0x15, v);
	add(r, 0x16, (struct cpu_regs){(uint32_t)((hz + 500000) / 1000000), (uint32_t)((hz + 500000) / 1000000), 100, 0});
}

static void hypervisor(const struct rows *r)
{
	if (!cpu_bits_has(&r->m->bits, "hypervisor") || r->m->hide_kvm)
		return;
	add_row(r, 0x40000000, (struct cpu_regs){0x40000010, four("KVMK"), four("VMKV"), four("M\0\0")});
	add_row(r, 0x40000001, (struct cpu_regs){word(r, WORD_KVM), 0, 0, 0});
	add_row(r, 0x40000010, (struct cpu_regs){(uint32_t)(r->cfg->tsc_hz / 1000), APIC_HZ / 1000, 0, 0});
}

static void extended(const struct rows *r)
{
	uint32_t linear = cpu_bits_has(&r->m->bits, "la57") ? 57 : 48;
	const struct cpu_model *m = r->m;
	uint32_t n = topology_per_package(&m->topology);
	uint32_t edx = word(r, WORD_E1_EDX), cores = m->amd ? topology_package_shift(&m->topology) << 12 | (n - 1) : 0;
	uint32_t ecx = word(r, WORD_E1_ECX) & ~(m->amd ? 0 : TOPOEXT);
	struct cpu_regs l1 = cpu_regs_host(0x80000005, 0), l2 = cpu_regs_host(0x80000006, 0);

	if (m->amd)
		edx |= word(r, WORD_1_EDX) & 0x0183f3ff; // AMD repeats these here
	if (!m->host_caches) { // QEMU's: 64 KiB, 64 KiB, 512 KiB, 16 MiB
		l1 = (struct cpu_regs){0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140};
		l2 = (struct cpu_regs){0, 0x42004200, 0x02008140, 0x00808140};
	}
	add(r, 0x80000000, (struct cpu_regs){m->xlevel, m->amd ? four(m->vendor) : 0, m->amd ? four(m->vendor + 8) : 0,
					     m->amd ? four(m->vendor + 4) : 0});
	add(r, 0x80000001, (struct cpu_regs){m->amd ? m->signature : 0, 0,
					     ecx | (m->amd && n > 1 ? BIT(1) : 0), edx});
	for (uint32_t i = 0; i < 3; i++)
		add(r, 0x80000002 + i, (struct cpu_regs){four(m->brand + 16 * i), four(m->brand + 16 * i + 4),
							 four(m->brand + 16 * i + 8), four(m->brand + 16 * i + 12)});
	add(r, 0x80000005, l1);
	add(r, 0x80000006, l2);
	add(r, 0x80000007, (struct cpu_regs){0, 0, 0, word(r, WORD_E7_EDX)});
	add(r, 0x80000008, (struct cpu_regs){m->phys_bits | linear << 8, word(r, WORD_E8_EBX), cores, 0});
	add(r, 0x80000021, (struct cpu_regs){word(r, WORD_E21_EAX), 0, word(r, WORD_E21_ECX), 0});
}

void cpu_rows_make(const struct cpu_model *m, struct config *cfg)
{
	const struct rows r = {m, cfg};

	memset(cfg->cpuid, 0, sizeof(cfg->cpuid));
	cfg->cpuid_count = 0;
	identity(&r);
	caches_host(&r);
	performance(&r);
	features(&r);
	topology(&r);
	topology_extensions(&r);
	xsave(&r);
	tsc(&r);
	hypervisor(&r);
	extended(&r);
	cfg->pmu = m->pmu;
	cfg->arch_capabilities = 0;
	if (cpu_bits_has(&m->bits, "arch-capabilities"))
		cfg->arch_capabilities = (uint64_t)word(&r, WORD_ARCH_HIGH) << 32 | word(&r, WORD_ARCH_LOW);
}
