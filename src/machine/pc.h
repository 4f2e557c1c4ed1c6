// SPDX-License-Identifier: MIT
//
// The app's part of the PC board: the devices that need the host. The rest of the board (interrupt controllers, timers,
// UART registers) is in the monitor.
#ifndef MACHINE_PC_H
#define MACHINE_PC_H

#include "bus/bus.h"

struct machine;

struct pc_config {
	bool debug_exit;
	uint16_t debug_exit_base, debug_exit_size;
};

struct pc {
	struct dev *devs[16];
	unsigned ndevs;
};

// Make the devices and put them on m->bus. 0, or a negative errno with a line in err.
int pc_create(struct machine *m, char *err, size_t errlen);
void pc_reset(struct machine *m); // all devices, as the reset line does
void pc_destroy(struct machine *m);

#endif
