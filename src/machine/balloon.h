// SPDX-License-Identifier: MIT
//
// The machine's balloon (virtio/balloon.h), if it has one, as operators use it.
#ifndef MACHINE_BALLOON_H
#define MACHINE_BALLOON_H

#include "host/loop.h"
#include "virtio/balloon.h"

struct machine;

struct balloon_polling { // of the guest's statistics
	struct loop_timer timer;
	unsigned seconds; // 0: they are not asked for
	bool has_timer;
};

// What the guest is to have, without its balloon, and has. False: there is no balloon, or none that can be so large.
bool balloon_ask(struct machine *m, uint64_t bytes);
bool balloon_memory(struct machine *m, uint64_t *bytes);
bool balloon_poll(struct machine *m, unsigned seconds); // false: there are no more descriptors
void balloon_stop(struct machine *m); // at the end
// What the driver has said last. False: there is no balloon.
bool balloon_statistics(struct machine *m, struct balloon_statistics *s);
void balloon_tell(struct machine *m); // operators, if its size has changed

#endif
