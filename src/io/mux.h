// SPDX-License-Identifier: MIT
//
// The keys of a multiplexed standard input (mon:stdio, -nographic): Ctrl-a and a letter speak to ringer, all else to
// the guest; Ctrl-a twice is one Ctrl-a for the guest.
#ifndef IO_MUX_H
#define IO_MUX_H

#include "base/types.h"

struct mux {
	bool escaped; // the last byte was Ctrl-a
	uint8_t escape; // or what is in its place; 0: Ctrl-a
	void (*quit)(void *opaque);      // Ctrl-a x
	void (*say)(void *opaque, const char *text);
	void *opaque;
};

// Filter n typed bytes in place; returns how many are the guest's.
size_t mux_filter(struct mux *m, uint8_t *bytes, size_t n);

#endif
