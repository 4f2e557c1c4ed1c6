// SPDX-License-Identifier: MIT
//
// The keys of a multiplexed standard input (mon:stdio, -nographic): Ctrl-a and a letter speak to ringer, all else to
// the guest, or, after Ctrl-a c, to the human monitor; Ctrl-a twice is one Ctrl-a.
#ifndef IO_MUX_H
#define IO_MUX_H

#include "base/types.h"

struct mux {
	bool escaped; // the last byte was Ctrl-a
	bool in_monitor; // what is typed goes to the monitor
	uint8_t escape; // or what is in its place; 0: Ctrl-a
	void (*quit)(void *opaque); // Ctrl-a x
	void *opaque;
	void (*monitor)(void *opaque, struct mux *m, bool on); // Ctrl-a c: it has the terminal now, or no longer; or NULL
	void (*typed)(void *opaque, char byte);                // for the monitor
	void *monitor_opaque;
	void (*say)(void *opaque, const char *text); // on the terminal
	void (*send_break)(void *opaque);            // Ctrl-a b; NULL: there is none
	void *stream_opaque;
};

// Filter n typed bytes in place; returns how many are the guest's.
size_t mux_filter(struct mux *m, uint8_t *bytes, size_t n);

#endif
