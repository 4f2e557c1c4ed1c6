// SPDX-License-Identifier: MIT
//
// The stack pointer in the mapped form, from unit to unit. Wherever a hot unit begins, RSP is not in the zone nor in
// the upper half, and if it is near the zone, then no nearer than pushes, pops and frames of moderate size can bring it
// (SLACK_STACK in mapped.c). So who uses the stack needs no zone check. Who keeps it so:
//   hot units        settle it before they lead to another, if they have moved it far or set it anew (mapped.c);
//                    calls and returns have just accessed it
//   base units       check it for themselves and may move it anywhere: it is tested on links to hot units, at
//                    indirect jumps, calls and returns (routines.c)
//   SYSRET           tests it (system.c)
//   C                runs the guest in the checked form, an instruction at a time, as long as it is there (run.c)
#include "bt/trans.h"

// Places of branches, taken if it is in the zone, or in the upper half or no address. Uses T1 and the flags.
void emit_stack_test(struct emit *e, uint8_t **zone, uint8_t **upper)
{
	emit_mov(e, 8, HOST_T1, HOST_GUEST_RSP);
	emit_shift(e, 8, 5, HOST_T1, 44);
	emit_alu_imm(e, 8, ALU_CMP, HOST_T1, ZONE_START >> 44);
	*zone = emit_jcc32(e, CC_E);
	emit_alu_imm(e, 8, ALU_CMP, HOST_T1, 1 << (47 - 44));
	*upper = emit_jcc32(e, CC_AE);
}
