// SPDX-License-Identifier: MIT
//
// What the monitor around it calls of the translator: three doors, and no need to see its insides.
#ifndef BT_ENTRY_H
#define BT_ENTRY_H

#include "cpu/vcpu.h"

// Before the first unit; all tables are zero.
void bt_init(struct vcpu *v);

// The run loop. Ends only through the ways out of cpu/hooks.h.
_Noreturn void bt_run(struct vcpu *v);

// A host exception (signal handler's arguments). True: it was translated code's, and the interrupted context now leads
// to where it goes on. False: it is a bug.
bool bt_host_fault(struct vcpu *v, int sig, const void *info, void *ucontext);

#endif
