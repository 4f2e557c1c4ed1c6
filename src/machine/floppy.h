// SPDX-License-Identifier: MIT
//
// The drives on the board's floppy controller: see machine/floppy.c.
#ifndef MACHINE_FLOPPY_H
#define MACHINE_FLOPPY_H

#include "dev/fdc.h"

struct machine;

struct floppy_config {
	bool present;
	struct block_config image;
};

bool floppy_is_present(const struct machine *m);
// Opens the images, and tells CMOS which drives there are. 0, or a negative errno with a line in err.
int floppy_create(struct machine *m, char *err, size_t errlen);
void floppy_destroy(struct machine *m);

#endif
