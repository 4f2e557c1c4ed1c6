// SPDX-License-Identifier: MIT
//
// The disks of a machine, one after the other, whatever controller has them: for "info block" and query-block.
#ifndef CTL_DISKS_H
#define CTL_DISKS_H

#include "machine/machine.h"

struct disk_seen {
	char name[80]; // as QEMU calls a drive without an id
	const char *qdev; // the device's id, or ""
	const struct block_config *image; // NULL: a drive without a disc
	bool removable, open, locked; // of a CD-ROM drive: its tray
};

bool disk_see(struct machine *m, unsigned i, struct disk_seen *d); // false: no more

#endif
