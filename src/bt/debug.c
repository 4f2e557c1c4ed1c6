// SPDX-License-Identifier: MIT
//
// Hardware breakpoints (SDM, "Debug Registers"). While DR7 enables any, the run loop goes one instruction at a time:
// instruction breakpoints are looked at before each, data breakpoints after each, from the accesses of its careful
// form.
#include "bt/bt.h"

enum { RW_EXEC = 0, RW_WRITE = 1, RW_IO = 2, RW_ANY = 3 };

static bool enabled(const struct vcpu *v, unsigned n)
{
	return v->dr[7] >> (2 * n) & 3;
}

static unsigned kind(const struct vcpu *v, unsigned n)
{
	return v->dr[7] >> (16 + 4 * n) & 3;
}

static unsigned length(const struct vcpu *v, unsigned n)
{
	static const uint8_t bytes[4] = {1, 2, 8, 4};

	return bytes[v->dr[7] >> (18 + 4 * n) & 3];
}

bool debug_watches_data(const struct vcpu *v)
{
	for (unsigned n = 0; n < 4; n++)
		if (enabled(v, n) && (kind(v, n) == RW_WRITE || kind(v, n) == RW_ANY))
			return true;
	return false;
}

// #DB (a fault) before the instruction at rip.
void debug_check_fetch(struct vcpu *v, gva_t rip)
{
	uint64_t hits = 0;

	for (unsigned n = 0; n < 4; n++)
		if (enabled(v, n) && kind(v, n) == RW_EXEC && v->dr[n] == rip)
			hits |= BIT(n);
	if (hits)
		vcpu_raise_db(v, hits);
}

// Note an access of the present instruction.
void debug_note_access(struct vcpu *v, gva_t gva, unsigned size, bool write)
{
	for (unsigned n = 0; n < 4; n++) {
		uint64_t at = align_down(v->dr[n], length(v, n));

		if (!enabled(v, n) || (kind(v, n) != RW_ANY && !(kind(v, n) == RW_WRITE && write)))
			continue;
		if (gva < at + length(v, n) && at < gva + size)
			bt_of(v)->data_hits |= BIT(n);
	}
}

void vcpu_data_access(struct vcpu *v, gva_t gva, size_t size, bool write)
{
	debug_note_access(v, gva, (unsigned)size, write);
}

// INT1 makes its own #DB, which takes those that wait along.
void debug_join_int1(struct vcpu *v)
{
	v->dr[6] |= bt_of(v)->data_hits;
	bt_of(v)->data_hits = 0;
}

// Note the port access of the present instruction, which has been run.
void debug_note_io(struct vcpu *v, const struct x86_insn *insn)
{
	bool by_imm = (insn->class == X86_CLASS_IN || insn->class == X86_CLASS_OUT) && !(insn->opcode & 8);
	uint16_t port = by_imm ? (uint8_t)insn->imm : (uint16_t)v->gpr[X86_RDX];
	unsigned size = insn->opcode & 1 ? MIN(insn->opsize, 4) : 1;

	if (!(v->cr4 & CR4_DE))
		return;
	for (unsigned n = 0; n < 4; n++) {
		uint64_t at = align_down(v->dr[n], length(v, n));

		if (enabled(v, n) && kind(v, n) == RW_IO && port < at + length(v, n) && at < port + size)
			bt_of(v)->data_hits |= BIT(n);
	}
}
