// SPDX-License-Identifier: MIT
//
// The drives on the board's IDE controller: see machine/ide.c.
#ifndef MACHINE_IDE_H
#define MACHINE_IDE_H

#include "dev/ide.h"

struct machine;

struct ide_config { // of one drive: two a channel
	bool present, cdrom;
	struct block_config image; // no file: no disc in
	char serial[IDE_SERIAL + 1]; // "": by its place
	char id[64];         // of its device, or ""
};

bool ide_is_present(const struct machine *m);
// Opens the images. 0, or a negative errno with a line in err.
int ide_create(struct machine *m, char *err, size_t errlen);
void ide_destroy(struct machine *m);
// Open the image of a drive, the controller's place n.
int ide_add_drive(struct ide_drive *d, const struct ide_config *c, unsigned place, char *err, size_t errlen);
void ide_remove_drive(struct ide_drive *d);

#endif
