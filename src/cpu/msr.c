// SPDX-License-Identifier: MIT
//
// Model-specific registers by table, sorted by number. A row has its own functions, or names a field of struct vcpu and
// the bits a write may set. An MSR whose feature CPUID does not offer does not exist: #GP(0), as for one without a row.
#include "cpu/system.h"

enum msr_vendor { ANY, INTEL, AMD };
enum msr_kind {
	FIELD,     // stored: bits outside `valid` fault
	CANONICAL, // stored: a canonical address
	ZERO,      // reads 0; writes are dropped
	READ_ONLY, // reads `valid`; writes fault
	KEPT_IN,   // stored by a write function
	FUNCTION,  // read and write functions; a missing one faults
};

struct msr_row {
	uint32_t first, last;
	const char *name;
	uint8_t kind, vendor;
	uint16_t feature; // enum x86_feature
	uint32_t field;   // offset in struct vcpu
	uint64_t valid;
	bool (*read)(struct vcpu *v, uint32_t msr, uint64_t *value);
	bool (*write)(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res);
};

// -- protection keys ------------------------------------------------------------------------------------------------

static bool write_pkrs(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if (value >> 32)
		return false;
	if (mmu_keys_matter(v, v->pkrs ^ value))
		res->effect |= SYS_FLUSH_ALL;
	v->pkrs = value;
	return true;
}

// -- time -----------------------------------------------------------------------------------------------------------

static void tsc_moved(struct vcpu *v)
{
	lapic_tsc_changed(v);
	kvmclock_update(v);
}

static bool read_tsc(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = vcpu_tsc(v);
	return true;
}

static bool write_tsc(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t by = value - vcpu_tsc(v);

	v->tsc_offset += by;
	v->tsc_adjust += by;
	tsc_moved(v);
	return true;
}

static bool write_tsc_adjust(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	v->tsc_offset += value - v->tsc_adjust;
	v->tsc_adjust = value;
	tsc_moved(v);
	return true;
}

static bool read_tsc_deadline(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = lapic_get_tsc_deadline(v);
	return true;
}

static bool write_tsc_deadline(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	lapic_set_tsc_deadline(v, value);
	return true;
}

bool msr_offers_kvm(const struct vcpu *v)
{
	return cpuid_has(v, X86_FEATURE_HYPERVISOR) && cpuid_query(v, 0x40000000, 0).ebx == 0x4b4d564b;
}

static bool kvm_offers(const struct vcpu *v, unsigned bit)
{
	return msr_offers_kvm(v) && (cpuid_query(v, 0x40000001, 0).eax >> bit & 1);
}

static bool kvm_msr_exists(const struct vcpu *v, uint32_t msr)
{
	return kvm_offers(v, msr == MSR_KVM_WALL_CLOCK || msr == MSR_KVM_SYSTEM_TIME ? 0 : 3);
}

static bool read_system_time(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->kvm_system_time;
	return kvm_msr_exists(v, msr);
}

static bool write_system_time(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	return kvm_msr_exists(v, msr) && kvmclock_set_system_time(v, value);
}

static bool read_wall_clock(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->kvm_wall_clock;
	return kvm_msr_exists(v, msr);
}

static bool write_wall_clock(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	return kvm_msr_exists(v, msr) && kvmclock_set_wall_clock(v, value);
}

// -- local APIC -----------------------------------------------------------------------------------------------------

static bool write_apic_base(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t old = v->apic_base;

	if (!lapic_set_base(v, value))
		return false;
	if (old == value)
		return true;
	cpuid_refresh(v);
	res->effect |= SYS_FLUSH_ALL; // the APIC's page has moved or gone
	return true;
}

static bool write_x2apic(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	return lapic_msr_write(v, msr, value);
}

// -- mode and system calls ------------------------------------------------------------------------------------------

static bool write_efer(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t next = (value & ~(uint64_t)EFER_LMA) | (v->efer & EFER_LMA), changed = next ^ v->efer;

	if (value & ~v->efer_valid)
		return false;
	if ((changed & EFER_LME) && vcpu_paging(v))
		return false;
	v->efer = next;
	if (changed)
		res->effect |= SYS_FLUSH_ALL;
	return true;
}

static bool write_segment_base(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if (!sys_base_valid(v, value))
		return false;
	v->seg[msr == MSR_FS_BASE ? X86_FS : X86_GS].base = value;
	return true;
}

// RDPID reads it too, on processors that may lack RDTSCP.
static bool tsc_aux_exists(const struct vcpu *v)
{
	return cpuid_has(v, X86_FEATURE_RDTSCP) || cpuid_has(v, X86_FEATURE_RDPID);
}

static bool read_tsc_aux(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->tsc_aux;
	return tsc_aux_exists(v);
}

static bool write_tsc_aux(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if (!tsc_aux_exists(v) || (value >> 32 && !v->amd))
		return false;
	v->tsc_aux = (uint32_t)value;
	return true;
}

// -- memory types ---------------------------------------------------------------------------------------------------

static bool types_valid(uint64_t bytes, uint8_t valid)
{
	for (unsigned i = 0; i < 8; i++, bytes >>= 8)
		if ((bytes & 0xff) > 7 || !(valid >> (bytes & 7) & 1))
			return false;
	return true;
}

enum { MTRR_TYPES = BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6), PAT_TYPES = MTRR_TYPES | BIT(7) };

static bool write_pat(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if (!types_valid(value, PAT_TYPES))
		return false;
	v->pat = value;
	return true;
}

static uint64_t *mtrr_fixed(struct vcpu *v, uint32_t msr)
{
	if (msr == MSR_MTRR_FIX64K_00000)
		return &v->mtrr_fixed[0];
	if (msr <= MSR_MTRR_FIX16K_80000 + 1)
		return &v->mtrr_fixed[1 + msr - MSR_MTRR_FIX16K_80000];
	return &v->mtrr_fixed[3 + msr - MSR_MTRR_FIX4K_C0000];
}

static bool read_mtrr_fixed(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = *mtrr_fixed(v, msr);
	return true;
}

static bool write_mtrr_fixed(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if (!types_valid(value, MTRR_TYPES))
		return false;
	*mtrr_fixed(v, msr) = value;
	return true;
}

static bool read_mtrr_var(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->mtrr_var[msr - MSR_MTRR_VAR];
	return true;
}

static bool write_mtrr_var(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t addr = (BIT64(v->phys_bits) - 1) & ~(uint64_t)PAGE_OFFSET;
	bool mask = msr & 1;

	if (value & ~(addr | (mask ? BIT(11) : 0xff)))
		return false;
	if (!mask && !types_valid((value & 0xff) * 0x0101010101010101, MTRR_TYPES))
		return false;
	v->mtrr_var[msr - MSR_MTRR_VAR] = value;
	return true;
}

static bool write_mtrr_def_type(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if ((value & ~UINT64_C(0xcff)) || !types_valid((value & 0xff) * 0x0101010101010101, MTRR_TYPES))
		return false;
	v->mtrr_def_type = value;
	return true;
}

// -- identity and switches ------------------------------------------------------------------------------------------

static bool read_bios_sign(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->amd ? 0x01000065 : UINT64_C(1) << 32; // a microcode revision that no kernel has on a list
	return true;
}

static bool drop_write(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	return true;
}

// CPUID leaf 7, EDX: the speculation controls, which no instruction needs.
enum { SPEC_CTRL = 26, FLUSH_L1D = 28, ARCH_CAPABILITIES = 29 };

static bool offers_control(const struct vcpu *v, unsigned bit)
{
	return cpuid_query(v, 7, 0).edx >> bit & 1;
}

static bool read_arch_capabilities(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->shared->config.arch_capabilities;
	return offers_control(v, ARCH_CAPABILITIES);
}

static bool read_spec_ctrl(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->spec_ctrl;
	return offers_control(v, SPEC_CTRL);
}

static bool write_spec_ctrl(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t valid = 7; // IBRS, STIBP, SSBD

	if (cpuid_query(v, 7, 0).eax >= 2 && cpuid_query(v, 7, 2).edx & BIT(4))
		valid |= BIT(10); // BHI_DIS_S
	if (!offers_control(v, SPEC_CTRL) || (value & ~valid))
		return false;
	v->spec_ctrl = value;
	return true;
}

static bool write_misc_enable(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t changed = value ^ v->misc_enable;

	if (changed & ~(uint64_t)MISC_ENABLE_WRITABLE)
		return false;
	v->misc_enable = value;
	if (changed & (MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_XD_DISABLE)) {
		cpuid_refresh(v);
		res->effect |= SYS_FLUSH_ALL;
	}
	return true;
}

// Bits that a kernel sets for itself and nothing depends on; and "the TSC counts at the P0 frequency" (24), always.
static bool read_hwcr(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = v->hwcr | BIT(24);
	return v->amd;
}

static bool write_hwcr(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	if (!v->amd || value & ~UINT64_C(0x0d000bd1))
		return false;
	v->hwcr = value;
	return true;
}

// PRED_CMD and FLUSH_CMD are commands: nothing is predicted across address spaces that a barrier here could forget
// better than the host's own does, and a guest's data is the guest's own in all caches.
static bool write_command(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	return offers_control(v, msr == MSR_PRED_CMD ? SPEC_CTRL : FLUSH_L1D) && !(value & ~UINT64_C(1));
}

// -- performance counters (pmu.c) -------------------------------------------------------------------------------------

static bool write_pmu(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	return pmu_msr_write(v, msr, value);
}

// -- the table ------------------------------------------------------------------------------------------------------

#define F(name) X86_FEATURE_##name
#define STORED(n, feature, vendor, member, valid) \
	{n, n, #n, FIELD, vendor, feature, offsetof(struct vcpu, member), valid, NULL, NULL}
#define ADDRESS(n, feature, member) \
	{n, n, #n, CANONICAL, ANY, feature, offsetof(struct vcpu, member), 0, NULL, NULL}
#define ZEROS(n, vendor) {n, n, #n, ZERO, vendor, F(NONE), 0, 0, NULL, NULL}
#define CONSTANT(n, feature, value) {n, n, #n, READ_ONLY, ANY, feature, 0, value, NULL, NULL}
#define KEPT(n, feature, member, write) \
	{n, n, #n, KEPT_IN, ANY, feature, offsetof(struct vcpu, member), 0, NULL, write}
#define CALL(n, feature, read, write) {n, n, #n, FUNCTION, ANY, feature, 0, 0, read, write}
#define CALLS(first, last, feature, read, write) {first, last, #first, FUNCTION, ANY, feature, 0, 0, read, write}

#define PMU(n, count, vendor) {n, n + count - 1, #n, FUNCTION, vendor, F(NONE), 0, 0, pmu_msr_read, write_pmu}

static const struct msr_row rows[] = {
	CALL(MSR_TSC, F(TSC), read_tsc, write_tsc),
	CALL(MSR_KVM_WALL_CLOCK, F(HYPERVISOR), read_wall_clock, write_wall_clock),
	CALL(MSR_KVM_SYSTEM_TIME, F(HYPERVISOR), read_system_time, write_system_time),
	ZEROS(MSR_PLATFORM_ID, INTEL),
	KEPT(MSR_APIC_BASE, F(NONE), apic_base, write_apic_base), // CPUID.APIC is clear while it is disabled
	ZEROS(MSR_EBL_CR_POWERON, INTEL),
	KEPT(MSR_TSC_ADJUST, F(TSC_ADJUST), tsc_adjust, write_tsc_adjust),
	CALL(MSR_SPEC_CTRL, F(NONE), read_spec_ctrl, write_spec_ctrl),
	CALL(MSR_PRED_CMD, F(NONE), NULL, write_command),
	CALL(MSR_BIOS_SIGN_ID, F(NONE), read_bios_sign, drop_write),
	PMU(MSR_PMC0, PMU_GENERAL, INTEL),
	CONSTANT(MSR_MTRRCAP, F(MTRR), 0x508), // 8 variable ranges, fixed ranges, write combining
	CALL(MSR_ARCH_CAPABILITIES, F(NONE), read_arch_capabilities, NULL),
	CALL(MSR_FLUSH_CMD, F(NONE), NULL, write_command),
	STORED(MSR_SYSENTER_CS, F(SEP), ANY, sysenter_cs, UINT64_MAX),
	ADDRESS(MSR_SYSENTER_ESP, F(SEP), sysenter_esp),
	ADDRESS(MSR_SYSENTER_EIP, F(SEP), sysenter_eip),
	CONSTANT(MSR_MCG_CAP, F(MCA), 0), // no banks
	STORED(MSR_MCG_STATUS, F(MCA), ANY, mcg_status, 7),
	PMU(MSR_PERFEVTSEL0, PMU_GENERAL, INTEL),
	KEPT(MSR_MISC_ENABLE, F(NONE), misc_enable, write_misc_enable),
	STORED(MSR_DEBUGCTL, F(NONE), ANY, debugctl, 3), // LBR, BTF
	CALLS(MSR_MTRR_VAR, MSR_MTRR_VAR + 15, F(MTRR), read_mtrr_var, write_mtrr_var),
	CALL(MSR_MTRR_FIX64K_00000, F(MTRR), read_mtrr_fixed, write_mtrr_fixed),
	CALLS(MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_80000 + 1, F(MTRR), read_mtrr_fixed, write_mtrr_fixed),
	CALLS(MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_C0000 + 7, F(MTRR), read_mtrr_fixed, write_mtrr_fixed),
	KEPT(MSR_PAT, F(PAT), pat, write_pat),
	KEPT(MSR_MTRR_DEF_TYPE, F(MTRR), mtrr_def_type, write_mtrr_def_type),
	PMU(MSR_FIXED_CTR0, PMU_FIXED, INTEL),
	PMU(MSR_FIXED_CTR_CTRL, 4, INTEL), // and the global status, control and clear registers
	CALL(MSR_TSC_DEADLINE, F(TSC_DEADLINE), read_tsc_deadline, write_tsc_deadline),
	KEPT(MSR_PKRS, F(PKS), pkrs, write_pkrs),
	{MSR_X2APIC_FIRST, MSR_X2APIC_LAST, "MSR_X2APIC", FUNCTION, ANY, F(X2APIC), 0, 0, lapic_msr_read, write_x2apic},
	STORED(MSR_XSS, F(XSAVES), ANY, xss, 0),
	CALL(MSR_KVM_WALL_CLOCK_NEW, F(HYPERVISOR), read_wall_clock, write_wall_clock),
	CALL(MSR_KVM_SYSTEM_TIME_NEW, F(HYPERVISOR), read_system_time, write_system_time),
	KEPT(MSR_EFER, F(NONE), efer, write_efer),
	STORED(MSR_STAR, F(SYSCALL), ANY, star, UINT64_MAX),
	ADDRESS(MSR_LSTAR, F(LM), lstar),
	ADDRESS(MSR_CSTAR, F(LM), cstar),
	STORED(MSR_FMASK, F(SYSCALL), ANY, fmask, UINT32_MAX),
	KEPT(MSR_FS_BASE, F(LM), seg[X86_FS].base, write_segment_base),
	KEPT(MSR_GS_BASE, F(LM), seg[X86_GS].base, write_segment_base),
	ADDRESS(MSR_KERNEL_GS_BASE, F(LM), kernel_gs_base),
	CALL(MSR_TSC_AUX, F(NONE), read_tsc_aux, write_tsc_aux),
	PMU(MSR_K7_EVNTSEL0, 8, AMD), // and counters
	STORED(MSR_SYSCFG, F(NONE), AMD, syscfg, 0x00ff0000),
	CALL(MSR_HWCR, F(NONE), read_hwcr, write_hwcr),
	ZEROS(MSR_TOP_MEM, AMD),
	ZEROS(MSR_TOP_MEM2, AMD),
	ZEROS(MSR_NB_CFG, AMD),
	ZEROS(MSR_INT_PENDING, AMD),
	ZEROS(MSR_MMIO_CONF_BASE, AMD),
	ZEROS(MSR_SMM_TSEG_ADDR, AMD),
	STORED(MSR_VM_HSAVE_PA, F(SVM), AMD, vm_hsave, PTE_ADDR),
	ZEROS(MSR_LS_CFG, AMD),
	ZEROS(MSR_IC_CFG, AMD),
	ZEROS(MSR_DC_CFG, AMD),
	ZEROS(MSR_BU_CFG, AMD),
	STORED(MSR_DE_CFG, F(NONE), AMD, de_cfg, UINT64_MAX), // bit 1: LFENCE serialises
	ZEROS(MSR_BU_CFG2, AMD),
};

static const struct msr_row *find_row(uint32_t msr)
{
	unsigned low = 0, high = ARRAY_SIZE(rows);

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (msr > rows[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	return low < ARRAY_SIZE(rows) && msr >= rows[low].first ? &rows[low] : NULL;
}

static bool row_exists(const struct vcpu *v, const struct msr_row *row)
{
	return cpuid_has(v, row->feature) && (row->vendor == ANY || (row->vendor == AMD) == v->amd);
}

static const struct msr_row *find_existing(const struct vcpu *v, uint32_t msr, const char *verb)
{
	const struct msr_row *row = find_row(msr);

	if (row && row_exists(v, row))
		return row;
	vmm_trace((struct vcpu *)v, LOG_UNIMP, "%s %x (%s) at %lx: no such MSR, #GP\n", verb, msr, msr_name(msr), v->rip);
	return NULL;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	const struct msr_row *row = find_existing(v, msr, "rdmsr");

	if (!row)
		return false;
	switch ((enum msr_kind)row->kind) {
	case FIELD:
	case CANONICAL:
	case KEPT_IN: *value = *(const uint64_t *)((const char *)v + row->field); return true;
	case ZERO: *value = 0; return true;
	case READ_ONLY: *value = row->valid; return true;
	case FUNCTION: break;
	}
	return row->read && row->read(v, msr, value);
}

uint32_t msr_field(const struct vcpu *v, uint32_t msr)
{
	const struct msr_row *row = find_row(msr);

	if (!row || !row_exists(v, row) || row->kind == ZERO || row->kind == READ_ONLY || row->kind == FUNCTION)
		return 0;
	return row->field;
}

static bool write_row(struct vcpu *v, const struct msr_row *row, uint32_t msr, uint64_t value, struct sys_result *res)
{
	uint64_t *field = (uint64_t *)((char *)v + row->field);

	switch ((enum msr_kind)row->kind) {
	case FIELD:
		if (value & ~row->valid)
			return false;
		*field = value;
		return true;
	case CANONICAL:
		if (!sys_base_valid(v, value))
			return false;
		*field = value;
		return true;
	case ZERO: return true;
	case READ_ONLY: return false;
	case KEPT_IN:
	case FUNCTION: break;
	}
	return row->write && row->write(v, msr, value, res);
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value, struct sys_result *res)
{
	const struct msr_row *row = find_existing(v, msr, "wrmsr");

	if (!row)
		return false;
	if (!write_row(v, row, msr, value, res)) {
		vmm_trace(v, LOG_GUEST_ERRORS, "wrmsr %x (%s) at %lx: bad value %lx, #GP\n", msr, row->name, v->rip, value);
		return false;
	}
	return true;
}

const char *msr_name(uint32_t msr)
{
	const struct msr_row *row = find_row(msr);

	return row ? row->name : "?";
}
