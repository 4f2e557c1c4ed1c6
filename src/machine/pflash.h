// SPDX-License-Identifier: MIT
//
// Firmware's variables in flash memory: see machine/pflash.c.
#ifndef MACHINE_PFLASH_H
#define MACHINE_PFLASH_H

#include "dev/pflash.h"

struct machine;

enum { PFLASH_MAX = 8 << 20 };

// Opens the image. 0, or a negative errno with a line in err.
int pflash_create(struct machine *m, char *err, size_t errlen);
void pflash_destroy(struct machine *m);

#endif
