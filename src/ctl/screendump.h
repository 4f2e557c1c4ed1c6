// SPDX-License-Identifier: MIT
//
// The operators' screendump: see ctl/screendump.c.
#ifndef CTL_SCREENDUMP_H
#define CTL_SCREENDUMP_H

#include "machine/machine.h"

// format: "ppm", "png" or NULL. 0, or a negative errno with a line in why.
int screendump(struct machine *m, const char *path, const char *format, char *why, size_t len);

#endif
