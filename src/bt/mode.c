// SPDX-License-Identifier: MIT
//
// The mode that code runs in, what else translation depends on, and what follows when system instructions, deliveries
// and resets have changed any of that.
#include "bt/run.h"

static bool alignment_checked(const struct vcpu *v)
{
	return v->cpl == 3 && v->cr0 & CR0_AM && v->rflags & RFLAGS_AC;
}

uint32_t bt_mode(const struct vcpu *v)
{
	uint32_t m = vcpu_code64(v) ? MODE_CODE64 : segments_mode(v);

	if (v->cpl == 3)
		m |= MODE_USER | (mode_is_flat(m) ? (uint32_t)*bt_slot((struct vcpu *)(uintptr_t)v, SLOT_MAPPED) : 0);
	else if (v->cpl)
		m |= MODE_INNER;
	else if (bt_of((struct vcpu *)(uintptr_t)v)->mapped_kernel)
		m |= MODE_MAPPED;
	if (v->cpl != 3 && v->cr4 & CR4_SMAP && v->rflags & RFLAGS_AC)
		m |= MODE_AC;
	if (alignment_checked(v))
		m |= MODE_CAREFUL | MODE_ONE;
	if (v->cr0 & (CR0_TS | CR0_EM))
		m |= MODE_FPU_NM;
	if (v->cr0 & CR0_EM || !(v->cr4 & CR4_OSFXSR))
		m |= MODE_SSE_UD;
	if (v->cr0 & CR0_TS)
		m |= MODE_SSE_NM | (v->cr0 & CR0_MP ? MODE_WAIT_NM : 0);
	return m;
}

// What else translation depends on, and changes so rarely that a change throws all units away.
uint64_t bt_translation_key(const struct vcpu *v)
{
	uint64_t key = (v->cr4 & (CR4_OSXSAVE | CR4_FSGSBASE | CR4_PKE | CR4_VMXE | CR4_SMAP | CR4_TSD)) ^ v->xcr0 << 32;

	key ^= (uint64_t)v->counts << 59 ^ (uint64_t)vcpu_long_mode(v) << 61;
	return key ^ v->lstar * 3 ^ v->star * 5 ^ v->fmask * 7 ^ (v->efer & EFER_SCE) << 60;
}

static uint16_t present_pcid(const struct vcpu *v)
{
	return v->cr4 & CR4_PCIDE ? v->cr3 & 0xfff : 0;
}

// MOV to CR3, or INVPCID of one context.
static void flush_space(struct vcpu *v, const struct sys_result *res)
{
	struct bt *b = bt_of(v);

	if (!res->flush_pcid_valid)
		shadow_flush(v);
	else if (!res->flush_keep)
		shadow_flush_pcid(v, res->flush_pcid);
	if (!res->flush_pcid_valid) {
		space_drop_all(b);
		tlb_flush(v, false);
		b->pcid = present_pcid(v);
	} else if (res->flush_pcid != present_pcid(v)) {
		space_drop(b, res->flush_pcid);
	} else {
		space_switch(v, res->flush_pcid, res->flush_keep);
	}
}

void vcpu_space_changed(struct vcpu *v)
{
	flush_space(v, &(struct sys_result){0});
}

// INVLPG, or INVPCID of one address.
static void flush_page(struct vcpu *v, const struct sys_result *res)
{
	shadow_flush_page(v, res->flush_gva, res->flush_pcid_valid ? res->flush_pcid : present_pcid(v));
	if (res->flush_pcid_valid && res->flush_pcid != present_pcid(v))
		space_drop(bt_of(v), res->flush_pcid);
	else
		tlb_flush_page(v, res->flush_gva);
}

// Code of 16 or 32 bits: the upper halves of the registers it can name are not defined when it is entered from 64-bit
// code (SDM, "General-Purpose Registers in 64-Bit Mode"); translated code relies on their being zero.
static void enter_narrow(struct vcpu *v, uint32_t mode)
{
	for (unsigned r = 0; r < X86_R8; r++)
		v->gpr[r] = (uint32_t)v->gpr[r];
	segments_measure(v, mode);
	if (bt_of(v)->edges)
		tlb_drop_edges(v);
}

void bt_set_mode(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	uint32_t mapped = shadow_mode(v), mode;
	const struct x86_seg *cs = &v->seg[X86_CS];
	bool changed;

	b->mapped_kernel = mapped && shadow_is_kernels(v);
	if (b->mapped_kernel)
		mapped = 0;
	changed = mapped != *bt_slot(v, SLOT_MAPPED);
	*bt_slot(v, SLOT_MAPPED) = mapped;
	mode = bt_mode(v);
	if ((mode & MODE_CODE) != MODE_CODE64)
		enter_narrow(v, mode);
	if (mode & MODE_CS && (cs->base != b->cs_base || cs->limit != b->cs_limit)) { // it is the target of returns
		changed = true;
		b->cs_base = (uint32_t)cs->base;
		b->cs_limit = cs->limit;
	}
	if (changed || mode != b->mode_now)
		tc_forget_calls(v);
	b->mode_now = mode;
}

void bt_apply(struct vcpu *v, const struct sys_result *res)
{
	struct bt *b = bt_of(v);

	if (res->effect & SYS_FLUSH_ALL) {
		tlb_flush(v, true);
		b->pcid = present_pcid(v);
	} else if (res->effect & SYS_FLUSH_TLB)
		flush_space(v, res);
	if (res->effect & SYS_FLUSH_PAGE)
		flush_page(v, res);
	bt_set_mode(v);
	if (v->pmu.active && v->pmu.user != (v->cpl == 3))
		pmu_update(v);
	if (b->key != bt_translation_key(v)) {
		b->key = bt_translation_key(v);
		b->flush_tc = true;
	}
}
