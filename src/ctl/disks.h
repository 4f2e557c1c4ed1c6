// SPDX-License-Identifier: MIT
//
// The disks of a machine, one after the other, whatever controller has them: for "info block" and query-block.
#ifndef CTL_DISKS_H
#define CTL_DISKS_H

#include "machine/machine.h"

struct disk_seen {
	char name[80]; // the drive's id, or as QEMU calls one without; "": it is a node's device
	char qdev[120]; // the device's id, or path
	char node[72];
	struct block *block; // NULL: a drive without a disc
	const struct block_config *image; // its
	bool removable, open, locked; // of a CD-ROM drive: its tray
};

const char *disk_label(const struct disk_seen *d); // the name by which people know it
bool disk_see(struct machine *m, unsigned i, struct disk_seen *d); // false: no more

#endif
