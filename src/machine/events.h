// SPDX-License-Identifier: MIT
//
// Between machine.c and events.c: what only machine/ itself calls.
#ifndef MACHINE_EVENTS_H
#define MACHINE_EVENTS_H

#include "machine/machine.h"

// Load the guest into zeroed memory and start its processor. 0, or a negative errno with a line in err.
int machine_power_on(struct machine *m, char *err, size_t errlen);
void machine_kill_monitors(struct machine *m);
void machine_hold(struct machine *m); // new monitors of a machine that is paused
void machine_reset_now(struct machine *m, enum reset_reason reason, bool guest);
void machine_drain(struct machine *m); // what the guest and the trace have written goes out

// Callbacks of the loop.
void machine_on_event(void *machine);
void machine_on_disk_failed(void *machine);
void machine_on_device_changed(void *machine);
void machine_terminate(void *machine, int sig, pid_t sender);
void machine_suspend(void *machine, bool stop);

void machine_pend(struct machine *m, unsigned vcpu, uint32_t what); // enum vcpu_pending; wakes it

#endif
