// SPDX-License-Identifier: MIT
//
// The threads that hear the doorbells of virtio devices. See machine/doorbell.c.
#ifndef MACHINE_DOORBELL_H
#define MACHINE_DOORBELL_H

struct machine;

int doorbells_start(struct machine *m); // 0 or a negative errno; stop in either case
void doorbells_stop(struct machine *m); // the machine's `quit` is set

int doorbell_start(struct machine *m, unsigned i); // of one device that comes, and goes
void doorbell_stop(struct machine *m, unsigned i);

#endif
