// SPDX-License-Identifier: MIT
//
// Instructions that have no 64-bit form for the host to run, or whose implicit memory operand needs the guest's
// segments: PUSHA, POPA, ENTER, XLAT, BOUND, MOVDIR64B, CLZERO, and decimal arithmetic.
#include "base/assert.h"
#include "cpu/insn.h"

enum { GPRS32 = 8, LINE = 64 };

// In memory, upwards: DI SI BP SP BX DX CX AX.
void insn_pusha(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);
	uint64_t items[GPRS32];

	for (unsigned n = 0; n < GPRS32; n++)
		items[n] = v->gpr[X86_RDI - n];
	stack_push_items(v, &st, items, GPRS32, insn_stack_size(i));
	stack_commit(v, &st);
}

void insn_popa(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	struct stack st = stack_current(v);
	unsigned size = insn_stack_size(i);
	uint64_t items[GPRS32];

	stack_pop_items(v, &st, items, GPRS32, size);
	for (unsigned n = 0; n < GPRS32; n++)
		if (X86_RDI - n != X86_RSP)
			gpr_write(v, X86_RDI - n, size, items[n]);
	stack_commit(v, &st);
}

// The frame pointers of outer levels are copied below the new one.
void insn_enter(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	unsigned size = insn_stack_size(i), level = i->imm2 & 31;
	struct stack st = stack_current(v), outer = st;
	uint64_t frame;

	stack_push(v, &st, v->gpr[X86_RBP], size);
	frame = st.sp;
	outer.sp = v->gpr[X86_RBP];
	for (unsigned n = 1; n < level; n++) {
		struct stack at;

		outer.sp = (outer.sp & ~outer.mask) | ((outer.sp - size) & outer.mask);
		at = outer;
		stack_push(v, &st, stack_pop(v, &at, size), size);
	}
	if (level)
		stack_push(v, &st, frame, size);
	st.sp = (st.sp & ~st.mask) | ((st.sp - (i->imm & 0xffff)) & st.mask);
	vmem_probe(v, segment_linear(v, X86_SS, st.sp & st.mask, size, VMEM_WRITE), size, vmem_explicit(v, VMEM_WRITE),
		   X86_SS);
	gpr_write(v, X86_RBP, size, frame);
	stack_commit(v, &st);
}

void insn_xlat(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint64_t off = (v->gpr[X86_RBX] + (uint8_t)v->gpr[X86_RAX]) & size_mask(i->addrsize);
	enum x86_sreg seg = i->mem.seg;
	uint8_t value;

	vmem_read_seg(v, segment_linear(v, seg, off, 1, VMEM_READ), &value, 1, vmem_explicit(v, VMEM_READ), seg);
	gpr_write(v, X86_RAX, 1, value);
}

static int64_t sign_extend(uint64_t x, unsigned size)
{
	unsigned shift = 64 - size * 8;

	return (int64_t)(x << shift) >> shift;
}

void insn_bound(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	int64_t index = sign_extend(v->gpr[insn_reg(i)], i->opsize);
	int64_t lower = sign_extend(insn_read_mem(v, i, 0, i->opsize), i->opsize);
	int64_t upper = sign_extend(insn_read_mem(v, i, i->opsize, i->opsize), i->opsize);

	if (index < lower || index > upper)
		vcpu_raise(v, VEC_BR, 0);
}

// Flags that the manual leaves undefined (OF; SF, ZF and PF of AAA and AAS; OF, AF and CF of AAM and AAD) are as
// Intel's processors make them.
static void set_result_flags(struct vcpu *v, uint8_t al)
{
	flags_put(v, RFLAGS_OF, false);
	flags_put(v, RFLAGS_ZF, !al);
	flags_put(v, RFLAGS_SF, al & 0x80);
	flags_put(v, RFLAGS_PF, !__builtin_parity(al));
}

static void decimal_adjust(struct vcpu *v, int sign)
{
	uint8_t al = v->gpr[X86_RAX], was = al;
	bool carry = v->rflags & RFLAGS_CF, low = (al & 15) > 9 || v->rflags & RFLAGS_AF;
	bool high = was > 0x99 || carry;

	if (low)
		al += 6 * sign;
	if (high)
		al += 0x60 * sign;
	if (sign < 0)
		high = high || (low && was < 6);
	gpr_write(v, X86_RAX, 1, al);
	flags_put(v, RFLAGS_AF, low);
	flags_put(v, RFLAGS_CF, high);
	set_result_flags(v, al);
}

static void ascii_adjust(struct vcpu *v, int sign)
{
	uint16_t ax = v->gpr[X86_RAX];
	bool adjust = (ax & 15) > 9 || v->rflags & RFLAGS_AF;

	if (adjust)
		ax += 0x106 * sign;
	gpr_write(v, X86_RAX, 2, ax & 0xff0f);
	set_result_flags(v, ax & 15);
	flags_put(v, RFLAGS_AF | RFLAGS_CF, adjust);
}

static void multiply_adjust(struct vcpu *v, uint8_t base)
{
	uint8_t al = v->gpr[X86_RAX];

	if (!base)
		vcpu_raise(v, VEC_DE, 0);
	gpr_write(v, X86_RAX, 2, (al / base) << 8 | al % base);
	set_result_flags(v, al % base);
	flags_put(v, RFLAGS_AF | RFLAGS_CF, false);
}

// Its flags are those of the addition.
static void divide_adjust(struct vcpu *v, uint8_t base)
{
	uint8_t al = v->gpr[X86_RAX], tens = (uint8_t)(v->gpr[X86_RAX] >> 8) * base, sum = al + tens;

	gpr_write(v, X86_RAX, 2, sum);
	set_result_flags(v, sum);
	flags_put(v, RFLAGS_CF, sum < al);
	flags_put(v, RFLAGS_AF, (al ^ tens ^ sum) & 0x10);
	flags_put(v, RFLAGS_OF, (al ^ sum) & (tens ^ sum) & 0x80);
}

void insn_bcd(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (i->encoding != X86_ENC_LEGACY || i->map != 0 || i->mode == X86_MODE64)
		vcpu_nyi(v, "plain instruction that the host cannot run");
	switch (i->opcode) {
	case 0x27: // DAA
		decimal_adjust(v, 1);
		return;
	case 0x2f: // DAS
		decimal_adjust(v, -1);
		return;
	case 0x37: // AAA
		ascii_adjust(v, 1);
		return;
	case 0x3f: // AAS
		ascii_adjust(v, -1);
		return;
	case 0xd4: // AAM
		multiply_adjust(v, i->imm);
		return;
	case 0xd5: // AAD
		divide_adjust(v, i->imm);
		return;
	case 0xd6: // SALC
		gpr_write(v, X86_RAX, 1, v->rflags & RFLAGS_CF ? 0xff : 0);
		return;
	default:
		vcpu_nyi(v, "plain instruction that the host cannot run");
	}
}

// MOVDIR64B: 64 bytes from the memory operand to ES:reg, which must be aligned.
static void move_line(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t off = v->gpr[insn_reg(i)] & size_mask(i->addrsize);
	uint8_t data[LINE];
	gva_t to = segment_linear(v, X86_ES, off, LINE, VMEM_WRITE), from = insn_linear(v, i, 0, LINE, VMEM_READ);

	vmem_read_seg(v, from, data, LINE, vmem_explicit(v, VMEM_READ), i->mem.seg);
	if (to & (LINE - 1))
		vcpu_raise(v, VEC_GP, 0);
	vmem_write_seg(v, to, data, LINE, vmem_explicit(v, VMEM_WRITE), X86_ES);
}

// CLZERO: the line that DS:rAX lies in (APM vol. 3, "CLZERO").
static void clear_line(struct vcpu *v, const struct x86_insn *i)
{
	static const uint8_t zeros[LINE];
	uint64_t off = v->gpr[X86_RAX] & size_mask(i->addrsize);
	gva_t gva = align_down(segment_linear(v, i->mem.seg, off, 1, VMEM_WRITE), LINE);

	vmem_write_seg(v, gva, zeros, LINE, vmem_explicit(v, VMEM_WRITE), i->mem.seg);
}

void insn_line(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	if (i->encoding == X86_ENC_LEGACY && i->map == 2 && i->opcode == 0xf8 && i->prefixes & X86_PFX_OPSIZE)
		move_line(v, i);
	else if (i->feature == X86_FEATURE_CLZERO)
		clear_line(v, i);
	else
		vcpu_raise(v, VEC_UD, 0);
}
