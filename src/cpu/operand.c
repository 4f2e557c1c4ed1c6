// SPDX-License-Identifier: MIT
//
// Operands of system instructions: the address of the explicit memory operand, and reads and writes of it through its
// segment.
#include "cpu/insn.h"

uint64_t insn_offset(const struct vcpu *v, const struct x86_insn *i)
{
	uint64_t off = i->mem.disp;

	if (i->mem.base == X86_REG_RIP)
		off += insn_next(v, i);
	else if (i->mem.base != X86_REG_NONE)
		off += v->gpr[i->mem.base];
	if (i->mem.index != X86_REG_NONE && !i->mem.vsib)
		off += v->gpr[i->mem.index] * i->mem.scale;
	return off & size_mask(i->addrsize);
}

gva_t sys_effective_address(const struct vcpu *v, const struct x86_insn *insn)
{
	uint64_t off = insn_offset(v, insn);

	if (vcpu_code64(v))
		return insn->mem.seg >= X86_FS ? v->seg[insn->mem.seg].base + off : off;
	return (uint32_t)(v->seg[insn->mem.seg].base + off);
}

gva_t insn_linear(struct vcpu *v, const struct x86_insn *i, unsigned disp, size_t size, enum vmem_access access)
{
	uint64_t off = (insn_offset(v, i) + disp) & size_mask(i->addrsize);

	return segment_linear(v, i->mem.seg, off, size, access);
}

uint64_t insn_read_mem(struct vcpu *v, const struct x86_insn *i, unsigned disp, unsigned size)
{
	gva_t gva = insn_linear(v, i, disp, size, VMEM_READ);
	uint64_t value = 0;

	vmem_read_seg(v, gva, &value, size, vmem_explicit(v, VMEM_READ), i->mem.seg);
	return value;
}

void insn_write_mem(struct vcpu *v, const struct x86_insn *i, unsigned disp, unsigned size, uint64_t value)
{
	gva_t gva = insn_linear(v, i, disp, size, VMEM_WRITE);

	vmem_write_seg(v, gva, &value, size, vmem_explicit(v, VMEM_WRITE), i->mem.seg);
}

uint16_t insn_read_rm16(struct vcpu *v, const struct x86_insn *i)
{
	return insn_rm_is_reg(i) ? v->gpr[insn_rm(i)] : insn_read_mem(v, i, 0, 2);
}

void insn_write_rm16(struct vcpu *v, const struct x86_insn *i, uint64_t value)
{
	if (insn_rm_is_reg(i))
		gpr_write(v, insn_rm(i), i->opsize, value);
	else
		insn_write_mem(v, i, 0, 2, value);
}
