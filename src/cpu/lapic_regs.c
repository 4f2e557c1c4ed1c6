// SPDX-License-Identifier: MIT
//
// The local APIC's registers, as MMIO and as MSRs. One numbering serves both: register n is at offset n*16 of the page
// and is MSR 0x800+n. What differs in x2APIC form (reserved bits fault, 64-bit ICR, SELF IPI, no DFR) is in the MSR
// functions; a write to a read-only or absent register is dropped in the one and faults in the other.
#include "cpu/lapic_internal.h"
#include "cpu/system.h"

enum lapic_reg {
	REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a, REG_EOI = 0x0b, REG_RRD = 0x0c,
	REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f, REG_ISR = 0x10, REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28,
	REG_ICR = 0x30, REG_ICR2 = 0x31, REG_LVT_TIMER = 0x32, REG_LVT_ERROR = 0x37, REG_INITIAL = 0x38,
	REG_CURRENT = 0x39, REG_DIVIDE = 0x3e, REG_SELF_IPI = 0x3f, REGS,
};

enum { VERSION = 0x00050014 }; // integrated APIC, six LVT entries, no EOI-broadcast suppression

enum reg_access { R = BIT(0), W = BIT(1), XAPIC = BIT(2), X2APIC = BIT(3), BOTH = XAPIC | X2APIC };

struct reg_rule {
	uint8_t access;  // enum reg_access
	uint32_t valid;  // bits that may be set; others are dropped, or fault in x2APIC form
	uint32_t status; // read-only bits: dropped in both forms
};

#define LVT_COMMON (0xffu | LVT_MASKED)
#define LVT_WITH_MODE (LVT_COMMON | 7u << LVT_MODE_SHIFT)
#define LVT_PIN (LVT_WITH_MODE | BIT(13) | LVT_LEVEL)

static const struct reg_rule rules[REGS] = {
	[REG_ID] = {R | W | BOTH, 0xff000000, 0}, // W in xAPIC form only, as LDR
	 [REG_VERSION] = {R | BOTH, 0, 0},
	[REG_TPR] = {R | W | BOTH, 0xff, 0}, [REG_APR] = {R | XAPIC, 0, 0}, [REG_PPR] = {R | BOTH, 0, 0},
	[REG_EOI] = {W | BOTH, 0, 0}, [REG_RRD] = {R | XAPIC, 0, 0},
	[REG_LDR] = {R | W | BOTH, 0xff000000, 0}, // W in xAPIC form only: see lapic_msr_write
	[REG_DFR] = {R | W | XAPIC, 0xf0000000, 0},
	[REG_SVR] = {R | W | BOTH, 0x3ff, 0},
	[REG_ISR ... REG_ISR + 7] = {R | BOTH, 0, 0}, [REG_TMR ... REG_TMR + 7] = {R | BOTH, 0, 0},
	[REG_IRR ... REG_IRR + 7] = {R | BOTH, 0, 0},
	[REG_ESR] = {R | W | BOTH, 0, 0},
	[REG_ICR] = {R | W | BOTH, 0x000ccfff, LVT_PENDING}, [REG_ICR2] = {R | W | XAPIC, 0xff000000, 0},
	[REG_LVT_TIMER + LAPIC_LVT_TIMER] = {R | W | BOTH, LVT_COMMON | 3u << LVT_TIMER_SHIFT, LVT_PENDING},
	[REG_LVT_TIMER + LAPIC_LVT_THERMAL] = {R | W | BOTH, LVT_WITH_MODE, LVT_PENDING},
	[REG_LVT_TIMER + LAPIC_LVT_PERF] = {R | W | BOTH, LVT_WITH_MODE, LVT_PENDING},
	[REG_LVT_TIMER + LAPIC_LVT_LINT0] = {R | W | BOTH, LVT_PIN, LVT_PENDING | LVT_REMOTE_IRR},
	[REG_LVT_TIMER + LAPIC_LVT_LINT1] = {R | W | BOTH, LVT_PIN, LVT_PENDING | LVT_REMOTE_IRR},
	[REG_LVT_TIMER + LAPIC_LVT_ERROR] = {R | W | BOTH, LVT_COMMON, LVT_PENDING},
	[REG_INITIAL] = {R | W | BOTH, UINT32_MAX, 0}, [REG_CURRENT] = {R | BOTH, 0, 0},
	[REG_DIVIDE] = {R | W | BOTH, 0xb, 0},
	[REG_SELF_IPI] = {W | X2APIC, 0xff, 0},
};

static uint32_t reg_read(struct vcpu *v, unsigned reg)
{
	struct lapic *a = &v->lapic;

	switch (reg) {
	case REG_ID: return lapic_is_x2(v) ? a->id : a->xapic_id << 24;
	case REG_VERSION: return VERSION;
	case REG_TPR: return a->tpr;
	case REG_APR:
	case REG_PPR: return lapic_ppr(v);
	case REG_LDR: return a->ldr;
	case REG_DFR: return a->dfr;
	case REG_SVR: return a->svr;
	case REG_ISR ... REG_ISR + 7: return a->isr[reg - REG_ISR];
	case REG_TMR ... REG_TMR + 7: return a->tmr[reg - REG_TMR];
	case REG_IRR ... REG_IRR + 7: return a->irr[reg - REG_IRR];
	case REG_ESR: return a->esr_latched;
	case REG_ICR: return (uint32_t)a->icr;
	case REG_ICR2: return (uint32_t)(a->icr >> 32);
	case REG_LVT_TIMER ... REG_LVT_ERROR: return a->lvt[reg - REG_LVT_TIMER];
	case REG_INITIAL: return a->initial;
	case REG_CURRENT: return lapic_timer_current(v);
	case REG_DIVIDE: return a->divide;
	default: return 0;
	}
}

static void write_lvt(struct vcpu *v, unsigned n, uint32_t value)
{
	struct lapic *a = &v->lapic;

	if (!(a->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	if (n == LAPIC_LVT_TIMER) {
		lapic_timer_set_lvt(v, value);
		return;
	}
	a->lvt[n] = value | (a->lvt[n] & LVT_REMOTE_IRR);
	if (n == LAPIC_LVT_LINT0 || n == LAPIC_LVT_LINT1)
		lapic_lint_changed(v, n - LAPIC_LVT_LINT0);
}

static void write_svr(struct vcpu *v, uint32_t value)
{
	struct lapic *a = &v->lapic;

	a->svr = value;
	if (value & SVR_ENABLE)
		return;
	for (unsigned i = 0; i < LAPIC_LVTS; i++)
		a->lvt[i] |= LVT_MASKED;
}

bool lapic_send(struct vcpu *v, const struct lapic_message *m)
{
	struct lapic *a = &v->lapic;

	if (!a->hooks.send)
		return lapic_route(&v, 1, v, m);
	a->hooks.send(a->hooks.opaque, v, m);
	return true;
}

static void send_icr(struct vcpu *v)
{
	struct lapic *a = &v->lapic;
	bool x2 = lapic_is_x2(v);
	struct lapic_message m = {
		.dest = x2 ? (uint32_t)(a->icr >> 32) : (uint32_t)(a->icr >> 56),
		.logical = a->icr & BIT(11), .wide = x2, .vector = (uint8_t)a->icr, .mode = a->icr >> 8 & 7,
		.trigger = a->icr & BIT(15) ? LAPIC_LEVEL : LAPIC_EDGE, .shorthand = a->icr >> 18 & 3,
	};

	if ((m.mode == LAPIC_FIXED || m.mode == LAPIC_LOWEST) && m.vector < 16) {
		lapic_error(v, ESR_SEND_VECTOR);
		return;
	}
	if (m.mode == LAPIC_INIT && m.trigger == LAPIC_LEVEL && !(a->icr & BIT(14)))
		return; // INIT level de-assert: only old processors' arbitration IDs cared
	m.trigger = LAPIC_EDGE; // all other IPIs are edge-triggered
	lapic_send(v, &m);
}

static void write_esr(struct lapic *a)
{
	a->esr_latched = a->esr;
	a->esr = 0;
}

// value holds valid bits only.
static void reg_write(struct vcpu *v, unsigned reg, uint32_t value)
{
	struct lapic *a = &v->lapic;

	switch (reg) {
	case REG_ID: a->xapic_id = value >> 24; break;
	case REG_TPR:
		a->tpr = value;
		lapic_update(v);
		break;
	case REG_EOI: lapic_eoi(v); break;
	case REG_LDR: a->ldr = value; break;
	case REG_DFR: a->dfr = value | 0x0fffffff; break;
	case REG_SVR: write_svr(v, value); break;
	case REG_ESR: write_esr(a); break;
	case REG_ICR:
		a->icr = (a->icr & ~UINT64_C(0xffffffff)) | value;
		send_icr(v);
		break;
	case REG_ICR2: a->icr = (uint32_t)a->icr | (uint64_t)value << 32; break;
	case REG_LVT_TIMER ... REG_LVT_ERROR: write_lvt(v, reg - REG_LVT_TIMER, value); break;
	case REG_INITIAL: lapic_timer_set_initial(v, value); break;
	case REG_DIVIDE: lapic_timer_set_divide(v, value); break;
	case REG_SELF_IPI:
		if (value < 16)
			lapic_error(v, ESR_SEND_VECTOR);
		else
			lapic_deliver(v, (uint8_t)value, LAPIC_FIXED, LAPIC_EDGE);
		break;
	}
}

// -- xAPIC: MMIO ----------------------------------------------------------------------------------------------------

bool lapic_claims(const struct vcpu *v, gpa_t gpa)
{
	return (v->apic_base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE &&
	       ((gpa ^ v->apic_base) & PTE_ADDR) == 0;
}

uint32_t lapic_mmio_read(struct vcpu *v, uint32_t off, unsigned size)
{
	unsigned reg = off >> 4, shift = (off & 3) * 8;
	uint32_t value;

	if (reg >= REGS || (rules[reg].access & (R | XAPIC)) != (R | XAPIC)) {
		if (reg >= REGS || !(rules[reg].access & XAPIC))
			lapic_error(v, ESR_REGISTER);
		return 0;
	}
	if (off & 0xc)
		return 0;
	value = reg_read(v, reg) >> shift;
	return size < 4 ? value & (BIT(size * 8) - 1) : value;
}

void lapic_mmio_write(struct vcpu *v, uint32_t off, unsigned size, uint32_t value)
{
	unsigned reg = off >> 4;

	if (reg >= REGS || !(rules[reg].access & XAPIC)) {
		lapic_error(v, ESR_REGISTER);
		return;
	}
	// Registers are written whole; narrower accesses are undefined and dropped, but for EOI, where the event counts.
	if (!(rules[reg].access & W) || (off & 0xf) || (size < 4 && reg != REG_EOI))
		return;
	reg_write(v, reg, value & rules[reg].valid);
}

// -- x2APIC: MSRs ---------------------------------------------------------------------------------------------------

bool lapic_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	unsigned reg = msr - MSR_X2APIC_FIRST;

	if (!lapic_is_x2(v) || reg >= REGS || (rules[reg].access & (R | X2APIC)) != (R | X2APIC))
		return false;
	*value = reg == REG_ICR ? v->lapic.icr : reg_read(v, reg);
	return true;
}

bool lapic_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	unsigned reg = msr - MSR_X2APIC_FIRST;
	uint64_t valid;

	if (!lapic_is_x2(v) || reg >= REGS || (rules[reg].access & (W | X2APIC)) != (W | X2APIC) || reg == REG_LDR ||
	    reg == REG_ID)
		return false;
	valid = rules[reg].valid | rules[reg].status;
	if (reg == REG_ICR)
		valid |= UINT64_C(0xffffffff) << 32;
	if (value & ~valid)
		return false;
	value &= ~(uint64_t)rules[reg].status;
	if (reg != REG_ICR) {
		reg_write(v, reg, (uint32_t)value);
	} else {
		v->lapic.icr = value;
		send_icr(v);
	}
	return true;
}

// -- IA32_APIC_BASE -------------------------------------------------------------------------------------------------

static bool base_transition_valid(uint64_t old, uint64_t new)
{
	uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC, from = old & mode, to = new & mode;

	if (to == APIC_BASE_X2APIC)
		return false;
	if (from == mode)
		return to != APIC_BASE_ENABLE; // x2APIC goes to disabled only
	return from || to != mode;             // disabled goes to xAPIC only
}

// SDM, "x2APIC State Transitions".
bool lapic_set_base(struct vcpu *v, uint64_t value)
{
	uint64_t old = v->apic_base, addr = BIT64(v->phys_bits) - PAGE_SIZE;
	uint64_t valid = addr | APIC_BASE_BSP | APIC_BASE_ENABLE;

	if (cpuid_query(v, 1, 0).ecx & BIT(21))
		valid |= APIC_BASE_X2APIC;
	if ((value & ~valid) || !base_transition_valid(old, value))
		return false;
	v->apic_base = value;
	if (!(value & APIC_BASE_ENABLE))
		v->lapic.xapic_id = v->lapic.id;
	if ((old & APIC_BASE_ENABLE) && !(value & APIC_BASE_ENABLE))
		lapic_reset(v);
	if ((value & APIC_BASE_X2APIC) && !(old & APIC_BASE_X2APIC)) {
		v->lapic.ldr = lapic_x2_ldr(v->lapic.id);
		v->lapic.icr &= UINT32_MAX;
	}
	lapic_update(v);
	return true;
}
