// SPDX-License-Identifier: MIT
//
// CPUID as the guest sees it: the rows of config.cpuid, made by the app, with what depends on the vCPU's state put in.
// Out-of-range leaves answer as the vendor's processors do: Intel gives the highest basic leaf, AMD zeros.
#include "base/assert.h"
#include "cpu/system.h"

enum { LEAF_KVM = 0x40000000, XSAVE_LEGACY = 512 + 64 };
#define LEAF_EXT 0x80000000u

_Static_assert(X86_FEATURE_COUNT <= 64 * ARRAY_SIZE(((struct vcpu *)0)->features), "feature bitmap too small");

static const struct cpuid_leaf *find_row(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	const struct config *cfg = &v->shared->config;

	for (uint32_t i = 0; i < cfg->cpuid_count && i < CPUID_LEAVES_MAX; i++) {
		const struct cpuid_leaf *row = &cfg->cpuid[i];

		if (row->leaf == leaf && (!row->has_subleaf || row->subleaf == subleaf))
			return row;
	}
	return NULL;
}

static struct cpuid_regs row_regs(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	const struct cpuid_leaf *row = find_row(v, leaf, subleaf);

	return row ? (struct cpuid_regs){row->eax, row->ebx, row->ecx, row->edx} : (struct cpuid_regs){0};
}

static bool in_range(const struct vcpu *v, uint32_t leaf, uint32_t first)
{
	return leaf >= first && leaf <= row_regs(v, first, 0).eax;
}

// Bytes that XSAVE (standard form) or XSAVEC (compacted) writes for the components in mask.
static uint32_t xsave_size(const struct vcpu *v, uint64_t mask, bool compacted)
{
	uint32_t size = XSAVE_LEGACY;

	for (uint32_t i = 2; i < 63; i++) {
		struct cpuid_regs c;

		if (!(mask >> i & 1))
			continue;
		c = row_regs(v, 0xd, i);
		if (!compacted)
			size = MAX(size, c.ebx + c.eax);
		else
			size = (c.ecx & BIT(1) ? (uint32_t)align_up(size, 64) : size) + c.eax;
	}
	return size;
}

static void leaf_features(const struct vcpu *v, struct cpuid_regs *r)
{
	r->ebx = (r->ebx & 0x00ffffff) | v->lapic.id << 24;
	r->ecx &= ~BIT(27);
	if (v->cr4 & CR4_OSXSAVE)
		r->ecx |= BIT(27);
	if (!(v->apic_base & APIC_BASE_ENABLE))
		r->edx &= ~BIT(9);
}

static void leaf_xsave(const struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
	if (subleaf == 0)
		r->ebx = xsave_size(v, v->xcr0, false);
	else if (subleaf == 1 && (r->eax & BIT(1)))
		r->ebx = xsave_size(v, v->xcr0 | v->xss, true);
}

static void leaf_topology(const struct vcpu *v, uint32_t subleaf, struct cpuid_regs *r)
{
	r->ecx = (r->ecx & 0xff00) | (subleaf & 0xff);
	r->edx = v->lapic.id;
}

// AMD's: its place among the cores of its package, and its package for a node of memory.
static void leaf_place(const struct vcpu *v, struct cpuid_regs *r)
{
	const struct topology *t = &v->shared->config.topology;

	r->eax = v->lapic.id;
	r->ebx |= (v->lapic.id & (BIT(topology_package_shift(t)) - 1)) >> topology_core_shift(t);
	r->ecx |= v->lapic.id >> topology_die_shift(t) & 0xff;
}

struct cpuid_regs cpuid_query(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	if (!in_range(v, leaf, 0) && !in_range(v, leaf, LEAF_KVM) && !in_range(v, leaf, LEAF_EXT)) {
		if (v->amd)
			return (struct cpuid_regs){0};
		leaf = row_regs(v, 0, 0).eax;
	}
	r = row_regs(v, leaf, subleaf);
	switch (leaf) {
	case 0:
		if (v->misc_enable & MISC_ENABLE_LIMIT_CPUID)
			r.eax = MIN(r.eax, 2);
		break;
	case 1: leaf_features(v, &r); break;
	case 7:
		if (!subleaf && v->cr4 & CR4_PKE)
			r.ecx |= BIT(4); // OSPKE
		break;
	case 0xb:
	case 0x1f: leaf_topology(v, subleaf, &r); break;
	case 0xd: leaf_xsave(v, subleaf, &r); break;
	case 0x8000001eu: leaf_place(v, &r); break;
	case 0x80000001u:
		if (v->misc_enable & MISC_ENABLE_XD_DISABLE)
			r.edx &= ~BIT(20);
		break;
	}
	return r;
}

static uint32_t pick(struct cpuid_regs r, enum x86_cpuid_reg reg)
{
	switch (reg) {
	case X86_CPUID_EAX: return r.eax;
	case X86_CPUID_EBX: return r.ebx;
	case X86_CPUID_ECX: return r.ecx;
	case X86_CPUID_EDX: return r.edx;
	}
	NOT_REACHED();
}

static bool offers(const struct vcpu *v, const struct x86_cpuid_bit *bits, unsigned n)
{
	for (unsigned i = 0; i < n && bits[i].leaf; i++) {
		uint32_t first = bits[i].leaf & 0xf0000000; // a leaf that is out of range offers nothing

		if (!in_range(v, bits[i].leaf, first))
			return false;
		if (!(pick(cpuid_query(v, bits[i].leaf, bits[i].subleaf), bits[i].reg) >> bits[i].bit & 1))
			return false;
	}
	return true;
}

static const struct {
	uint16_t feature;
	uint32_t cr4;
} cr4_bits[] = {
	{X86_FEATURE_VME, CR4_VME | CR4_PVI}, {X86_FEATURE_TSC, CR4_TSD}, {X86_FEATURE_DE, CR4_DE},
	{X86_FEATURE_PSE, CR4_PSE}, {X86_FEATURE_PAE, CR4_PAE}, {X86_FEATURE_MCE, CR4_MCE}, {X86_FEATURE_PGE, CR4_PGE},
	{X86_FEATURE_MSR, CR4_PCE}, {X86_FEATURE_FXSR, CR4_OSFXSR}, {X86_FEATURE_SSE, CR4_OSXMMEXCPT},
	{X86_FEATURE_UMIP, CR4_UMIP}, {X86_FEATURE_FSGSBASE, CR4_FSGSBASE}, {X86_FEATURE_PCID, CR4_PCIDE},
	{X86_FEATURE_XSAVE, CR4_OSXSAVE}, {X86_FEATURE_SMEP, CR4_SMEP}, {X86_FEATURE_SMAP, CR4_SMAP},
	{X86_FEATURE_PKU, CR4_PKE}, {X86_FEATURE_PKS, CR4_PKS}, {X86_FEATURE_LA57, CR4_LA57},
};

static uint64_t cr4_valid(const struct vcpu *v)
{
	uint64_t valid = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++)
		if (cpuid_has(v, cr4_bits[i].feature))
			valid |= cr4_bits[i].cr4;
	return valid;
}

static uint64_t efer_valid(const struct vcpu *v)
{
	return (cpuid_has(v, X86_FEATURE_SYSCALL) ? EFER_SCE : 0) | (cpuid_has(v, X86_FEATURE_NX) ? EFER_NXE : 0) |
	       (cpuid_has(v, X86_FEATURE_LM) ? EFER_LME | EFER_LMA : 0);
}

void cpuid_refresh(struct vcpu *v)
{
	struct cpuid_regs vendor = row_regs(v, 0, 0), xsave = row_regs(v, 0xd, 0);
	bool size_known = in_range(v, 0x80000008u, LEAF_EXT);

	v->amd = vendor.ebx == 0x68747541 || vendor.ebx == 0x6f677948; // "Auth", "Hygo"
	for (unsigned i = 0; i < ARRAY_SIZE(v->features); i++)
		v->features[i] = 0;
	for (unsigned f = 0; f < X86_FEATURE_COUNT; f++)
		if (offers(v, x86_feature_bits[f], ARRAY_SIZE(x86_feature_bits[f])))
			v->features[f / 64] |= BIT64(f % 64);
	v->phys_bits = size_known ? (uint8_t)row_regs(v, 0x80000008u, 0).eax : 36;
	v->cr4_valid = cr4_valid(v);
	v->efer_valid = efer_valid(v);
	v->xcr0_valid = cpuid_has(v, X86_FEATURE_XSAVE) ? (uint64_t)xsave.edx << 32 | xsave.eax : 0;
}
