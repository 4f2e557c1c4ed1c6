// SPDX-License-Identifier: MIT
//
// IN, OUT, INS, OUTS. Ports are allowed by IOPL or by the TSS's bit map. INS asks for its memory operand before it
// reads the port, whose reads have effects. A repeated form moves a bounded number of items per call, each committed,
// and comes back with RIP still at the instruction while RCX is not 0: interrupts are taken in between.
#include "cpu/insn.h"

enum { ITEMS_PER_CALL = 64 };

static unsigned port_size(const struct x86_insn *i)
{
	return !(i->opcode & 1) ? 1 : i->opsize == 2 ? 2 : 4;
}

static uint16_t port_number(const struct vcpu *v, const struct x86_insn *i)
{
	return i->opcode & 8 ? (uint16_t)v->gpr[X86_RDX] : (uint8_t)i->imm; // E4-E7: imm8, EC-EF: DX
}

void insn_in(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	unsigned size = port_size(i);
	uint16_t port = port_number(v, i);

	tss_check_io(v, port, size);
	gpr_write(v, X86_RAX, size, vcpu_port_read(v, port, size));
}

void insn_out(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	unsigned size = port_size(i);
	uint16_t port = port_number(v, i);

	tss_check_io(v, port, size);
	vcpu_port_write(v, port, size, gpr_read(v, X86_RAX, size));
}

static void advance(struct vcpu *v, const struct x86_insn *i, unsigned reg, unsigned size)
{
	uint64_t step = v->rflags & RFLAGS_DF ? -(uint64_t)size : size;

	gpr_write(v, reg, i->addrsize, v->gpr[reg] + step);
	if (i->prefixes & (X86_PFX_REP | X86_PFX_REPNE))
		gpr_write(v, X86_RCX, i->addrsize, v->gpr[X86_RCX] - 1);
}

static void one_in(struct vcpu *v, const struct x86_insn *i, uint16_t port, unsigned size)
{
	gva_t to = segment_linear(v, X86_ES, gpr_read(v, X86_RDI, i->addrsize), size, VMEM_WRITE);
	uint64_t value;

	vmem_probe(v, to, size, vmem_explicit(v, VMEM_WRITE), X86_ES);
	value = vcpu_port_read(v, port, size);
	vmem_write(v, to, &value, size, vmem_explicit(v, VMEM_WRITE));
	advance(v, i, X86_RDI, size);
}

static void one_out(struct vcpu *v, const struct x86_insn *i, enum x86_sreg seg, uint16_t port, unsigned size)
{
	gva_t from = segment_linear(v, seg, gpr_read(v, X86_RSI, i->addrsize), size, VMEM_READ);
	uint64_t value = 0;

	vmem_read_seg(v, from, &value, size, vmem_explicit(v, VMEM_READ), seg);
	vcpu_port_write(v, port, size, value);
	advance(v, i, X86_RSI, size);
}

// How many items this call moves: 1, or what RCX says within bounds. A single-step trap follows each.
static uint64_t item_count(const struct vcpu *v, const struct x86_insn *i)
{
	if (!(i->prefixes & (X86_PFX_REP | X86_PFX_REPNE)))
		return 1;
	return MIN(gpr_read(v, X86_RCX, i->addrsize), (uint64_t)(v->rflags & RFLAGS_TF ? 1 : ITEMS_PER_CALL));
}

static void finish(struct vcpu *v, const struct x86_insn *i)
{
	bool more = i->prefixes & (X86_PFX_REP | X86_PFX_REPNE) && gpr_read(v, X86_RCX, i->addrsize);

	if (!more)
		v->rip = insn_next(v, i);
}

static bool is_whole(const struct vcpu *v, enum x86_sreg seg, uint64_t off, unsigned len)
{
	const struct x86_seg *s = &v->seg[seg];

	if (vcpu_code64(v))
		return true;
	return !(s->attr & SEG_TYPE_E) && off <= s->limit && len - 1 <= s->limit - off;
}

// Upwards, within a page and a segment, with nobody watching: how many items can go at once.
static unsigned block_count(const struct vcpu *v, const struct x86_insn *i, enum x86_sreg seg, unsigned reg,
			    unsigned size)
{
	uint64_t off = gpr_read(v, reg, i->addrsize), left = gpr_read(v, X86_RCX, i->addrsize);
	uint64_t base = vcpu_code64(v) && seg != X86_FS && seg != X86_GS ? 0 : v->seg[seg].base;
	uint64_t room = PAGE_SIZE - ((base + off) & PAGE_OFFSET);
	uint64_t n = MIN(MIN(left, room / size), (uint64_t)(REQUEST_BLOCK / size));

	if (!(i->prefixes & (X86_PFX_REP | X86_PFX_REPNE)) || v->rflags & (RFLAGS_DF | RFLAGS_TF) || v->dr[7] & 0xff ||
	    n < 2 || !is_whole(v, seg, off, (unsigned)n * size) || (i->addrsize == 2 && off + n * size > 0x10000))
		return 0;
	return (unsigned)n;
}

static void advance_block(struct vcpu *v, const struct x86_insn *i, unsigned reg, unsigned size, unsigned n)
{
	gpr_write(v, reg, i->addrsize, v->gpr[reg] + (uint64_t)size * n);
	gpr_write(v, X86_RCX, i->addrsize, v->gpr[X86_RCX] - n);
}

static bool block_in(struct vcpu *v, const struct x86_insn *i, uint16_t port, unsigned size)
{
	unsigned n = block_count(v, i, X86_ES, X86_RDI, size);
	uint8_t bytes[REQUEST_BLOCK];
	gva_t to;

	if (!n)
		return false;
	to = segment_linear(v, X86_ES, gpr_read(v, X86_RDI, i->addrsize), n * size, VMEM_WRITE);
	vmem_probe(v, to, n * size, vmem_explicit(v, VMEM_WRITE), X86_ES);
	if (!vcpu_port_block(v, port, size, n, bytes, false))
		return false;
	vmem_write(v, to, bytes, n * size, vmem_explicit(v, VMEM_WRITE));
	advance_block(v, i, X86_RDI, size, n);
	return true;
}

static bool block_out(struct vcpu *v, const struct x86_insn *i, enum x86_sreg seg, uint16_t port, unsigned size)
{
	unsigned n = block_count(v, i, seg, X86_RSI, size);
	uint8_t bytes[REQUEST_BLOCK];
	gva_t from;

	if (!n)
		return false;
	from = segment_linear(v, seg, gpr_read(v, X86_RSI, i->addrsize), n * size, VMEM_READ);
	vmem_read_seg(v, from, bytes, n * size, vmem_explicit(v, VMEM_READ), seg);
	if (!vcpu_port_block(v, port, size, n, bytes, true))
		return false;
	advance_block(v, i, X86_RSI, size, n);
	return true;
}

void insn_ins(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	uint16_t port = v->gpr[X86_RDX];
	unsigned size = port_size(i);

	tss_check_io(v, port, size);
	for (uint64_t n = block_in(v, i, port, size) ? 0 : item_count(v, i); n; n--)
		one_in(v, i, port, size);
	finish(v, i);
}

void insn_outs(struct vcpu *v, const struct x86_insn *i, struct sys_result *res)
{
	enum x86_sreg seg = i->mem.seg;
	uint16_t port = v->gpr[X86_RDX];
	unsigned size = port_size(i);

	tss_check_io(v, port, size);
	for (uint64_t n = block_out(v, i, seg, port, size) ? 0 : item_count(v, i); n; n--)
		one_out(v, i, seg, port, size);
	finish(v, i);
}
