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

// The timer's signal has interrupted translated code at this host address, or something else.
void bt_sample(struct vcpu *v, const void *host_rip);

// The unit that a crash report is about: the one host_rip lies in, or the one left last. False: there is none.
struct bt_unit_view {
	uint64_t pc;
	gpa_t gpa;
	uint32_t mode, len, ninsns; // enum bt_mode_bits; guest bytes; instructions
	const uint8_t *code;
	uint32_t size;
};
bool bt_view_unit(const struct vcpu *v, uint64_t host_rip, struct bt_unit_view *out);

#endif
