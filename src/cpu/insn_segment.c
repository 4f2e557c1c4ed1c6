// SPDX-License-Identifier: MIT
//
// Instructions on segment registers and descriptor tables: moves, pushes and pops of selectors, far pointers, LGDT and
// kin, LAR, LSL, VERR, VERW, ARPL, and the FS and GS bases.
#include "cpu/insn.h"

static void loaded(struct vcpu *v, enum x86_sreg reg, struct sys_result *res)
{
	if (reg != X86_SS)
		return;
	v->shadow |= SHADOW_MOV_SS;
	res->effect |= SYS_SHADOW;
}

static enum x86_sreg pushed_register(const struct x86_insn *i) // 06 0E 16 1E, 0F A0, 0F A8, and the pops after them
{
	return i->opcode >> 3 & 7;
}

// With 32-bit operands Intel's processors write only 16 bits.
void insn_push_seg(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);
	unsigned size = insn_stack_size(i);
	uint64_t sel = v->seg[pushed_register(i)].sel;

	if (size == 4 && !v->amd) {
		struct stack slot = st;

		slot.sp = (st.sp & ~st.mask) | ((st.sp - 2) & st.mask);
		stack_push(v, &slot, sel, 2);
		st.sp = slot.sp;
	} else {
		stack_push(v, &st, sel, size);
	}
	stack_commit(v, &st);
}

void insn_pop_seg(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);
	unsigned size = insn_stack_size(i);
	uint16_t sel = stack_read_selector(v, &st, 0);

	segment_load(v, pushed_register(i), sel);
	stack_skip(&st, size);
	stack_commit(v, &st);
	loaded(v, pushed_register(i), res);
}

void insn_mov_from_seg(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (insn_group(i) >= X86_SREGS)
		vcpu_raise(v, VEC_UD, 0);
	insn_write_rm16(v, i, v->seg[insn_group(i)].sel);
}

void insn_mov_to_seg(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	unsigned reg = insn_group(i);

	if (reg == X86_CS || reg >= X86_SREGS)
		vcpu_raise(v, VEC_UD, 0);
	segment_load(v, reg, insn_read_rm16(v, i));
	loaded(v, reg, res);
}

static enum x86_sreg far_ptr_register(const struct x86_insn *i)
{
	switch (i->opcode) {
	case 0xc4:
		return X86_ES;
	case 0xc5:
		return X86_DS;
	case 0xb2:
		return X86_SS;
	case 0xb4:
		return X86_FS;
	default:
		return X86_GS;
	}
}

void insn_load_far_ptr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t off = insn_read_mem(v, i, 0, insn_offset_size(v, i));
	uint16_t sel = insn_read_mem(v, i, insn_offset_size(v, i), 2);

	segment_load(v, far_ptr_register(i), sel);
	gpr_write(v, insn_reg(i), i->opsize, off);
}

static unsigned table_base_size(const struct x86_insn *i)
{
	return i->mode == X86_MODE64 ? 8 : 4;
}

static void load_table(struct vcpu *v, const struct x86_insn *i, struct x86_table *t)
{
	uint16_t limit = insn_read_mem(v, i, 0, 2);
	uint64_t base = insn_read_mem(v, i, 2, table_base_size(i));

	if (i->mode == X86_MODE64 && !sys_base_valid(v, base))
		vcpu_raise(v, VEC_GP, 0);
	if (i->mode != X86_MODE64 && i->opsize == 2)
		base &= 0xffffff;
	*t = (struct x86_table){.base = base, .limit = limit};
}

// One write of limit and base together, so that a fault leaves memory as it was.
static void store_table(struct vcpu *v, const struct x86_insn *i, const struct x86_table *t)
{
	unsigned size = 2 + table_base_size(i);
	gva_t gva = insn_linear(v, i, 0, size, VMEM_WRITE);
	uint8_t image[10];
	uint16_t limit = t->limit;

	__builtin_memcpy(image, &limit, 2);
	__builtin_memcpy(image + 2, &t->base, 8);
	vmem_write_seg(v, gva, image, size, vmem_explicit(v, VMEM_WRITE), i->mem.seg);
}

void insn_lgdt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	load_table(v, i, &v->gdtr);
}

void insn_lidt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	load_table(v, i, &v->idtr);
}

void insn_sgdt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	store_table(v, i, &v->gdtr);
}

void insn_sidt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	store_table(v, i, &v->idtr);
}

void insn_lldt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	segment_load_ldtr(v, insn_read_rm16(v, i));
}

void insn_ltr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	segment_load_tr(v, insn_read_rm16(v, i));
}

void insn_sldt(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	insn_write_rm16(v, i, v->ldtr.sel);
}

void insn_str(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	insn_write_rm16(v, i, v->tr.sel);
}

// LAR, LSL: system descriptor types that they accept, in long mode and outside it.
enum { LAR_LONG = BIT(2) | BIT(9) | BIT(11) | BIT(12), LAR_LEGACY = LAR_LONG | BIT(1) | BIT(3) | BIT(4) | BIT(5),
	LSL_LONG = BIT(2) | BIT(9) | BIT(11), LSL_LEGACY = LSL_LONG | BIT(1) | BIT(3) };

// May CPL and RPL see the descriptor? ZF says so.
static bool visible(struct vcpu *v, uint16_t sel, struct desc *d)
{
	if (selector_null(sel) || !desc_read(v, sel, d))
		return false;
	if (!desc_system(d) && desc_code(d) && desc_conforming(d))
		return true;
	return desc_dpl(d) >= MAX(sel & SEL_RPL, (unsigned)v->cpl);
}

static bool look_up(struct vcpu *v, const struct x86_insn *i, uint32_t long_types, uint32_t legacy_types,
		    struct desc *d)
{
	uint16_t sel = insn_read_rm16(v, i);
	uint32_t types = vcpu_long_mode(v) ? long_types : legacy_types;
	bool ok = visible(v, sel, d) && (!desc_system(d) || types >> desc_type(d) & 1);

	flags_put(v, RFLAGS_ZF, ok);
	return ok;
}

void insn_lar(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct desc d;

	if (look_up(v, i, LAR_LONG, LAR_LEGACY, &d))
		gpr_write(v, insn_reg(i), i->opsize, d.lo >> 32 & (i->opsize == 2 ? 0xff00 : 0xffff00));
}

void insn_lsl(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct desc d;

	if (look_up(v, i, LSL_LONG, LSL_LEGACY, &d))
		gpr_write(v, insn_reg(i), i->opsize, desc_limit(&d));
}

void insn_verr(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct desc d;

	flags_put(v, RFLAGS_ZF, visible(v, insn_read_rm16(v, i), &d) && desc_readable(&d));
}

void insn_verw(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct desc d;

	flags_put(v, RFLAGS_ZF, visible(v, insn_read_rm16(v, i), &d) && desc_writable_data(&d));
}

void insn_arpl(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint16_t dest = insn_read_rm16(v, i);
	unsigned rpl = v->gpr[insn_reg(i)] & SEL_RPL;
	bool raised = (dest & SEL_RPL) < rpl;

	if (raised && insn_rm_is_reg(i))
		gpr_write(v, insn_rm(i), 2, (dest & ~SEL_RPL) | rpl);
	else if (raised)
		insn_write_mem(v, i, 0, 2, (dest & ~SEL_RPL) | rpl);
	flags_put(v, RFLAGS_ZF, raised);
}

// RDFSBASE and kin: F3 0F AE /0 to /3. The operand is 64 or 32 bits wide; 66 means nothing.
static unsigned base_size(const struct x86_insn *i)
{
	return i->opsize == 8 ? 8 : 4;
}

static struct x86_seg *base_segment(struct vcpu *v, const struct x86_insn *i)
{
	if (!vcpu_code64(v) || !(v->cr4 & CR4_FSGSBASE))
		vcpu_raise(v, VEC_UD, 0);
	return &v->seg[insn_group(i) & 1 ? X86_GS : X86_FS];
}

void insn_rdbase(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	gpr_write(v, insn_rm(i), base_size(i), base_segment(v, i)->base);
}

void insn_wrbase(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct x86_seg *s = base_segment(v, i);
	uint64_t base = gpr_read(v, insn_rm(i), base_size(i));

	if (!vcpu_canonical(v, base))
		vcpu_raise(v, VEC_GP, 0);
	s->base = base;
}

void insn_swapgs(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t base = v->seg[X86_GS].base;

	v->seg[X86_GS].base = v->kernel_gs_base;
	v->kernel_gs_base = base;
}
