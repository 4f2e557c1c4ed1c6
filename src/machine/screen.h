// SPDX-License-Identifier: MIT
//
// What the guest shows, as a picture: see machine/screen.c.
#ifndef MACHINE_SCREEN_H
#define MACHINE_SCREEN_H

#include "bus/screen.h"
#include "mem/mem.h"

struct picture {
	unsigned width, height;
	uint8_t *rgb; // three bytes for each pixel, line by line; malloc'ed
};

// False: out of memory.
bool screen_draw(struct picture *p, const struct screen *screen, const struct mem *mem);

#endif
