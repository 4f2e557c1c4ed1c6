// SPDX-License-Identifier: MIT
//
// Discs of the CD-ROM drives on IDE and SATA, as operators change them while the machine runs: see machine/medium.c.
#ifndef MACHINE_MEDIUM_H
#define MACHINE_MEDIUM_H

#include "dev/ide.h"
#include "machine/ide.h"

struct machine;

// The drives on IDE and SATA, one after the other; those of hard disks too. NULL: no more. name: as QEMU calls a drive
// that nobody has named.
struct ide_drive *medium_drive(struct machine *m, unsigned i, const struct ide_config **c, char name[80]);

// What follows takes a CD-ROM drive by its device's id or that name. 0, or a negative errno with a line in err.
// The tray goes out; a guest that has locked it is asked instead, and -EBUSY is the answer (not if forced).
int medium_open_tray(struct machine *m, const char *drive, bool force, char *err, size_t errlen);
int medium_close_tray(struct machine *m, const char *drive, char *err, size_t errlen);
int medium_remove(struct machine *m, const char *drive, char *err, size_t errlen); // the tray must be open
int medium_insert(struct machine *m, const char *drive, const struct block_config *disc, char *err, size_t errlen);
// Open, remove, insert unless disc is NULL, close.
int medium_change(struct machine *m, const char *drive, const struct block_config *disc, bool force, char *err,
		  size_t errlen);
// A file is the disc; format: NULL, or its name.
int medium_change_file(struct machine *m, const char *drive, const char *file, const char *format, bool force,
		       char *err, size_t errlen);
bool medium_uses(struct machine *m, const char *image); // is the image of that name in a drive?

void medium_tell(struct machine *m); // which trays have moved

#endif
