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

static int segment_of_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26:
		return X86_ES;
	case 0x2e:
		return X86_CS;
	case 0x36:
		return X86_SS;
	case 0x3e:
		return X86_DS;
	case 0x64:
		return X86_FS;
	case 0x65:
		return X86_GS;
	default:
		return -1;
	}
}

// The decoder describes explicit operands only: the last segment prefix is looked up in the code.
enum x86_sreg insn_data_segment(struct vcpu *v, const struct x86_insn *i)
{
	gva_t at = vcpu_code64(v) ? v->rip : (uint32_t)(v->seg[X86_CS].base + v->rip);
	uint8_t bytes[X86_INSN_MAX];
	int seg = X86_DS;

	if (!(i->prefixes & X86_PFX_SEG) || !i->opcode_off)
		return X86_DS;
	vmem_read(v, at, bytes, i->opcode_off, vmem_explicit(v, VMEM_FETCH));
	for (unsigned n = 0; n < i->opcode_off; n++)
		if (segment_of_prefix(bytes[n]) >= 0)
			seg = segment_of_prefix(bytes[n]);
	return vcpu_code64(v) && seg < X86_FS ? X86_DS : (enum x86_sreg)seg;
}
