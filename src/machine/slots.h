// SPDX-License-Identifier: MIT
//
// Which slots of bus 0 are whose. Devices that name theirs have it; the others get what is left, in the command line's
// order.
#ifndef MACHINE_SLOTS_H
#define MACHINE_SLOTS_H

struct machine;
struct virtio_config;

// A free slot: the one that is wanted, or (SLOT_ANY) the first that nobody wants. -EBUSY, -ENOSPC.
int slot_find(const struct machine *m, int wanted);
// ... for a device; behind a root port there is one.
int slot_for(const struct machine *m, const struct virtio_config *c);

#endif
