// SPDX-License-Identifier: MIT
//
// See host_flags.h. A division leaves some too on AMD's hosts (CF and OF); there its check has taken them already
// (docs/FIDELITY.md).
#include "bt/host_flags.h"

#include "x86/mnemonic.h"

// AX as lahf; seto %al leave it behind the instruction, if it was that before.
#define AFTER(insn, ax) \
	({ \
		uint64_t after_ = (ax), operand_ = 2; \
		__asm__("addb $0x7f, %%al\n sahf\n " insn " %[x], %[x]\n lahf\n seto %%al" \
			: "+a"(after_), [x] "+r"(operand_) : : "cc"); \
		after_; \
	})
#define ALL_SET ((RFLAGS_ARITH & 0xff) << 8 | 1)

static uint16_t kept(uint64_t were_set, uint64_t were_clear)
{
	uint64_t ax = were_set & ~were_clear;

	return (uint16_t)((ax >> 8 & (RFLAGS_ARITH & ~RFLAGS_OF)) | (ax & 1 ? RFLAGS_OF : 0));
}

void host_flags_find(struct host_flags *h)
{
	h->multiply = kept(AFTER("imul", ALL_SET), AFTER("imul", 0));
	h->count = kept(AFTER("tzcnt", ALL_SET), AFTER("tzcnt", 0));
}

void host_flags_correct(const struct host_flags *h, struct x86_insn *insn)
{
	switch (insn->mnemonic) {
	case X86_MNEM_IMUL: case X86_MNEM_MUL:
		insn->flags_undefined &= (uint16_t)~h->multiply;
		break;
	case X86_MNEM_TZCNT: case X86_MNEM_LZCNT:
		insn->flags_undefined &= (uint16_t)~h->count;
		break;
	default:
		break;
	}
}
