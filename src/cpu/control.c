// SPDX-License-Identifier: MIT
//
// Control registers: MOV CRn, CLTS, SMSW, LMSW, XCR0, INVLPG and INVPCID, with the #GP(0) conditions of the SDM's
// "Control Registers", "IA-32e Mode Operation" and the instructions' pages. What is cached of the page tables belongs
// to bt/: res says what must go. Setting CR0.PG with EFER.LME on makes EFER.LMA; clearing PG ends it.
#include "cpu/insn.h"
#include "cpu/lapic.h"

enum { CR3_PCID = 0xfff, MSW_BITS = CR0_PE | CR0_MP | CR0_EM | CR0_TS };
#define CR3_NOFLUSH BIT64(63)
#define CR0_DEFINED (MSW_BITS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

static _Noreturn void raise_gp(struct vcpu *v)
{
	vcpu_raise(v, VEC_GP, 0);
}

static void check_cr0(struct vcpu *v, uint64_t value)
{
	bool enable = value & CR0_PG && !vcpu_paging(v), disable = !(value & CR0_PG) && vcpu_paging(v);

	if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		raise_gp(v);
	if (enable && v->efer & EFER_LME &&
	    (!(v->cr4 & CR4_PAE) || v->seg[X86_CS].attr & SEG_L || (v->tr.attr & SEG_TYPE) < DESC_TSS))
		raise_gp(v);
	if (disable && (vcpu_code64(v) || v->cr4 & CR4_PCIDE))
		raise_gp(v);
}

// The PDPTE registers of PAE paging are loaded by writes to CR0, CR3 and CR4 (SDM, "PDPTE Registers"). These are the
// values that the latter have after the instruction.
static void load_pdptes(struct vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	bool pae = cr0 & CR0_PG && cr4 & CR4_PAE && !(v->efer & EFER_LME);

	if (pae && !mmu_load_pdptes(v, cr3))
		raise_gp(v);
}

static void write_cr0(struct vcpu *v, uint64_t value, struct sys_result *res)
{
	uint64_t was = v->cr0;

	check_cr0(v, value);
	value = (value & CR0_DEFINED) | CR0_ET;
	if ((was ^ value) & (CR0_PG | CR0_CD | CR0_NW))
		load_pdptes(v, value, v->cr3, v->cr4);
	v->cr0 = value;
	if (!(value & CR0_PG))
		v->efer &= ~(uint64_t)EFER_LMA;
	else if (v->efer & EFER_LME)
		v->efer |= EFER_LMA;
	if ((was ^ value) & (CR0_PG | CR0_WP | CR0_PE))
		res->effect |= SYS_FLUSH_ALL;
}

static void write_cr3(struct vcpu *v, uint64_t value, struct sys_result *res)
{
	bool pcids = v->cr4 & CR4_PCIDE, keep = pcids && value & CR3_NOFLUSH;

	if (pcids)
		value &= ~CR3_NOFLUSH;
	if (vcpu_long_mode(v) && value & (mmu_reserved_bits(v) | ~(PTE_ADDR | PAGE_OFFSET)))
		raise_gp(v);
	load_pdptes(v, v->cr0, value, v->cr4);
	v->cr3 = value;
	res->effect |= SYS_FLUSH_TLB;
	res->flush_pcid = pcids ? value & CR3_PCID : 0;
	res->flush_pcid_valid = pcids;
	res->flush_keep = keep;
}

static void write_cr4(struct vcpu *v, uint64_t value, struct sys_result *res)
{
	const uint32_t flushes = CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP |
				CR4_PKE | CR4_PKS;
	uint64_t was = v->cr4;

	if (value & ~v->cr4_valid)
		raise_gp(v);
	if (vcpu_long_mode(v) && (!(value & CR4_PAE) || (was ^ value) & CR4_LA57))
		raise_gp(v);
	if (value & ~was & CR4_PCIDE && (!vcpu_long_mode(v) || v->cr3 & CR3_PCID))
		raise_gp(v);
	if ((was ^ value) & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP))
		load_pdptes(v, v->cr0, v->cr3, value);
	v->cr4 = value;
	if ((was ^ value) & flushes)
		res->effect |= SYS_FLUSH_ALL;
}

static void write_cr8(struct vcpu *v, uint64_t value, struct sys_result *res)
{
	if (value >> 4)
		raise_gp(v);
	lapic_set_cr8(v, value);
}

static unsigned control_size(const struct x86_insn *i)
{
	return i->mode == X86_MODE64 ? 8 : 4;
}

void insn_mov_to_cr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t value = gpr_read(v, insn_rm(i), control_size(i));

	switch (insn_reg(i)) {
	case 0:
		write_cr0(v, value, res);
		return;
	case 2:
		v->cr2 = value;
		return;
	case 3:
		write_cr3(v, value, res);
		return;
	case 4:
		write_cr4(v, value, res);
		return;
	case 8:
		write_cr8(v, value, res);
		return;
	default:
		vcpu_raise(v, VEC_UD, 0);
	}
}

static uint64_t read_cr(struct vcpu *v, unsigned n)
{
	switch (n) {
	case 0:
		return v->cr0;
	case 2:
		return v->cr2;
	case 3:
		return v->cr3;
	case 4:
		return v->cr4;
	case 8:
		return lapic_get_cr8(v);
	default:
		vcpu_raise(v, VEC_UD, 0);
	}
}

void insn_mov_from_cr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	gpr_write(v, insn_rm(i), control_size(i), read_cr(v, insn_reg(i)));
}

void insn_clts(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	v->cr0 &= ~(uint64_t)CR0_TS;
}

void insn_smsw(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	insn_write_rm16(v, i, v->cr0);
}

// PE can be set but not cleared.
void insn_lmsw(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t value = insn_read_rm16(v, i) & MSW_BITS;

	write_cr0(v, (v->cr0 & ~(uint64_t)(MSW_BITS & ~CR0_PE)) | value, res);
}

// -- Extended control registers

enum xcr0_bits { XCR0_X87 = BIT(0), XCR0_SSE = BIT(1), XCR0_AVX = BIT(2), XCR0_BND = 3u << 3, XCR0_AVX512 = 7u << 5,
	XCR0_AMX = 3u << 17 };

static bool xcr0_valid(const struct vcpu *v, uint64_t value)
{
	if (!(value & XCR0_X87) || value & ~v->xcr0_valid)
		return false;
	if (value & XCR0_AVX && !(value & XCR0_SSE))
		return false;
	if (value & XCR0_AVX512 && (value & (XCR0_AVX512 | XCR0_AVX)) != (XCR0_AVX512 | XCR0_AVX))
		return false;
	return ((value & XCR0_BND) == 0 || (value & XCR0_BND) == XCR0_BND) &&
	       ((value & XCR0_AMX) == 0 || (value & XCR0_AMX) == XCR0_AMX);
}

static void check_osxsave(struct vcpu *v)
{
	if (!(v->cr4 & CR4_OSXSAVE))
		vcpu_raise(v, VEC_UD, 0);
}

void insn_xsetbv(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t value = v->gpr[X86_RDX] << 32 | (uint32_t)v->gpr[X86_RAX];

	check_osxsave(v);
	if ((uint32_t)v->gpr[X86_RCX] || !xcr0_valid(v, value))
		raise_gp(v);
	v->xcr0 = value;
}

static uint64_t host_xinuse(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
	return (uint64_t)high << 32 | low;
}

void insn_xgetbv(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	enum { XGETBV1 = BIT(2) };
	uint32_t index = v->gpr[X86_RCX];
	uint64_t value = v->xcr0;

	check_osxsave(v);
	if (index > 1 || (index == 1 && !(cpuid_query(v, 0xd, 1).eax & XGETBV1)))
		raise_gp(v);
	if (index == 1)
		value &= host_xinuse();
	v->gpr[X86_RAX] = (uint32_t)value;
	v->gpr[X86_RDX] = value >> 32;
}

// -- Invalidation

void insn_invlpg(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	gva_t gva = sys_effective_address(v, i);

	if (vcpu_long_mode(v) && !vcpu_canonical(v, gva))
		return;
	res->effect |= SYS_FLUSH_PAGE;
	res->flush_gva = gva;
}

enum invpcid_type { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_BUT_GLOBAL };

void insn_invpcid(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t type = gpr_read(v, insn_reg(i), control_size(i));
	uint64_t pcid = insn_read_mem(v, i, 0, 8), gva = insn_read_mem(v, i, 8, 8);

	if (type > INVPCID_ALL_BUT_GLOBAL || pcid >> 12)
		raise_gp(v);
	if (type <= INVPCID_CONTEXT && pcid && !(v->cr4 & CR4_PCIDE))
		raise_gp(v);
	if (type == INVPCID_ADDRESS && vcpu_long_mode(v) && !sys_base_valid(v, gva))
		raise_gp(v);
	res->flush_gva = gva;
	res->flush_pcid = pcid;
	res->flush_pcid_valid = type <= INVPCID_CONTEXT;
	res->effect |= type == INVPCID_ADDRESS ? SYS_FLUSH_PAGE : type == INVPCID_ALL ? SYS_FLUSH_ALL : SYS_FLUSH_TLB;
}
