// SPDX-License-Identifier: MIT
//
// --selfcheck=N: see selfcheck.c.
#ifndef BT_SELFCHECK_H
#define BT_SELFCHECK_H

#include "bt/bt.h"

bool selfcheck_can(const struct x86_insn *insn); // may a unit with this instruction be run twice?
bool selfcheck_allows(struct vcpu *v, gva_t gva, unsigned size);
void selfcheck_note_write(struct vcpu *v, gva_t gva, unsigned size);
void selfcheck_stop(struct vcpu *v);
bool selfcheck_unit(struct vcpu *v, uint64_t *why);

#endif
