// SPDX-License-Identifier: MIT
//
// What the files of the GDB stub share: sending, hexadecimal text, and how the vCPU goes on.
#ifndef CTL_GDB_WIRE_H
#define CTL_GDB_WIRE_H

#include "ctl/gdb.h"

void gdb_transmit(struct gdb *g, const char *bytes, size_t n);
void gdb_send(struct gdb *g, const char *text, size_t n); // one packet around the text
void gdb_reply(struct gdb *g, const char *text);

size_t gdb_put_hex(char *out, const uint8_t *bytes, size_t n);
size_t gdb_get_hex(uint8_t *bytes, const char *text, size_t n);  // how many bytes were well-formed
size_t gdb_unescape(uint8_t *bytes, size_t max, const char *text, size_t n);

// gdb.c
void gdb_go_on(struct gdb *g, enum resume how);
void gdb_leave(struct gdb *g);

// gdb_packets.c: one whole packet, zero-terminated; n is its length.
void gdb_take_packet(struct gdb *g, const char *packet, size_t n);

// gdb_monitor.c: the debugger's "monitor" command, as text.
void gdb_monitor(struct gdb *g, const char *line);

static inline struct vcpu *gdb_vcpu(const struct gdb *g)
{
	return g->machine->vcpu[0];
}

static inline const struct mem *gdb_memory(const struct gdb *g)
{
	return &g->machine->shared->config.mem;
}

#endif
