// SPDX-License-Identifier: MIT
//
// The processor's state after power-on, INIT and SIPI: the SDM's table "IA-32 and Intel 64 Processor States Following
// Power-up, Reset, or INIT", and "MP Initialization". What belongs to others (bt/'s slots, the landing point, the local
// APIC's wiring) is left alone.
#include "cpu/system.h"

enum { ATTR_CODE = 0x9b, ATTR_DATA = 0x93, ATTR_LDT = 0x82, ATTR_TSS32 = 0x8b, LIMIT_64K = 0xffff };

#define PAT_RESET UINT64_C(0x0007040600070406)
#define DR6_RESET 0xffff0ff0u
#define DR7_RESET 0x400u

static struct x86_seg segment(uint16_t sel, uint64_t base, uint32_t attr)
{
	return (struct x86_seg){.sel = sel, .base = base, .limit = LIMIT_64K, .attr = attr};
}

static void reset_segments(struct vcpu *v)
{
	for (unsigned i = 0; i < X86_SREGS; i++)
		v->seg[i] = segment(0, 0, ATTR_DATA);
	v->seg[X86_CS] = segment(0xf000, 0xffff0000, ATTR_CODE);
	v->ldtr = segment(0, 0, ATTR_LDT);
	v->tr = segment(0, 0, ATTR_TSS32);
	v->gdtr = (struct x86_table){.limit = LIMIT_64K};
	v->idtr = (struct x86_table){.limit = LIMIT_64K};
}

// What power-on and INIT have in common.
static void reset_execution(struct vcpu *v)
{
	for (unsigned i = 0; i < X86_GPRS; i++)
		v->gpr[i] = 0;
	v->gpr[X86_RDX] = cpuid_query(v, 1, 0).eax;
	v->rip = 0xfff0;
	v->rflags = RFLAGS_FIXED1;
	reset_segments(v);
	v->cr2 = v->cr3 = v->cr4 = 0;
	v->efer = 0;
	for (unsigned i = 0; i < 4; i++) {
		v->dr[i] = 0;
		v->pae_pdpte[i] = 0;
	}
	v->dr[6] = DR6_RESET;
	v->dr[7] = DR7_RESET;
	v->cpl = 0;
	v->shadow = 0;
	v->nmi_blocked = false;
	v->activity = VCPU_RUNNING;
	v->fault = (struct vcpu_fault){0};
	v->delivering = (struct vcpu_delivering){0};
}

static void reset_msrs(struct vcpu *v)
{
	v->star = v->lstar = v->cstar = v->fmask = v->kernel_gs_base = 0;
	v->sysenter_cs = v->sysenter_esp = v->sysenter_eip = 0;
	v->pat = PAT_RESET;
	v->tsc_aux = v->tsc_adjust = v->spec_ctrl = v->debugctl = 0;
	v->misc_enable = MISC_ENABLE_RESET;
	v->mtrr_def_type = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(v->mtrr_fixed); i++)
		v->mtrr_fixed[i] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(v->mtrr_var); i++)
		v->mtrr_var[i] = 0;
	v->kvm_system_time = v->kvm_wall_clock = 0;
	v->mcg_status = v->hwcr = v->syscfg = v->vm_hsave = 0;
	v->de_cfg = DE_CFG_LFENCE_SERIALIZES;
	v->apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (v->index ? 0 : APIC_BASE_BSP);
	v->tsc_offset = -vcpu_host_tsc();
}

// FCW 0040H, all registers +0.0 and valid; MXCSR 1F80H; everything beyond x87 and SSE in its initial configuration.
static void reset_vector_state(struct vcpu *v)
{
	for (unsigned i = 0; i < XSAVE_AREA_MAX; i++)
		v->xsave[i] = 0;
	v->xsave[0] = 0x40;
	v->xsave[4] = 0xff;          // abridged tag word: all valid
	v->xsave[24] = 0x80;         // MXCSR
	v->xsave[25] = 0x1f;
	v->xsave[512] = BIT(0) | BIT(1); // XSTATE_BV
}

void vcpu_reset(struct vcpu *v, struct shared *sh)
{
	v->shared = sh;
	v->lapic.id = v->index;
	v->xcr0 = 1;
	v->xss = 0;
	v->mmu = (struct mmu_model){0};
	reset_msrs(v);
	cpuid_refresh(v);
	reset_execution(v);
	v->cr0 = CR0_CD | CR0_NW | CR0_ET;
	reset_vector_state(v);
	if (v->lapic.bus)
		lapic_reset(v);
}

void vcpu_init(struct vcpu *v)
{
	uint64_t cache = v->cr0 & (CR0_CD | CR0_NW);

	reset_execution(v);
	v->cr0 = cache | CR0_ET;
	lapic_reset(v);
	if (!(v->apic_base & APIC_BASE_BSP))
		v->activity = VCPU_WAIT_SIPI;
}

void vcpu_sipi(struct vcpu *v)
{
	if (v->activity != VCPU_WAIT_SIPI)
		return;
	v->seg[X86_CS] = segment((uint16_t)(v->sipi_vector << 8), (uint64_t)v->sipi_vector << 12, ATTR_CODE);
	v->rip = 0;
	v->a20_masked = v->shared->a20_masked;
	v->activity = VCPU_RUNNING;
}

// RAM is write-back, the VGA hole and the PCI hole up to 4 GiB uncached, the ROM area write-protected.
void vcpu_firmware_setup(struct vcpu *v)
{
	const uint64_t wb = 0x0606060606060606, wp = 0x0505050505050505, hole = UINT64_C(1) << 30;

	v->mtrr_fixed[0] = v->mtrr_fixed[1] = wb; // 00000, 80000
	v->mtrr_fixed[2] = 0;                     // a0000
	for (unsigned i = 3; i < ARRAY_SIZE(v->mtrr_fixed); i++)
		v->mtrr_fixed[i] = wp;            // c0000 and up
	v->mtrr_var[0] = 3 * hole;
	v->mtrr_var[1] = ((BIT64(v->phys_bits) - 1) & ~(hole - 1)) | BIT(11);
	v->mtrr_def_type = BIT(11) | BIT(10) | 6;
	v->cr0 &= ~(uint64_t)(CR0_CD | CR0_NW);
	lapic_firmware_setup(v);
}
