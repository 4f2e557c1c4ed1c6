// SPDX-License-Identifier: MIT
//
// MSRs, CPUID's state-dependent parts, reset state and kvmclock, on a vCPU outside any monitor.
#include "cpu_harness.h"
#include "mem/zone.h"
#include <sys/mman.h>

static struct sys_result res;

static bool wr(uint32_t msr, uint64_t value)
{
	res = (struct sys_result){0};
	return msr_write(test_vcpu, msr, value, &res);
}

static uint64_t rd(uint32_t msr)
{
	uint64_t value = 0;

	CHECK(msr_read(test_vcpu, msr, &value));
	return value;
}

static bool absent(uint32_t msr)
{
	uint64_t value;

	return !msr_read(test_vcpu, msr, &value) && !wr(msr, 0);
}

static void test_stored(void)
{
	static const uint32_t stored[] = {MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_FMASK, MSR_FS_BASE, MSR_GS_BASE,
		MSR_KERNEL_GS_BASE, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_TSC_AUX};

	for (unsigned i = 0; i < ARRAY_SIZE(stored); i++) {
		CHECK(wr(stored[i], 0x12345600 + i));
		CHECK_EQ(rd(stored[i]), 0x12345600 + i);
	}
	CHECK_EQ(test_vcpu->seg[X86_FS].base, 0x12345604);
	CHECK_EQ(test_vcpu->seg[X86_GS].base, 0x12345605);
	CHECK(!wr(MSR_LSTAR, 0x800000000000));
	CHECK(wr(MSR_LSTAR, 0xffff800000000000));
	CHECK(!wr(MSR_FS_BASE, 0x8000000000000000));
	CHECK(!wr(MSR_TSC_AUX, UINT64_C(1) << 32));
	CHECK(!wr(MSR_FMASK, UINT64_C(1) << 32));
}

static void test_efer(void)
{
	CHECK(wr(MSR_EFER, EFER_SCE | EFER_NXE | EFER_LME));
	CHECK(wr(MSR_EFER, EFER_SCE | EFER_NXE | EFER_LME | EFER_LMA));
	CHECK_EQ(rd(MSR_EFER), EFER_SCE | EFER_NXE | EFER_LME); // LMA is not writable
	CHECK(!wr(MSR_EFER, EFER_SVME));
	CHECK(!wr(MSR_EFER, BIT(1)));
	test_vcpu->cr0 |= CR0_PG;
	CHECK(!wr(MSR_EFER, 0));
	CHECK(wr(MSR_EFER, EFER_LME));
	test_vcpu->cr0 &= ~(uint64_t)CR0_PG;
	CHECK(wr(MSR_EFER, 0));
}

static void test_memory_types(void)
{
	CHECK_EQ(rd(MSR_PAT), 0x0007040600070406);
	CHECK(wr(MSR_PAT, 0x0007010600070106));
	CHECK(!wr(MSR_PAT, 2));
	CHECK(!wr(MSR_PAT, 8));
	CHECK_EQ(rd(MSR_MTRRCAP), 0x508);
	CHECK(!wr(MSR_MTRRCAP, 0x508));
	CHECK(wr(0x200, 0xc0000006));
	CHECK(!wr(0x200, 0xc0000007));
	CHECK(!wr(0x200, UINT64_C(1) << 48));
	CHECK(wr(0x201, 0xffffc0000800));
	CHECK(!wr(0x201, 0xffffc0000801));
	CHECK(wr(0x20f, 0) && absent(0x210));
	CHECK(wr(0x26f, 0x0505050505050505) && absent(0x270));
	CHECK_EQ(test_vcpu->mtrr_fixed[10], 0x0505050505050505);
	CHECK(!wr(0x259, 7));
	CHECK(wr(MSR_MTRR_DEF_TYPE, 0xc06));
	CHECK(!wr(MSR_MTRR_DEF_TYPE, 0x1c06));
}

static void test_controls(void)
{
	CHECK(wr(MSR_SPEC_CTRL, 1) && rd(MSR_SPEC_CTRL) == 1);
	CHECK(!wr(MSR_SPEC_CTRL, 8));
	CHECK(wr(MSR_PRED_CMD, 1));
	CHECK(!wr(MSR_PRED_CMD, 2));
	CHECK(!msr_read(test_vcpu, MSR_PRED_CMD, &(uint64_t){0}));
	CHECK_EQ(rd(MSR_ARCH_CAPABILITIES), 0x1234);
	CHECK(!wr(MSR_ARCH_CAPABILITIES, 0));
	CHECK(absent(MSR_XSS));
	CHECK(absent(MSR_FEATURE_CONTROL));
	CHECK(absent(0xce));
	CHECK(absent(MSR_HWCR)); // AMD's
	CHECK(absent(0xdeadbeef));
	CHECK_EQ(rd(MSR_MCG_CAP), 0);
	CHECK(cpuid_has(test_vcpu, X86_FEATURE_NX));
	CHECK(wr(MSR_MISC_ENABLE, rd(MSR_MISC_ENABLE) | MISC_ENABLE_XD_DISABLE));
	CHECK(!cpuid_has(test_vcpu, X86_FEATURE_NX));
	CHECK(!wr(MSR_EFER, EFER_NXE));
	CHECK(wr(MSR_MISC_ENABLE, rd(MSR_MISC_ENABLE) & ~MISC_ENABLE_XD_DISABLE));
	CHECK(!wr(MSR_MISC_ENABLE, rd(MSR_MISC_ENABLE) ^ MISC_ENABLE_BTS_UNAVAILABLE));
}

static void test_tsc(void)
{
	uint64_t before = rd(MSR_TSC);

	CHECK(before < UINT64_C(1) << 40); // started at 0 at reset
	CHECK(wr(MSR_TSC, UINT64_C(1) << 50));
	CHECK(rd(MSR_TSC) - (UINT64_C(1) << 50) < 1000000000);
	CHECK(rd(MSR_TSC_ADJUST) > (UINT64_C(1) << 50) - (UINT64_C(1) << 41));
	CHECK(wr(MSR_TSC_ADJUST, 0));
	CHECK(rd(MSR_TSC) < UINT64_C(1) << 41);
}

static void test_x2apic(void)
{
	CHECK(absent(0x808));
	CHECK(wr(MSR_APIC_BASE, rd(MSR_APIC_BASE) | APIC_BASE_X2APIC));
	CHECK(wr(0x80f, 0x1ff));
	CHECK(wr(0x83f, 0x55));
	CHECK_EQ(rd(0x808), 0);
	CHECK_EQ(lapic_ack(test_vcpu), 0x55);
	CHECK(wr(0x80b, 0));
}

static void test_cpuid(void)
{
	struct vcpu *v = test_vcpu;

	CHECK_EQ(cpuid_query(v, 5000, 0).eax, cpuid_query(v, 0xd, 0).eax);
	CHECK_EQ(cpuid_query(v, 0xb, 1).ecx, 0x201);
	CHECK_EQ(cpuid_query(v, 0xb, 7).ecx, 7);
	CHECK(!(cpuid_query(v, 1, 0).ecx & BIT(27)));
	v->cr4 |= CR4_OSXSAVE;
	CHECK(cpuid_query(v, 1, 0).ecx & BIT(27));
	CHECK_EQ(cpuid_query(v, 0xd, 0).ebx, 0x240);
	v->xcr0 = 0xe7;
	CHECK_EQ(cpuid_query(v, 0xd, 0).ebx, 0xa80);
	CHECK_EQ(cpuid_query(v, 0xd, 1).ebx, 0x980);
	CHECK(cpuid_has(v, X86_FEATURE_NONE) && cpuid_has(v, X86_FEATURE_AVX512F_VL));
	CHECK(!cpuid_has(v, X86_FEATURE_VMX) && !cpuid_has(v, X86_FEATURE_XOP));
	CHECK_EQ(v->xcr0_valid, 0xe7);
	CHECK(v->cr4_valid & CR4_SMEP);
	CHECK(!(v->cr4_valid & CR4_LA57));
	CHECK_EQ(v->phys_bits, 48);
}

static void test_reset(void)
{
	struct vcpu *v = test_vcpu;

	vcpu_reset(v, test_shared);
	CHECK_EQ(v->rip, 0xfff0);
	CHECK_EQ(v->seg[X86_CS].base, 0xffff0000);
	CHECK_EQ(v->cr0, 0x60000010);
	CHECK_EQ(v->rflags, 2);
	CHECK_EQ(v->gpr[X86_RDX], 0xa0671);
	CHECK_EQ(v->apic_base, 0xfee00900);
	CHECK_EQ(v->dr[7], 0x400);
	v->index = 1;
	vcpu_reset(v, test_shared);
	vcpu_init(v);
	CHECK_EQ(v->activity, VCPU_WAIT_SIPI);
	v->sipi_vector = 0x9a;
	vcpu_sipi(v);
	CHECK_EQ(v->activity, VCPU_RUNNING);
	CHECK_EQ(v->seg[X86_CS].base, 0x9a000);
	CHECK_EQ(v->seg[X86_CS].sel, 0x9a00);
	CHECK_EQ(v->rip, 0);
	v->index = 0;
	vcpu_reset(v, test_shared);
}

static void test_kvmclock(void)
{
	uint32_t *page = mmap((void *)ZONE_RAM, 0x10000, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	uint64_t tsc, hz[] = {1000000000, 2600000000, 2599998000, 800000000, 4700000123};

	CHECK(page == (void *)ZONE_RAM);
	mem_layout(&test_shared->config.mem, 0x10000);
	clock_ns = 5000;
	CHECK(wr(MSR_KVM_WALL_CLOCK_NEW, 0x1000));
	CHECK_EQ(page[0x400], 2);
	CHECK_EQ(page[0x401], 1700000000);
	CHECK_EQ(page[0x402], 123456789 - 5000);
	for (unsigned i = 0; i < ARRAY_SIZE(hz); i++) {
		double ratio;

		test_shared->config.tsc_hz = hz[i];
		CHECK(wr(MSR_KVM_SYSTEM_TIME_NEW, 0x2000 | 1));
		CHECK_EQ(page[0x800] & 1, 0);
		memcpy(&tsc, &page[0x802], sizeof(tsc));
		CHECK_EQ(tsc, vmm_clock_start(test_vcpu) + test_vcpu->tsc_offset);
		CHECK_EQ(page[0x804] | page[0x805], 0);
		ratio = (double)page[0x806] / 4294967296.0;
		for (int s = (int8_t)page[0x807]; s; s += s > 0 ? -1 : 1)
			ratio = s > 0 ? ratio * 2 : ratio / 2;
		CHECK(ratio * (double)hz[i] > 1e9 - 1 && ratio * (double)hz[i] < 1e9 + 1);
		CHECK_EQ((uint8_t)(page[0x807] >> 8), 1);
	}
	CHECK(!wr(MSR_KVM_SYSTEM_TIME_NEW, 0x10000 | 1));
	CHECK(wr(MSR_KVM_SYSTEM_TIME_NEW, 0));
	CHECK(wr(MSR_KVM_SYSTEM_TIME, 0x3001));
	CHECK_EQ(page[0xc04] | page[0xc05], 0);
	CHECK_EQ(page[0xc06], page[0x806]);
	CHECK(wr(MSR_KVM_SYSTEM_TIME, 0));
}

int main(void)
{
	make_vcpu();
	test_stored();
	test_efer();
	test_memory_types();
	test_controls();
	test_tsc();
	test_x2apic();
	test_cpuid();
	test_reset();
	test_kvmclock();
	return finish();
}
