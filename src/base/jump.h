// SPDX-License-Identifier: MIT
//
// A freestanding setjmp and longjmp: callee-saved general registers only (vector state is the guest's and stays where
// it is). struct vcpu holds one, the landing point of vcpu_raise: the run loop sets it, guest faults jump to it.
#ifndef BASE_JUMP_H
#define BASE_JUMP_H

#include "base/types.h"

struct jump { // ORDER jump.S
	uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
};

// Returns 0 when called, and the value given to jump_to when that brings control back here.
int jump_set(struct jump *j) __attribute__((returns_twice));
_Noreturn void jump_to(struct jump *j, int value);

#endif
