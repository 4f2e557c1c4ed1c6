// SPDX-License-Identifier: MIT
//
// The GDB remote protocol for one debugger at a time (GDB manual, "Remote Protocol"): -gdb tcp:HOST:PORT, -gdb
// unix:PATH, -s. Runs in the machine's event loop. A debugger that connects finds the vCPU stopped, as with QEMU.
#ifndef CTL_GDB_H
#define CTL_GDB_H

#include "machine/machine.h"

enum { GDB_PACKET_MAX = 4096 };

struct gdb {
	struct machine *machine;
	struct loop_fd listener, client;
	char unix_path[108]; // to be unlinked; empty: TCP
	bool had_client; // ever: before that -S keeps the vCPU stopped
	bool connected, stopped, owes_reply, no_ack, interrupted;
	char in[2 * GDB_PACKET_MAX];
	size_t in_used;
	char out[2 * GDB_PACKET_MAX + 16]; // the last packet, to be sent again on "-"
	size_t out_used;
	const char *packet_end; // of the one being served
};

// Between machine_create and machine_run. 0, or a negative errno with a line in err.
int gdb_open(struct gdb *g, struct machine *m, const char *where, char *err, size_t errlen);
void gdb_close(struct gdb *g, int status); // tells the debugger that the guest is gone

#endif
