// SPDX-License-Identifier: MIT
//
// Instructions that stand in base code byte for byte, recognised by their heads: most of those without an operand in
// memory. One whose like has been met costs no decoding. Only 64-bit code, whose operands in memory are checked.
#ifndef BT_VERBATIM_H
#define BT_VERBATIM_H

#include "bt/trans.h"
#include "x86/register_head.h"

// Each unit anew: may it have them?
bool verbatim_may_be(const struct trans *t);
// The instruction at this offset of the unit, if its like is known; NULL: it is to be decoded.
const struct verbatim *verbatim_find(const struct trans *t, int off);
void verbatim_learn(struct trans *t, const struct x86_insn *insn, const uint8_t *bytes); // it has been decoded

#endif
